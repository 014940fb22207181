# Sendbird: group channels, from a data export ({"group_channels": […]}) or a response of "List group channels".
# https://sendbird.com/docs/chat/platform-api/v3/channel/listing-channels-in-an-application/list-group-channels and
# https://sendbird.com/docs/chat/platform-api/v3/channel/channel-overview, "Resource representation".
# A data export does not contain the creator of a channel. Operators become Admins. Those who are invited are no members.
module {records: ["group_channels", "channels"]};
def accounts: if type == "array" then [.[] | objects | .user_id | strings] else [] end;
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
if type == "object" and .channel_url == null and any(has("is_distinct", "joined_member_count"); .) then
  error("the channel has no channel_url")
elif type != "object" or .channel_url == null then
  skip("not a Sendbird group channel")
elif any(.freeze, .is_frozen; is_on) and ($include_archived | not) then
  skip("a frozen channel; INCLUDE_ARCHIVED=true imports it")
else
  (.is_public == true) as $public |
  (.operators | accounts | map({(.): true}) | add // {}) as $operators |
  {
    GroupId: .channel_url | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.name // "" | select(. != "")) // .channel_url) | cut_bytes($limits.Name),
    FaceUrl: .cover_url | fits($limits.FaceUrl),
    Owner_Account: .created_by.user_id,
    ApplyJoinOption: (if $public and .is_access_code_required == false then "FreeAccess" else null end),
    CreateTime: .created_at | seconds,
    MemberList: (if (.members | type) == "array" then
      [.members[] | if type == "string" then {user_id: .} else objects end |
        select(.state != "invited" and (.user_id | type) == "string") |
        {Member_Account: .user_id, Role: (if .role == "operator" or $operators[.user_id] then "Admin" else null end)}]
      else [.operators | accounts[] | {Member_Account: ., Role: "Admin"}] end),
    source: .channel_url
  }
end
