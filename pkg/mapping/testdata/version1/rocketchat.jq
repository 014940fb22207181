# Rocket.Chat: rooms of an answer of rooms.adminRooms, or of the collection rocketchat_room as mongoexport writes it.
# "Room", https://developer.rocket.chat/apidocs/room-schema (2025-09-02), and
# "Get All Room Admins", https://developer.rocket.chat/apidocs/get-all-room-admins (2026-06-01)
if .t != "c" and .t != "p" then
  skip({d: "a direct message", l: "a livechat", v: "a VoIP room"}[.t] // "a room of type \(.t)")
else
  {
    GroupId: ._id | fit_id,
    Type: (if .t == "p" then "Private" else "Public" end),
    Name: ((.fname // "" | select(. != "")) // .name) | cut_bytes($limits.Name),
    Introduction: ((.description // "" | select(. != "")) // .topic) | cut_bytes($limits.Introduction),
    Notification: .announcement | cut_bytes($limits.Notification),
    Owner_Account: .u._id,
    ApplyJoinOption: (if .t == "p" or .joinCodeRequired == true then null else "FreeAccess" end),
    CreateTime: .ts | seconds
  }
end
