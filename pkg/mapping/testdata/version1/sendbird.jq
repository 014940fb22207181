# Sendbird: group channels, from a data export or an answer of "List group channels".
# https://sendbird.com/docs/chat/platform-api/v3/channel/listing-channels-in-an-application/list-group-channels and
# https://sendbird.com/docs/chat/platform-api/v3/channel/channel-overview, "Resource representation"
{
  GroupId: .channel_url | fit_id,
  Type: (if .is_public == true then "Public" else "Private" end),
  Name: ((.name // "" | select(. != "")) // .channel_url) | cut_bytes($limits.Name),
  FaceUrl: .cover_url | fits($limits.FaceUrl),
  Owner_Account: .created_by.user_id,
  ApplyJoinOption: (if .is_public == true and .is_access_code_required != true then "FreeAccess" else null end),
  CreateTime: .created_at | seconds
}
