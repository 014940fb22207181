# Tencent Cloud IM: a group in an answer of get_group_info, of another SDKAppID.
# "Obtaining Group Profile", https://www.tencentcloud.com/document/product/1047/34962; the fields of import_group are
# those of https://www.tencentcloud.com/document/product/1047/34967 (2022-07-06). IDs that the service gave begin with
# @TGS# and cannot be given again: the group keeps what follows.
if .ErrorCode == 10010 then
  skip("get_group_info answered that there is no such group (10010)")
elif (.ErrorCode // 0) != 0 then
  error("get_group_info has no profile of this group, its ErrorCode is \(.ErrorCode)")
else
  {
    GroupId: (if .Type == "Community" then .GroupId else .GroupId | ltrimstr("@TGS#") end),
    Type, Name, Introduction, Notification, FaceUrl, Owner_Account,
    MaxMemberCount: (if .MaxMemberNum == 0 then null else .MaxMemberNum end),
    ApplyJoinOption, AppDefinedData, CreateTime, SupportTopic
  }
end
