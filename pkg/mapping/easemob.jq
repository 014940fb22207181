# Easemob (环信) and Agora Chat: groups of a response of "Get group details", {"data": […]}.
# https://docs.agora.io/en/agora-chat/restful-api/chat-group-management/manage-chat-groups
#
# Only a group with public true is Public, and anybody may join only if membersonly is false. The response contains neither
# join times nor the admins, who come from "Get the list of admins": add them to the group as its member "admins".
module {records: "data"};
def is_set: . != null and . != false;
def list: if type == "array" then . else [] end;
if type != "object" or .id == null or (has("affiliations_count") or has("membersonly") | not) then
  skip("not an Easemob group")
elif (.disabled | is_set) and ($include_archived | not) then
  skip("a disabled group; INCLUDE_ARCHIVED=true imports it")
else
  (.public == true) as $public |
  {
    GroupId: .id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.name // "" | select(. != "")) // "\(.id)") | cut_bytes($limits.Name),
    Introduction: .description | cut_bytes($limits.Introduction),
    FaceUrl: .avatar | fits($limits.FaceUrl),
    Owner_Account: ((.owner // "" | select(. != "")) // first((.affiliations | list)[] | .owner? // empty) // null),
    ApplyJoinOption: (if $public and .membersonly == false then "FreeAccess" else null end),
    CreateTime: .created | seconds,
    MemberList: [
      ((.admins | list)[] | member(.; "Admin"; null)),
      ((.affiliations | list)[] | .member? | select(. != null) | member(.; "Member"; null))
    ],
    source: .id
  }
end
