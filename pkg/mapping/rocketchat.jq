# Rocket.Chat: rooms of a response of rooms.adminRooms, or of the collection rocketchat_room as mongoexport writes it.
# "Room", https://developer.rocket.chat/apidocs/room-schema (2025-09-02), and
# "Get All Room Admins", https://developer.rocket.chat/apidocs/get-all-room-admins (2026-06-01)
#
# A channel of a team (teamId) becomes Private: in a private team only its members see it, and the room does not contain
# the type of its team.
if type != "object" or ._id == null or .t == null then
  skip("not a Rocket.Chat room")
elif .t != "c" and .t != "p" then
  skip({d: "a direct message", l: "a livechat", v: "a VoIP room"}["\(.t)"] // "a room of type \(.t)")
elif .archived != null and .archived != false and ($include_archived | not) then
  skip("an archived room; INCLUDE_ARCHIVED=true imports it")
else
  (.t == "c" and .teamId == null) as $public |
  {
    GroupId: ._id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: ((.fname // "" | select(. != "")) // .name) | cut_bytes($limits.Name),
    Introduction: ((.description // "" | select(. != "")) // .topic) | cut_bytes($limits.Introduction),
    Notification: .announcement | cut_bytes($limits.Notification),
    Owner_Account: .u._id,
    ApplyJoinOption: (if $public and (.joinCodeRequired | . == null or . == false) then "FreeAccess" else null end),
    CreateTime: .ts | seconds,
    source: ._id
  }
end
