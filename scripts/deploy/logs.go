package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// indexFields are the fields of a line of the log that SCF writes to CLS, with their types and with statistics, by "Log
// Delivery Configuration", section "Configuring index", in github.com/tencentyun/intlcloud-documents of 2024-12-24. The
// queries of functions/scf/README.md need them.
var indexFields = []struct{ name, kind string }{
	{"SCF_FunctionName", "text"},
	{"SCF_Namespace", "text"},
	{"SCF_StartTime", "long"},
	{"SCF_LogTime", "long"},
	{"SCF_RequestId", "text"},
	{"SCF_Duration", "long"},
	{"SCF_Alias", "text"},
	{"SCF_Qualifier", "text"},
	{"SCF_MemUsage", "double"},
	{"SCF_Level", "text"},
	{"SCF_Message", "text"},
	{"SCF_Type", "text"},
	{"SCF_StatusCode", "long"},
	{"SCF_RetryNum", "long"},
}

// delimiters are the characters between words, as in an example of CreateIndex.
const delimiters = "@&?|#()='\",;:<>[]{}/ \n\t\r\\"

func indexRule() map[string]any {
	fields := []map[string]any{}
	for _, f := range indexFields {
		value := map[string]any{"Type": f.kind, "SqlFlag": true}
		if f.kind == "text" {
			value["Tokenizer"] = delimiters
		}
		fields = append(fields, map[string]any{"Key": f.name, "Value": value})
	}
	return map[string]any{
		"FullText": map[string]any{"CaseSensitive": false, "Tokenizer": delimiters},
		"KeyValue": map[string]any{"CaseSensitive": true, "KeyValues": fields},
	}
}

// A logsState is what exists of the logset and the log topic that this command creates.
type logsState struct {
	logset, topic string // IDs, empty for none
	isOurs        bool   // this command created the topic
	hasIndex      bool
	topics        int64 // in the logset
}

func (d *deployer) logs(ctx context.Context) (s logsState, err error) {
	filter := func(key, value string) map[string]any { return map[string]any{"Key": key, "Values": []string{value}} }
	name := d.target.prefixName
	for offset := 0; s.logset == ""; offset += 100 { // the filter may also find names that contain this one
		var page struct {
			Logsets []struct {
				LogsetID                     string `json:"LogsetId"`
				LogsetName                   string
				TopicCount, MetricTopicCount int64
			}
		}
		if err := d.read(ctx, "cls", "DescribeLogsets", map[string]any{
			"Filters": []any{filter("logsetName", name)}, "Offset": offset, "Limit": 100,
		}, &page); err != nil {
			return s, err
		}
		for _, l := range page.Logsets {
			if l.LogsetName == name {
				s.logset, s.topics = l.LogsetID, l.TopicCount+l.MetricTopicCount
			}
		}
		if len(page.Logsets) < 100 {
			break
		}
	}
	if s.logset == "" {
		return s, nil
	}
	var page struct {
		Topics []struct {
			TopicID              string `json:"TopicId"`
			TopicName, Describes string
			Index                bool
		}
	}
	if err := d.read(ctx, "cls", "DescribeTopics", map[string]any{
		"Filters":       []any{filter("logsetId", s.logset), filter("topicName", name)},
		"PreciseSearch": 1, "Offset": 0, "Limit": 100,
	}, &page); err != nil {
		return s, err
	}
	for _, topic := range page.Topics {
		if topic.TopicName == name {
			s.topic, s.hasIndex, s.isOurs = topic.TopicID, topic.Index, strings.HasPrefix(topic.Describes, mark)
		}
	}
	return s, nil
}

// logChanges finds the logset and the topic of the functions, or returns what creates them. It does not change those
// that exist, except that it creates a missing index.
func (d *deployer) logChanges(ctx context.Context) (list []change, err error) {
	t := d.target
	if t.topic != "" {
		d.logset, d.topic = t.logset, t.topic
		return nil, nil
	}
	if t.logDays == 0 {
		return nil, nil
	}
	s, err := d.logs(ctx)
	if err != nil {
		return nil, err
	}
	d.logset, d.topic = s.logset, s.topic
	add := func(action, text string, settles bool, p map[string]any) {
		list = append(list, change{text: text, service: "cls", action: action, parameters: p, settles: settles})
	}
	name := t.prefixName
	if s.logset == "" {
		add("CreateLogset", "logset "+name+": create", true, map[string]any{"LogsetName": name})
	}
	if s.topic == "" {
		add("CreateTopic", fmt.Sprintf("log topic %s: create, for %d days", name, t.logDays), true, map[string]any{
			"LogsetId": s.logset, "TopicName": name, "Period": t.logDays, "Describes": mark,
		})
	}
	if !s.hasIndex {
		add("CreateIndex", "log topic "+name+": create its index", false, map[string]any{
			"TopicId": s.topic, "Rule": indexRule(), "Status": true,
		})
	}
	return list, nil
}

// logRemoval returns what removes the topic, if this command created it, and then the logset, if it is empty.
func (d *deployer) logRemoval(ctx context.Context) (list []change, err error) {
	if d.target.topic != "" || d.target.logDays == 0 {
		return nil, nil
	}
	s, err := d.logs(ctx)
	if err != nil || s.logset == "" {
		return nil, err
	}
	name := d.target.prefixName
	if s.topic != "" && s.isOurs {
		list = append(list, change{
			text: "log topic " + name + ": delete", service: "cls", action: "DeleteTopic",
			parameters: map[string]any{"TopicId": s.topic},
		})
		s.topics--
	}
	if s.topics == 0 {
		list = append(list, change{
			text: "logset " + name + ": delete", service: "cls", action: "DeleteLogset",
			parameters: map[string]any{"LogsetId": s.logset},
		})
	}
	return slices.Clip(list), nil
}
