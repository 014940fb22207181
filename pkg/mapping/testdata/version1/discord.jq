# Discord: the channels of a guild, an answer of "Get Guild Channels".
# https://discord.com/developers/docs/resources/guild#get-guild-channels and
# https://discord.com/developers/docs/resources/channel#channel-object. An ID tells when it was made:
# https://discord.com/developers/docs/reference#snowflakes
def denies_everyone: # VIEW_CHANNEL, bit 10, to the role that has the guild's ID
  .guild_id as $guild |
  any(.permission_overwrites[]?; .id == $guild and ((.deny // "0" | tonumber) / 1024 | floor) % 2 == 1);
if .type == 0 or .type == 5 or .type == 10 or .type == 11 or .type == 12 then
  (.type == 12 or denies_everyone) as $private |
  {
    GroupId: .id | fit_id,
    Type: (if $private then "Private" else "Public" end),
    Name: .name | cut_bytes($limits.Name),
    Introduction: .topic | cut_bytes($limits.Introduction),
    Owner_Account: .owner_id,
    ApplyJoinOption: (if $private then null else "FreeAccess" end),
    CreateTime: (((.id | tonumber) / 4194304 | floor) + 1420070400000) | seconds
  }
else
  skip({"1": "a direct message", "2": "a voice channel", "3": "a group of direct messages", "4": "a category", "13": "a stage",
    "14": "a directory", "15": "a forum, whose posts are threads", "16": "a media channel, whose posts are threads"}["\(.type)"]
    // "a channel of type \(.type)")
end
