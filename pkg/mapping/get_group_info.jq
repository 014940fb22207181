# Tencent Cloud IM: a group in a get_group_info response of another SDKAppID.
# "Obtaining Group Profile", https://www.tencentcloud.com/document/product/1047/34962; the fields of import_group are
# those of https://www.tencentcloud.com/document/product/1047/34967 (2022-07-06). IDs that the service assigned start with
# @TGS# and cannot be imported: the group keeps the rest of the ID.
def list($field): # of members, also as a string of JSON; null if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then null
  elif type == "array" then .
  elif type == "object" then error("\($field) must be an array of users, not \(type)")
  else [[.]] end; # an invalid member, which the outcome has
def entry_of_list: if type == "string" then {Member_Account: .} elif type == "object" then .
  else {Member_Account: .} end; # what is no ID becomes an invalid member
def owner: # of a group whose Owner_Account is missing or empty
  (.Owner_Account // "" | select(. != "")) //
  first((.MemberList | list("MemberList") // [])[] | objects | select(.Role == "Owner") |
    .Member_Account) // null;
if type == "object" and (.GroupId // "") == "" and (.Type // .Name) != null then
  error("the group has no GroupId")
elif type != "object" or .GroupId == null then
  skip("not a group of a get_group_info response")
elif .ErrorCode == 10010 then
  skip("get_group_info reported that the group does not exist (10010)")
elif .ErrorCode | . != null and . != 0 and . != "0" then
  error("get_group_info reported ErrorCode \(.ErrorCode) for this group")
else
  {
    MemberList: ((.MemberList | list("MemberList")) as $members | if $members != null then
      [$members[] | select(. != null) | entry_of_list | select(.Role != "NotMember") |
        {Member_Account, Role: (if .Role == "Admin" then "Admin" else null end), JoinTime}]
      else null end),
    GroupId: (if .Type == "Community" then .GroupId else .GroupId | change(ltrimstr("@TGS#")) end),
    Type, Name, Introduction, Notification, FaceUrl, Owner_Account: owner,
    MaxMemberCount: (if .MaxMemberNum == 0 then null else .MaxMemberNum end),
    ApplyJoinOption, AppDefinedData, CreateTime, SupportTopic,
    source: .GroupId
  }
end
