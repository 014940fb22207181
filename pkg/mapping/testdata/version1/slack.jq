# Slack: channels.json, and groups.json for private channels, of a workspace export.
# "How to read Slack data exports", https://slack.com/help/articles/220556107; the fields are those of the channel
# object, https://api.slack.com/types/channel
if .is_im == true or .is_mpim == true or .name == null then
  skip("a direct message, not a channel")
else
  (.is_private == true or .is_group == true) as $private |
  {
    GroupId: .id | fit_id,
    Type: (if $private then "Private" else "Public" end),
    Name: .name | cut_bytes($limits.Name),
    Introduction: .purpose.value | cut_bytes($limits.Introduction),
    Notification: .topic.value | cut_bytes($limits.Notification),
    Owner_Account: .creator,
    ApplyJoinOption: (if $private then null else "FreeAccess" end),
    CreateTime: .created | seconds
  }
end
