# Slack: channels.json (public channels) and groups.json (private ones) of a workspace export.
# "How to read Slack data exports", https://slack.com/help/articles/220556107; the fields are those of the conversation
# object, https://docs.slack.dev/reference/objects/conversation-object; &amp; &lt; &gt; are escapes of & < >:
# https://docs.slack.dev/messaging/formatting-message-text#escaping
#
# Of the zip archive of an export only these two files are read.
#
# The records of an export do not contain whether a channel is private: the file's name does. Only the channels in
# channels.json are public, also as "channels (1).json", a second download. In all other files they become Private.
# The members of a channel are IDs of users, without roles and times.
module {files: ["channels.json", "groups.json"], records: "channels"};
def list($field): # of members, also as a string of JSON; null if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then null
  elif type == "array" then .
  elif type == "object" then error("\($field) must be an array of users, not \(type)")
  else [[.]] end; # an invalid member, which the outcome has
def unescape:
  if . == null then null
  else split("&lt;") | join("<") | split("&gt;") | join(">") | split("&amp;") | join("&") end;
def value: if type == "object" then .value else . end; # of purpose and topic
def is_channel: # as opposed to users, messages, canvases and logs of the same export
  type == "object" and (.profile // .ts // .text // .mimetype) == null and .created != null and .id != null and
  (.members != null or (.topic | type) == "object" or (.purpose | type) == "object");
def file: # the name in lower case, without a browser's (1)
  $name | ascii_downcase | if contains("(") then sub(" ?\\([0-9]+\\)(?<end>\\.[a-z]+)$"; "\(.end)") else . end;
def is_file_of_messages: # also renamed, such as acme-dms.json
  file | split(".")[:-1] | join("-") | split("_") | join("-") | split(" ") | join("-") | split("-") | last |
  . == "dms" or . == "mpims";
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
def is_set: . != null and . != false;
def is_public: # the flags in API responses must agree
  (file | . == "channels.json" or . == "channels.jsonl" or . == "channels.ndjson") and
  ([.is_private, .is_group, .is_mpim, .is_im] | any(is_set) | not) and
  (.is_private == false or (any(keys[]; startswith("is_") and . != "is_archived" and . != "is_general") | not));
if is_channel | not then
  skip("not a channel of a Slack export")
elif is_file_of_messages or (.is_im | is_set) or (.is_mpim | is_set) or
  (.name | type) != "string" or (.name | startswith("mpdm-")) then
  skip("a direct message, not a channel")
elif (.is_archived | is_on) and ($include_archived | not) then
  skip("an archived channel; INCLUDE_ARCHIVED=true imports it")
else
  is_public as $public |
  {
    GroupId: .id | fit_id,
    Type: (if $public then "Public" else "Private" end),
    Name: .name | unescape | cut_bytes($limits.Name),
    Introduction: .purpose | value | unescape | cut_bytes($limits.Introduction),
    Notification: .topic | value | unescape | cut_bytes($limits.Notification),
    Owner_Account: .creator,
    ApplyJoinOption: (if $public then "FreeAccess" else null end),
    CreateTime: .created | seconds,
    MemberList: ((.members | list("members")) as $members | if $members != null then
      [$members[] | if type == "string" then {Member_Account: .} # at once: there may be 50,000
        else if type == "object" then .id // . else . end | select(. != null) | {Member_Account: .} end]
      else null end),
    source: .id
  }
end
