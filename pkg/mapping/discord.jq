# Discord: the channels of a guild, a response of "Get Guild Channels", and threads.
# https://discord.com/developers/docs/resources/guild#get-guild-channels and
# https://discord.com/developers/docs/resources/channel#channel-object. An ID contains its creation time:
# https://discord.com/developers/docs/reference#snowflakes
#
# A channel is public if it has permission overwrites and none of them denies VIEW_CHANNEL, or allows it only to a role
# or a member. Threads have no overwrites: they become Private.
def is_id: type == "string" and test("^[0-9]+$");
def is_mask: type == "string" and test("^[0-9]{1,16}$");
def has_view: (tonumber / 1024 | floor) % 2 == 1; # VIEW_CHANNEL, bit 10
def is_public:
  .guild_id as $guild |
  ($guild | is_id) and (.permission_overwrites | type) == "array" and
  all(.permission_overwrites[];
    type == "object" and (.id | is_id) and (.allow | is_mask) and (.deny | is_mask) and
    (.deny | has_view | not) and (.id == $guild or (.allow | has_view | not)));
if type != "object" or (.id | is_id | not) or (.type | type) != "number" then
  skip("not a Discord channel")
elif .type == 0 or .type == 5 or .type == 10 or .type == 11 or .type == 12 then
  if (.thread_metadata | type) == "object" and .thread_metadata.archived != null and .thread_metadata.archived != false
    and ($include_archived | not) then
    skip("an archived thread; INCLUDE_ARCHIVED=true imports it")
  else
    ((.type == 0 or .type == 5) and is_public) as $public |
    {
      GroupId: .id | fit_id,
      Type: (if $public then "Public" else "Private" end),
      Name: .name | cut_bytes($limits.Name),
      Introduction: .topic | cut_bytes($limits.Introduction),
      Owner_Account: .owner_id,
      ApplyJoinOption: (if $public then "FreeAccess" else null end),
      CreateTime: (((.id | tonumber) / 4194304 | floor) + 1420070400000) | seconds,
      source: .id
    }
  end
else
  skip({"1": "a direct message", "2": "a voice channel", "3": "a group of direct messages", "4": "a category",
    "13": "a stage", "14": "a directory", "15": "a forum, whose posts are threads",
    "16": "a media channel, whose posts are threads"}["\(.type)"]
    // "a channel of type \(.type)")
end
