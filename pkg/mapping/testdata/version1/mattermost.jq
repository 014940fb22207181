# Mattermost: lines of type channel in a bulk export (JSONL); all other lines are left out.
# "Bulk loading data format", https://docs.mattermost.com/onboard/bulk-loading-data-format.html, "Channel object".
# A channel's name is unique in its team only, and the format tells neither who made it nor when.
if .type != "channel" then
  skip("a line of type \(.type), not a channel")
else
  .channel |
  {
    GroupId: "\(.team).\(.name)" | fit_id,
    Type: (if .type == "P" then "Private" else "Public" end),
    Name: (.display_name // .name) | cut_bytes($limits.Name),
    Introduction: .purpose | cut_bytes($limits.Introduction),
    Notification: .header | cut_bytes($limits.Notification),
    ApplyJoinOption: (if .type == "P" then null else "FreeAccess" end)
  }
end
