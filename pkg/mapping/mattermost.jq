# Mattermost: lines of type channel and user in a bulk export (JSONL); lines of other types are ignored.
# "Bulk loading data format", https://docs.mattermost.com/onboard/bulk-loading-data-format.html, "Channel object" and
# "User object". A user has its teams, and each has its channels: they are member records.
# A channel's name is unique only in its team. The format contains neither its creator nor its creation time.
module {only: {type: ["channel", "user"]}};
def id_of($team; $channel): "\($team).\($channel)" | fit_id;
def role: if type == "string" and any(split(" ")[]; . == "channel_admin") then "Admin" else null end;
def named($field): # the objects of a list, null if there is none
  if .[$field] == null then empty
  elif (.[$field] | type) != "array" then error("\($field) of the user must be an array, not \(.[$field] | type)")
  else .[$field][] | select(. != null and . != {}) |
    if type == "object" and (.name | type) == "string" then . else error("an entry in \($field) of the user has no name") end
  end;
def channels: # of a user
  .username as $user |
  named("teams") | .name as $team |
  named("channels") | {GroupId: id_of($team; .name), Member_Account: $user, Role: .roles | role};
def is_gone: . != null and . != 0 and . != false;
if type == "object" and .type == "user" and (.user | type) == "object" then
  [.user | channels] |
  if length == 0 then ignore else .[] end
elif type != "object" or (.channel | type) != "object" or any(.channel | .team, .name; type != "string") then
  skip("not a line of a Mattermost bulk export")
else
  .channel |
  if ((.deleted_at | is_gone) or (.delete_at | is_gone)) and ($include_archived | not) then
    skip("an archived channel; INCLUDE_ARCHIVED=true imports it")
  else
    (.type == "O") as $public |
    {
      GroupId: id_of(.team; .name),
      Type: (if $public then "Public" else "Private" end),
      Name: ((.display_name // "" | select(. != "")) // .name) | cut_bytes($limits.Name),
      Introduction: .purpose | cut_bytes($limits.Introduction),
      Notification: .header | cut_bytes($limits.Notification),
      ApplyJoinOption: (if $public then "FreeAccess" else null end),
      source: "\(.team).\(.name)"
    }
  end
end
