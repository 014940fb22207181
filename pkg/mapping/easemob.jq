# Easemob (环信) and Agora Chat: groups of a response of "Get group details", {"data": […]}.
# https://docs.agora.io/en/agora-chat/restful-api/chat-group-management/manage-chat-groups
#
# Only a group with public true is Public, and anybody may join only if membersonly is false. The response contains neither
# join times nor the admins, who come from "Get the list of admins": add them to the group as its member "admins".
module {records: "data"};
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
def list($field): # of members, also as a string of JSON; empty if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then []
  elif type == "array" then .
  else error("\($field) must be an array of users, not \(type)") end;
if type == "object" and (.data | type) == "object" then .data else . end |
if type == "object" and .id == null and .name != null and any(has("affiliations_count", "membersonly"); .) then
  error("the group has no id")
elif type != "object" or .id == null or (has("affiliations_count") or has("membersonly") | not) then
  skip("not an Easemob group")
elif (.disabled | is_on) and ($include_archived | not) then
  skip("a disabled group; INCLUDE_ARCHIVED=true imports it")
else
  (.public == true) as $public |
  {
    GroupId: .id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.name // "" | select(. != "")) // "\(.id)") | cut_bytes($limits.Name),
    Introduction: .description | cut_bytes($limits.Introduction),
    FaceUrl: .avatar | fits($limits.FaceUrl),
    Owner_Account: ((.owner // "" | select(. != "")) //
      first((.affiliations | list("affiliations"))[] | objects | .owner // empty) // null),
    ApplyJoinOption: (if $public and .membersonly == false then "FreeAccess" else null end),
    CreateTime: .created | seconds,
    MemberList: [
      ((.admins | list("admins"))[] | member(.; "Admin"; null)),
      ((.affiliations | list("affiliations"))[] |
        if type == "object" then
          (.admin | select(. != null) | member(.; "Admin"; null)),
          (.member | select(. != null) | member(.; "Member"; null))
        else select(. != null) | member(.; "Member"; null) end)
    ],
    source: .id
  }
end
