package notify

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
)

// The headers of a signed request.
const (
	headerTimestamp = "X-Groupimport-Timestamp"
	headerSignature = "X-Groupimport-Signature"
)

const (
	// maxText is the size of a text in bytes. WeCom takes 2,048, the others more.
	maxText = 2000
	maxLine = 600 // bytes of one message of several in a text
	moreLen = 100 // bytes of the end of a text that leaves messages out
)

// A format is a kind of webhook. A chat gets texts with all messages that wait, because it limits requests: WeCom and
// DingTalk take 20 a minute, and DingTalk then none for ten minutes; Slack takes one a second, Feishu 100 a minute.
type format struct {
	isChat   bool
	workers  int           // requests at the same time
	pause    time.Duration // between two requests
	hasCode  bool          // a response with HTTP 200 may have the code of an error
	isSigned bool          // it has a signature of its own
	escape   *strings.Replacer
	body     func(text string, t Target, now time.Time) any // of a chat
	address  func(t Target, now time.Time) (string, error)  // nil for the URL as it is
}

// The documents of the chats, read 2026-11: docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
// developer.work.weixin.qq.com/document/path/91770, open.dingtalk.com/document/orgapp/custom-robot-access,
// open.feishu.cn/document/client-docs/bot-v3/add-custom-bot.
var formats = map[string]format{
	"json": {workers: 4},
	"slack": {
		isChat: true, workers: 1, pause: time.Second,
		// docs.slack.dev/messaging/formatting-message-text: <!channel> would notify everybody.
		escape: strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;"),
		body:   func(text string, _ Target, _ time.Time) any { return slackBody{text} },
	},
	"wecom": {
		isChat: true, workers: 1, pause: 3 * time.Second, hasCode: true, escape: noTags,
		body: func(text string, _ Target, _ time.Time) any { return wecomBody{"text", content{text}} },
	},
	"dingtalk": {
		isChat: true, workers: 1, pause: 3 * time.Second, hasCode: true, isSigned: true, escape: noTags,
		body:    func(text string, _ Target, _ time.Time) any { return wecomBody{"text", content{text}} },
		address: dingtalkAddress,
	},
	"feishu": {
		isChat: true, workers: 1, pause: time.Second, hasCode: true, isSigned: true, escape: noTags, body: newFeishuBody,
	},
}

// noTags replaces what begins a tag in a text of Feishu: <at user_id="all"> would notify everybody.
var noTags = strings.NewReplacer("<", "＜", ">", "＞")

type slackBody struct {
	Text string `json:"text"`
}

type wecomBody struct {
	Type string  `json:"msgtype"`
	Text content `json:"text"`
}

type content struct {
	Content string `json:"content"`
}

type feishuBody struct {
	Timestamp string `json:"timestamp,omitzero"`
	Sign      string `json:"sign,omitzero"`
	Type      string `json:"msg_type"`
	Content   struct {
		Text string `json:"text"`
	} `json:"content"`
}

// newFeishuBody signs as the document says: the key is the timestamp, a line break and the secret, and the message is
// empty.
func newFeishuBody(text string, t Target, now time.Time) any {
	b := feishuBody{Type: "text"}
	b.Content.Text = text
	if t.Secret != "" {
		b.Timestamp = strconv.FormatInt(now.Unix(), 10)
		mac := hmac.New(sha256.New, []byte(b.Timestamp+"\n"+t.Secret))
		b.Sign = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return b
}

// dingtalkAddress adds the signature to the URL: the key is the secret, and the message is the timestamp in
// milliseconds, a line break and the secret.
func dingtalkAddress(t Target, now time.Time) (string, error) {
	if t.Secret == "" {
		return t.URL, nil
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return "", errors.New("the URL is invalid")
	}
	at := strconv.FormatInt(now.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(t.Secret))
	mac.Write([]byte(at + "\n" + t.Secret))
	query := u.Query()
	query.Set("timestamp", at)
	query.Set("sign", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Formats returns the names of the formats, the default first.
func Formats() []string { return []string{"json", "slack", "wecom", "dingtalk", "feishu"} }

// request returns the address and the body of a request with these messages, one if the format is no chat.
func (f *format) request(batch []Message, t Target, now time.Time) (address string, body []byte, err error) {
	address = t.URL
	if f.address != nil {
		if address, err = f.address(t, now); err != nil {
			return "", nil, err
		}
	}
	var value any = batch[0]
	if f.isChat {
		value = f.body(joined(batch, f.escape), t, now)
	}
	body, err = json.Marshal(value, json.Deterministic(true))
	return address, body, err
}

// Signature returns the value of X-Groupimport-Signature: "sha256=" and the HMAC-SHA256 (RFC 2104), in hex, of the
// timestamp, a full stop and the body.
func Signature(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp))
	mac.Write([]byte("."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// text describes a message in one line.
func text(m *Message) string {
	var parts []string
	for status, n := range m.Counts.All() {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	if n := m.Counts.Members.Failed; n > 0 {
		parts = append(parts, fmt.Sprintf("%d members missing", n))
	}
	line := "groupimport: " + cmp.Or(m.Export, m.Key) + ": "
	if m.State != "cancelled" { // else the reason says by whom
		line += m.State
		if m.Reason != "" {
			line += ": "
		}
	}
	line += strings.TrimSuffix(m.Reason, ".")
	if len(parts) > 0 {
		line += ". " + strings.Join(parts, ", ")
	}
	if m.GivenUp > 0 {
		line += fmt.Sprintf(", %d given up after all retries", m.GivenUp)
	}
	line = clip(oneLine(line), maxText/2)
	if m.Report != "" {
		line += ". Report: " + clip(oneLine(m.Report), maxText/2)
	}
	return line
}

// joined returns the texts of messages, one a line, those first that somebody has to act on. It counts the messages for
// which there is no room.
func joined(batch []Message, escape *strings.Replacer) string {
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b Message) int {
		switch fine := a.isFine(); {
		case fine == b.isFine():
			return 0
		case fine:
			return 1
		}
		return -1
	})
	if len(sorted) == 1 {
		return clip(escape.Replace(sorted[0].Text), maxText)
	}
	var all strings.Builder
	var states []string
	left := map[string]int{}
	for n := range sorted {
		m := &sorted[n]
		line := clip(escape.Replace(m.Text), maxLine)
		if len(left) == 0 && all.Len()+len(line)+1 <= maxText-moreLen {
			all.WriteString(line + "\n")
			continue
		}
		if left[m.State] == 0 {
			states = append(states, m.State)
		}
		left[m.State]++
	}
	for n, state := range states {
		states[n] = fmt.Sprintf("%d %s", left[state], state)
	}
	if len(states) > 0 {
		all.WriteString("groupimport: and more: " + strings.Join(states, ", "))
	}
	return strings.TrimSuffix(all.String(), "\n")
}

// oneLine replaces line breaks and control characters by spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// clip cuts a text to a number of bytes.
func clip(s string, size int) string {
	const end = "…"
	if len(s) <= size {
		return s
	}
	return strings.ToValidUTF8(s[:size-len(end)], "") + end
}
