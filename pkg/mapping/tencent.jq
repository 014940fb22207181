# Tencent Cloud IM, from another SDKAppID or region: groups of get_group_info with their members, and members of
# get_group_member_info: responses, or members of them, to which the group's ID was added as GroupId.
# https://www.tencentcloud.com/document/product/1047/34962 and https://www.tencentcloud.com/document/product/1047/34948; the
# fields of import_group are those of https://www.tencentcloud.com/document/product/1047/34967 (2022-07-06).
#
# An ID of one's own stays. An ID that the service has assigned starts with @TGS# and cannot be imported: the group keeps
# the rest of it, and so do its members. source is the old ID, GroupId the new one.
module {records: "GroupInfo"};
def list($field): # of members, also as a string of JSON; null if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then null
  elif type == "array" then .
  else error("\($field) must be an array of users, not \(type)") end;
def entry_of_list: if type == "string" then {Member_Account: .} elif type == "object" then .
  else error("an entry of MemberList must be an object or an ID, not \(type)") end;
def owner: # of a group whose Owner_Account is missing or empty
  (.Owner_Account // "" | select(. != "")) //
  first((.MemberList | list("MemberList") // [])[] | objects | select(.Role == "Owner") |
    .Member_Account) // null;
def kept: if type == "string" and (startswith("@TGS#_") | not) then change(ltrimstr("@TGS#")) else . end;
def entry: select(.Role != "NotMember") | member(.Member_Account; if .Role == "Admin" then "Admin" else "Member" end;
  if .JoinTime == 0 then null else .JoinTime end);
if type != "object" or (.GroupId // "") == "" then
  if type == "object" and (.Type // .Name) != null then error("the group has no GroupId")
  elif type == "object" and (.Member_Account != null or (.MemberList | type) == "array") then
    error("the member has no GroupId, which get_group_member_info does not return: add the one that was asked for")
  else skip("not a group of a get_group_info response") end
elif .ErrorCode == 10010 then
  skip("get_group_info reported that the group does not exist (10010)")
elif (.ErrorCode | . != null and . != 0 and . != "0") then
  error("get_group_info reported ErrorCode \(.ErrorCode) for this group")
elif .Member_Account != null and .Role == "NotMember" then
  skip("no member of the group")
elif .Member_Account != null then
  entry + {GroupId: .GroupId | kept, source: .GroupId}
elif .Type == null and .Name == null and (.MemberList | list("MemberList")) != null then
  (.GroupId | kept) as $kept | .GroupId as $source |
  (.MemberList | list("MemberList"))[] | select(. != null) | entry_of_list | entry + {GroupId: $kept, source: $source}
else
  {
    GroupId: .GroupId | kept,
    Type, Name, Introduction, Notification, FaceUrl, Owner_Account: owner,
    MaxMemberCount: (if .MaxMemberNum == 0 then null else .MaxMemberNum end),
    ApplyJoinOption, AppDefinedData, CreateTime, SupportTopic,
    MemberList: [(.MemberList | list("MemberList") // [])[] | select(. != null) | entry_of_list | entry],
    source: .GroupId
  }
end
