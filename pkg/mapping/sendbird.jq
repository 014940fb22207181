# Sendbird: group channels, from a data export ({"group_channels": […]}) or a response of "List group channels".
# https://sendbird.com/docs/chat/platform-api/v3/channel/listing-channels-in-an-application/list-group-channels and
# https://sendbird.com/docs/chat/platform-api/v3/channel/channel-overview, "Resource representation".
# A data export does not contain the creator of a channel. Operators become Admins. Those who are invited are no members.
module {records: ["group_channels", "channels"]};
def list($field): # of members, also as a string of JSON; null if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then null
  elif type == "array" then .
  elif type == "object" then error("\($field) must be an array of users, not \(type)")
  else [[.]] end; # an invalid member, which the outcome has
def entry: if type == "object" and .user_id != null then . else {user_id: .} end; # may be invalid
def accounts: [(list("operators") // [])[] | select(. != null) | entry | .user_id];
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
if type == "object" and .channel_url == null and any(has("is_distinct", "joined_member_count"); .) then
  error("the channel has no channel_url")
elif type != "object" or .channel_url == null then
  skip("not a Sendbird group channel")
elif any(.freeze, .is_frozen; is_on) and ($include_archived | not) then
  skip("a frozen channel; INCLUDE_ARCHIVED=true imports it")
else
  (.is_public == true) as $public |
  (.operators | accounts | map(strings | {(.): true}) | add // {}) as $operators |
  {
    GroupId: .channel_url | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.name // "" | select(. != "")) // .channel_url) | cut_bytes($limits.Name),
    FaceUrl: .cover_url | fits($limits.FaceUrl),
    Owner_Account: .created_by.user_id,
    ApplyJoinOption: (if $public and .is_access_code_required == false then "FreeAccess" else null end),
    CreateTime: .created_at | seconds,
    MemberList: ((.members | list("members")) as $members | if $members != null then
      [$members[] | select(. != null) | entry | select(.state != "invited") |
        .role as $role | .user_id |
        {Member_Account: ., Role: (if $role == "operator" or (type == "string" and $operators[.]) then "Admin"
          else null end)}] +
        [.operators | accounts[] | select(type != "string") | {Member_Account: .}]
      else [.operators | accounts[] | {Member_Account: ., Role: "Admin"}] end),
    source: .channel_url
  }
end
