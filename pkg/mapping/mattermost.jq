# Mattermost: lines of type channel in a bulk export (JSONL); lines of other types are ignored.
# "Bulk loading data format", https://docs.mattermost.com/onboard/bulk-loading-data-format.html, "Channel object".
# A channel's name is unique only in its team. The format contains neither its creator nor its creation time.
module {only: {type: "channel"}};
def is_gone: . != null and . != 0 and . != false;
if type != "object" or (.channel | type) != "object" or any(.channel | .team, .name; type != "string") then
  skip("not a line of a Mattermost bulk export")
else
  .channel |
  if ((.deleted_at | is_gone) or (.delete_at | is_gone)) and ($include_archived | not) then
    skip("an archived channel; INCLUDE_ARCHIVED=true imports it")
  else
    (.type == "O") as $public |
    {
      GroupId: "\(.team).\(.name)" | fit_id,
      Type: (if $public then "Public" else "Private" end),
      Name: ((.display_name // "" | select(. != "")) // .name) | cut_bytes($limits.Name),
      Introduction: .purpose | cut_bytes($limits.Introduction),
      Notification: .header | cut_bytes($limits.Notification),
      ApplyJoinOption: (if $public then "FreeAccess" else null end),
      source: "\(.team).\(.name)"
    }
  end
end
