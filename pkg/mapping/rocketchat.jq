# Rocket.Chat: rooms of a response of rooms.adminRooms, or of the collection rocketchat_room as mongoexport writes it.
# "Room", https://developer.rocket.chat/apidocs/room-schema (2025-09-02), and
# "Get All Room Admins", https://developer.rocket.chat/apidocs/get-all-room-admins (2026-06-01)
#
# "Subscription", https://developer.rocket.chat/apidocs/subscription-schema: a member of a room, in the collection
# rocketchat_subscription. Older rooms have the names of their members (usernames) instead.
#
# A channel of a team (teamId) becomes Private: in a private team only its members see it, and the room does not contain
# the type of its team.
module {records: ["rooms", "channels", "groups"]};
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
def list($field): # of members, also as a string of JSON; null if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then null
  elif type == "array" then .
  elif type == "object" then error("\($field) must be an array of users, not \(type)")
  else [[.]] end; # an invalid member, which the outcome has
def role: if type == "string" then [.] else . end |
  if type == "array" and any(.[]; . == "owner" or . == "moderator") then "Admin" else null end;
def is_member: any(has("rid", "ls", "unread", "alert", "roles"); .);
if type != "object" or (.t == null and (is_member | not)) or (._id == null and .rid == null) then
  skip("not a Rocket.Chat room")
elif is_member then
  if .t == "d" or .t == "l" or .t == "v" then
    skip("a member of a direct message or livechat")
  elif .t != null and .t != "c" and .t != "p" then
    skip("a member of a room of type \(.t)")
  elif (.rid | type) != "string" or (.u | type) != "object" or .u._id == null or .t == null then
    error("the member has no rid, no u._id or no t")
  else
    {
      GroupId: .rid | fit_id, Member_Account: .u._id, Role: .roles | role, JoinTime: .ts | seconds,
      UnreadMsgNum: (if (.unread | type) == "number" and .unread > 0 then .unread else null end)
    }
  end
elif .t != "c" and .t != "p" then
  skip({d: "a direct message", l: "a livechat", v: "a VoIP room"}["\(.t)"] // "a room of type \(.t)")
elif (.archived | is_on) and ($include_archived | not) then
  skip("an archived room; INCLUDE_ARCHIVED=true imports it")
else
  (.t == "c" and .teamId == null) as $public |
  .u as $owner |
  {
    GroupId: ._id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.fname // "" | select(. != "")) // .name) | cut_bytes($limits.Name),
    Introduction: ((.description // "" | select(. != "")) // .topic) | cut_bytes($limits.Introduction),
    Notification: .announcement | cut_bytes($limits.Notification),
    Owner_Account: .u._id,
    ApplyJoinOption: (if $public and (.joinCodeRequired | . == null or . == false) then "FreeAccess" else null end),
    CreateTime: .ts | seconds,
    MemberList: ((.usernames | list("usernames")) as $names | if $names != null then
      [$names[] | select(. != null) | {Member_Account: (if . == $owner.username then $owner._id // . else . end)}]
      else null end),
    source: ._id
  }
end
