# OpenIM: groups of a response of "get_groups_info" ({"data": {"groupInfos": […]}}) or "get_groups" ({"data": {"groups":
# […]}}), and members of "get_group_member_list" ({"data": {"members": […]}}).
# https://docs.openim.io/restapi/apis/groupManagement/getGroupsInfo; the fields are those of GroupInfo and
# GroupMemberFullInfo in https://github.com/openimsdk/protocol, sdkws/sdkws.proto.
#
# Only a group that anybody may join without verification (needVerification 2) is Public. Status 2 is dismissed. roleLevel
# is 100 for the owner, 60 for an admin, 20 for a member.
module {records: ["data.groupInfos", "data.groups", "data.members"]};
(if type == "object" and (.groupInfo | type) == "object" then .groupOwnerUserID as $owner |
    .groupInfo | .ownerUserID = ((.ownerUserID // "" | select(. != "")) // $owner)
  else . end) |
if type == "object" and .groupID != null and .userID != null and any(has("roleLevel", "joinTime", "joinSource"); .) then
  {
    GroupId: .groupID | fit_id,
    Member_Account: .userID,
    Role: (if "\(.roleLevel)" == "60" then "Admin" else "Member" end),
    JoinTime: .joinTime | seconds,
    source: .groupID
  }
elif type == "object" and (.userID != null or .groupID != null) and any(has("roleLevel", "joinSource"); .) then
  error("the member has no groupID or no userID")
elif type == "object" and .groupID == null and any(has("groupName", "groupType"); .) then
  error("the group has no groupID")
elif type != "object" or .groupID == null or (has("groupType") or has("groupName") | not) then
  skip("not an OpenIM group")
elif "\(.status)" == "2" and ($include_archived | not) then
  skip("a dismissed group; INCLUDE_ARCHIVED=true imports it")
else
  (.needVerification == 2) as $public |
  {
    GroupId: .groupID | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.groupName // "" | select(. != "")) // "\(.groupID)") | cut_bytes($limits.Name),
    Introduction: .introduction | cut_bytes($limits.Introduction),
    Notification: .notification | cut_bytes($limits.Notification),
    FaceUrl: .faceURL | fits($limits.FaceUrl),
    Owner_Account: .ownerUserID,
    ApplyJoinOption: (if $public then "FreeAccess" else null end),
    CreateTime: .createTime | seconds,
    source: .groupID
  }
end
