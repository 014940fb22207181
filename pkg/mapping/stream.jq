# Stream Chat (getstream.io): lines of type channel and member ({"type": …, "item": …}) of an import file or of an export
# by lines, and channels of "Query channels" or of an export of channels ({"channels": [{"channel": …, "members": […]}]}).
# https://getstream.io/chat/docs/node/import.md, "File format", and
# https://getstream.io/chat/docs/rest/#channels-querychannels; roles are those of
# https://getstream.io/chat/docs/node/chat_permission_policies/.
#
# Who may read and join a channel is a setting of the channel's type in the app, which no record contains: each channel
# becomes Private. An ID is unique only in its type, so the group has both.
module {records: "channels"};
def is_on: . as $v | any(null, false, 0, "", "0", "false"; . == $v) | not;
def user: if type == "object" then .id else . end;
def cid($type; $id): if any($type, $id; . == null or . == "") then null else "\($type):\($id)" end;
def is_only_invited: .invited == true and .invite_accepted_at == null;
def list($field): # of members, also as a string of JSON; empty if there is none
  (if type == "string" and . != "" then . as $text | try fromjson catch $text else . end) |
  if . == null or . == "" or . == {} then []
  elif type == "array" then .
  else error("\($field) must be an array of users, not \(type)") end;
def members: list("members")[] |
  if type == "object" then select(is_only_invited | not) |
    (.user_id // (.user | user) // error("an entry of members has no user_id")) as $account |
    member($account; if .channel_role == "channel_moderator" or .role == "moderator" or .is_moderator == true
      then "Admin" else "Member" end; .created_at)
  elif . == null then empty
  else member(.; "Member"; null) end;
def channel($people):
  cid(.type; .id) as $cid |
  if $cid == null and (.id // "") == "" and .type != null then
    skip("a channel without an ID, which its members identify: a direct message")
  elif $cid == null then skip("not a channel of Stream")
  elif any(.frozen, .disabled, .deleted_at; is_on) and ($include_archived | not) then
    skip("a frozen, disabled or deleted channel; INCLUDE_ARCHIVED=true imports it")
  else
    {
      GroupId: $cid | fit_id,
      Type: "Private",
      Name: ((.name // "" | select(. != "")) // .id) | cut_bytes($limits.Name),
      Introduction: .description | cut_bytes($limits.Introduction),
      FaceUrl: .image | fits($limits.FaceUrl),
      Owner_Account: (.created_by_id // (.created_by | user)),
      CreateTime: .created_at | seconds,
      MemberList: [$people | members],
      source: $cid
    }
  end;
if type != "object" then
  skip("not a channel of Stream")
elif (.type | type) == "string" and (.item | type) == "object" then
  if .type == "channel" then .item | channel(.members // .member_ids)
  elif .type == "member" then
    .item | (.channel_cid // .cid // cid(.channel_type; .channel_id)) as $cid |
    if $cid == null then error("the member has no channel_type and channel_id")
    elif is_only_invited then skip("only invited, not a member")
    elif .user_id == null and (.user | user) == null then error("the member has no user_id")
    else [[.] | members] | first as $member |
      $member + {GroupId: $cid | fit_id, source: $cid}
    end
  else ignore end
elif (.channel | type) == "object" then
  .members as $members | .channel | channel($members // .members)
elif (.cid | type) == "string" and (.type | type) == "string" then
  channel(.members)
else
  skip("not a channel of Stream")
end
