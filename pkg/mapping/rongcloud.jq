# RongCloud (融云): groups of "/entrust/group/profile/query.json" ({"profiles": […]}), of "/entrust/group/query.json" and of
# "/user/group/query.json" ({"groups": […]}), and responses of "/entrust/group/member/query.json" ({"members": […]}) and
# "/group/user/query.json" ({"users": […]}), or members of them, to which the group's ID was added as groupId.
# https://docs.rongcloud.io/platform-chat-api/group/group-profile/group-manage/query-group-profiles,
# https://docs.rongcloud.io/platform-chat-api/group/group-profile/group-query/query-app-all-group and
# https://docs.rongcloud.io/platform-chat-api/group/group-profile/group-member/query-group-member, and for users the fields
# that https://github.com/rongcloud/server-sdk-go decodes (sdk/group.go).
#
# groupProfile and permissions are strings of JSON: one has the introduction, the announcement and the URL of a picture,
# the other has joinPerm. Only a group that anybody may join without approval (joinPerm 1) is Public. The role of a member
# is 1 for a member, 2 for an admin, 3 for the owner.
module {records: ["profiles", "groups"]};
def text: if type == "string" then . else null end;
def first_text(f): first(f | text | select(. != null and . != "")) // null;
def inner: if type == "string" then (try fromjson catch null) else . end | if type == "object" then . else {} end;
def list($field): # of members, also as a string of JSON; empty if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then []
  elif type == "array" then .
  else error("\($field) must be an array of users, not \(type)") end;
def entry: if type == "object" then
    member(.userId // .id; if "\(.role)" == "2" then "Admin" else "Member" end; .time)
  else select(. != null) | member(.; "Member"; null) end;
(if type == "object" then first_text(.name, .groupName) else null end) as $name |
if type == "object" and .groupId != null and (.userId // .id) != null then
  entry + {GroupId: .groupId | fit_id, source: .groupId}
elif type == "object" and .code != null and $name == null and .groupId == null and
  any(.users, .members; type == "array") then
  error("the response has no groupId, which the list of a group's members does not return: add the one that was asked for")
elif type == "object" and .groupId != null and $name == null and any(.users, .members; type == "array") then
  (.groupId | fit_id) as $id | .groupId as $source | ((.users | list("users")), (.members | list("members")) | .[] | entry) + {GroupId: $id, source: $source}
elif type != "object" or (.groupId // .id) == null or all(.name, .groupName; type != "string") or
  .groupId == null and (keys - ["id", "name", "stat"] | length) > 0 then
  skip("not a RongCloud group")
else
  (.groupId // .id) as $id | (.groupProfile | inner) as $profile | ((.permissions | inner).joinPerm == 1) as $public |
  {
    GroupId: $id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ($name // "\($id)") | cut_bytes($limits.Name),
    Introduction: first_text($profile.introduction) | cut_bytes($limits.Introduction),
    Notification: first_text($profile.announcement) | cut_bytes($limits.Notification),
    FaceUrl: first_text($profile.portraitUrl, $profile.portrait) | fits($limits.FaceUrl),
    Owner_Account: .owner,
    ApplyJoinOption: (if $public then "FreeAccess" else null end),
    CreateTime: (.createTime // .time) | seconds,
    MemberList: [(.users | list("users")), (.members | list("members")) | .[] | entry],
    source: $id
  }
end
