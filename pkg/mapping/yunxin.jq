# NetEase Yunxin (云信): teams of "team/query.action" ({"tinfos": […]}) and "team/queryDetail.action" ({"tinfo": …}), as
# https://github.com/netease-im/yunxin-server-sdk-golang decodes them, of "team/joinTeams.action" ({"infos": […]}), teams of
# "GET /im/v2.1/teams/{id}",
# https://doc.yunxin.163.com/messaging2/server-apis/DI1Nzc3MDY (2024-10-24), and members of its list of team members
# ({"data": {"items": […]}}), one response per line or value.
#
# Only a team that anybody may join without being asked (joinmode 0) is Public. member_role is 0 for a member, 1 for the
# owner, 2 for an admin.
module {records: ["tinfos", "infos", "data.items"]};
def account: if type == "object" then .accid else . end;
def list($field): # of members, also as a string of JSON; empty if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then []
  elif type == "array" then .
  else error("\($field) must be an array of users, not \(type)") end;
def members($role; $field): list($field)[] |
  if type == "object" then member(.accid // error("an entry of \($field) has no accid"); $role; .createtime)
  else select(. != null) | member(.; $role; null) end;
def named($id): ((. // "" | select(. != "")) // "\($id)") | cut_bytes($limits.Name);
(if type != "object" then null
  elif (.tinfo | type) == "object" then .tinfo
  elif (.data | type) == "object" and (.data.team_info | type) == "object" then .data.team_info
  else . end) as $team |
if $team.tid != null then
  $team | (.joinmode == 0) as $public |
  {
    GroupId: .tid | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: (.tid as $id | .tname | named($id)),
    Introduction: .intro | cut_bytes($limits.Introduction),
    Notification: .announcement | cut_bytes($limits.Notification),
    FaceUrl: .icon | fits($limits.FaceUrl),
    Owner_Account: .owner | account,
    ApplyJoinOption: (if $public then "FreeAccess" else null end),
    CreateTime: .createtime | seconds,
    MemberList: [(.admins | members("Admin"; "admins")), (.members | members("Member"; "members"))],
    source: .tid
  }
elif $team | type == "object" and .tid == null and .tname != null then
  error("the team has no tid")
elif $team | type == "object" and (.account_id != null or has("member_role") or has("join_time")) and
  (.team_id == null or .account_id == null) then
  error("the member has no team_id or no account_id")
elif $team.account_id != null then
  $team |
  {
    GroupId: .team_id | fit_id,
    Member_Account: .account_id,
    Role: (if "\(.member_role)" == "2" then "Admin" else "Member" end),
    JoinTime: .join_time | seconds,
    source: .team_id
  }
elif $team | type == "object" and .team_id == null and has("owner_account_id") then
  error("the team has no team_id")
elif $team.team_id != null and any($team | has("team_type", "owner_account_id", "configuration"); .) then
  $team | ((.configuration | type) == "object" and .configuration.join_mode == 0) as $public |
  {
    GroupId: .team_id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: (.team_id as $id | .name | named($id)),
    Introduction: .intro | cut_bytes($limits.Introduction),
    Notification: .announcement | cut_bytes($limits.Notification),
    FaceUrl: .icon | fits($limits.FaceUrl),
    Owner_Account: .owner_account_id,
    ApplyJoinOption: (if $public then "FreeAccess" else null end),
    CreateTime: .create_time | seconds,
    source: .team_id
  }
else
  skip("not a Yunxin team")
end
