# CometChat: groups and members in the format of its data import ({"groups": {"guid": …}}, {"members": {"key": …}}) and of
# responses of "List groups" ({"data": […]}) and "Get group" ({"data": {…}}).
# https://www.cometchat.com/docs/rest-api/data-import-apis/groups/import-groups and
# https://www.cometchat.com/docs/rest-api/data-import-apis/groups/import-group-members
#
# Only a group of type public is Public. A group with a password becomes Private. A moderator may do less than an admin and
# becomes a member.
module {records: ["groups.*", "members.*", "data"]};
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
if type == "object" and (.data | type) == "object" then .data else . end |
if type == "object" and .guid != null and .uid != null and (.isBanned | is_on) then
  skip("a banned user, no member")
elif type == "object" and .guid != null and .uid != null then
  {
    GroupId: .guid | fit_id,
    Member_Account: .uid,
    Role: (if .scope == "admin" then "Admin" else "Member" end),
    JoinTime: .joinedAt | seconds,
    source: .guid
  }
elif type == "object" and .guid != null and .uid == null and any(has("uid", "scope", "joinedAt"); .) then
  error("the member has no uid")
elif type == "object" and .guid == null and .uid != null and .scope != null then
  error("the member has no guid, which the list of a group's members does not return: add the one that was asked for")
elif type == "object" and .guid == null and .name != null and
  (.type == "public" or .type == "private" or .type == "password") then
  error("the group has no guid")
elif type != "object" or .guid == null or (has("name") or has("type") | not) then
  skip("not a CometChat group")
else
  (.type == "public") as $public |
  {
    GroupId: .guid | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.name // "" | select(. != "")) // "\(.guid)") | cut_bytes($limits.Name),
    Introduction: .description | cut_bytes($limits.Introduction),
    FaceUrl: .icon | fits($limits.FaceUrl),
    Owner_Account: .owner,
    ApplyJoinOption: (if $public then "FreeAccess" else null end),
    CreateTime: .createdAt | seconds,
    source: .guid
  }
end
