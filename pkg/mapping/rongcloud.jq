# RongCloud (融云): groups of "/entrust/group/profile/query.json" ({"profiles": […]}) and of "/user/group/query.json"
# ({"groups": […]}), and responses of "/group/user/query.json" ({"users": […]}), or members of them, to which the group's ID was added as groupId.
# The fields are those that https://github.com/rongcloud/server-sdk-go decodes (sdk/group.go, sdk/entrust_group.go).
#
# A response does not say whether anybody may join: each group becomes Private. groupProfile is a string of JSON with the
# introduction, the announcement and the URL of a picture.
module {records: ["profiles", "groups"]};
def text: if type == "string" then . else null end;
def first_text(f): first(f | text | select(. != null and . != "")) // null;
if type == "object" and .groupId != null and (.userId // .id) != null then
  {
    GroupId: .groupId | fit_id,
    Member_Account: (.userId // .id),
    Role: "Member",
    JoinTime: .time | seconds,
    source: .groupId
  }
elif type == "object" and .groupId != null and .name == null and (.users | type) == "array" then
  (.groupId | fit_id) as $id | .groupId as $source | .users[] |
  (if type == "object" then member(.userId // .id; "Member"; .time) else member(.; "Member"; null) end) +
    {GroupId: $id, source: $source}
elif type != "object" or (.groupId // .id) == null or (.name | type) != "string" or
  .groupId == null and (keys - ["id", "name", "stat"] | length) > 0 then
  skip("not a RongCloud group")
else
  (.groupId // .id) as $id |
  (.groupProfile | if type == "string" then (try fromjson catch null) else . end | if type == "object" then . else {} end)
    as $profile |
  {
    GroupId: $id | fit_id,
    Type: "Private",
    Name: ((.name | select(. != "")) // "\($id)") | cut_bytes($limits.Name),
    Introduction: first_text($profile.introduction) | cut_bytes($limits.Introduction),
    Notification: first_text($profile.announcement) | cut_bytes($limits.Notification),
    FaceUrl: first_text($profile.portraitUrl, $profile.portrait) | fits($limits.FaceUrl),
    Owner_Account: .owner,
    CreateTime: .createTime | seconds,
    MemberList: [
      (.users | if type == "array" then . else [] end)[] |
      if type == "object" then
        member(.userId // .id; "Member"; .time)
      else member(.; "Member"; null) end
    ],
    source: $id
  }
end
