package emulator

import (
	"cmp"
	"slices"
	"strconv"
)

// baseInfo lists the fields for GroupBaseInfoFilter. MaxMemberNum is get_group_info's name of MaxMemberCount.
var baseInfo = []string{
	"Type", "Name", "Introduction", "Notification", "FaceUrl", "Owner_Account", "CreateTime", "LastInfoTime",
	"LastMsgTime", "NextMsgSeq", "MemberNum", "MaxMemberNum", "ApplyJoinOption", "ShutUpAllMember", "SupportTopic",
}

// lookUp implements get_group_info. It returns the groups in reverse order, because no order is documented and clients
// must not rely on one.
func (s *Service) lookUp(body []byte) ([]map[string]any, error) {
	o := readObject(body, "GroupIdList", "ResponseFilter")
	ids := o.texts("GroupIdList")
	switch {
	case len(ids) == 0:
		o.fail("GroupIdList is missing or empty")
	case len(ids) > 50:
		o.fail("GroupIdList has " + strconv.Itoa(len(ids)) + " GroupIds, limit 50")
	}
	base, data, members := baseInfo, []string(nil), !o.has("ResponseFilter")
	if o.has("ResponseFilter") {
		f := readObject(o.value("ResponseFilter"), "GroupBaseInfoFilter", "MemberInfoFilter",
			"AppDefinedDataFilter_Group", "AppDefinedDataFilter_GroupMember")
		if f.has("GroupBaseInfoFilter") {
			base = f.texts("GroupBaseInfoFilter")
		}
		for _, name := range base {
			if !slices.Contains(baseInfo, name) {
				f.fail("GroupBaseInfoFilter: unknown field " + name)
			}
		}
		data, members = f.texts("AppDefinedDataFilter_Group"), f.has("MemberInfoFilter")
		if f.err != nil {
			o.fail("ResponseFilter: " + f.err.Error())
		}
	}
	if o.err != nil {
		return nil, o.err
	}

	infos := make([]map[string]any, 0, len(ids))
	for _, id := range slices.Backward(ids) {
		g, ok := s.shown(id, s.ReadLag)
		if !ok {
			infos = append(infos, map[string]any{
				"GroupId": id, "ErrorCode": 10010, "ErrorInfo": "the group does not exist",
			})
			continue
		}
		all := g.info()
		info := map[string]any{"GroupId": id, "ErrorCode": 0, "ErrorInfo": ""}
		for _, name := range base {
			info[name] = all[name]
		}
		var pairs []Pair
		for _, p := range g.AppDefinedData {
			if !o.has("ResponseFilter") || slices.Contains(data, p.Key) {
				pairs = append(pairs, p)
			}
		}
		if pairs != nil {
			info["AppDefinedData"] = pairs
		}
		if members && g.Owner != "" {
			list := []map[string]any{{"Member_Account": g.Owner, "Role": "Owner"}}
			for _, m := range g.Members {
				list = append(list, map[string]any{
					"Member_Account": m.Account, "Role": cmp.Or(m.Role, "Member"), "JoinTime": m.JoinTime,
				})
			}
			info["MemberList"] = list
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// info returns the values of baseInfo, with the defaults of the document of 2022.
func (g *Group) info() map[string]any {
	maxMembers, join, members := g.MaxMemberCount, g.ApplyJoinOption, len(g.Members)
	if maxMembers == 0 {
		maxMembers = 2000
	}
	if join == "" {
		join = "NeedPermission"
	}
	if g.Owner != "" {
		members++
	}
	return map[string]any{
		"Type": g.Type, "Name": g.Name, "Introduction": g.Introduction, "Notification": g.Notification,
		"FaceUrl": g.FaceURL, "Owner_Account": g.Owner, "CreateTime": g.CreateTime, "LastInfoTime": 0,
		"LastMsgTime": 0, "NextMsgSeq": 0, "MemberNum": members, "MaxMemberNum": maxMembers,
		"ApplyJoinOption": join, "ShutUpAllMember": "Off", "SupportTopic": g.SupportTopic,
	}
}
