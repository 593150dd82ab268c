package envelope_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/envelope"
)

type data struct {
	N int    `json:"n"`
	S string `json:"s"`
}

// byHand is data that reads itself.
type byHand struct{ got string }

func (b *byHand) ReadJSON(data []byte) { b.got = string(envelope.Field(data, "s")) }

func TestDecode(t *testing.T) {
	for name, tt := range map[string]struct {
		body      string
		code      string
		message   string
		requestID string
		data      data
		err       bool
	}{
		"success":                   {`{"code":0,"data":{"n":3,"s":"x"},"msg":"ok"}`, "0", "ok", "", data{3, "x"}, false},
		"no data":                   {`{"code":0,"msg":"ok"}`, "0", "ok", "", data{}, false},
		"null data":                 {`{"code":0,"msg":"ok","data":null}`, "0", "ok", "", data{}, false},
		"text for a code":           {`{"code":"internal_error","msg":"no","request_id":"r"}`, "internal_error", "no", "r", data{}, false},
		"negative":                  {`{"code":-1,"msg":"plugin not found"}`, "-1", "plugin not found", "", data{}, false},
		"data of other kind":        {`{"data":"","code":40301,"msg":"no"}`, "40301", "no", "", data{}, true},
		"data of other kind, after": {`{"code":40301,"msg":"no","data":[1]}`, "40301", "no", "", data{}, true},
		"message of other kind":     {`{"code":1,"msg":{"a":1}}`, "1", `{"a":1}`, "", data{}, false},
		"escapes":                   {`{"code":1,"msg":"a\u00e9\n\"b"}`, "1", "aé\n\"b", "", data{}, false},
		"NaN":                       {`{"code":0,"msg":"ok","data":{"n":3,"x":NaN,"s":"NaN -Infinity","y":-Infinity,"z":[Infinity]}}`, "0", "ok", "", data{3, "NaN -Infinity"}, false},
		"truncated":                 {`{"code":0,"data":{"n":3`, "", "", "", data{}, true},
		"empty":                     {``, "", "", "", data{}, true},
		"no envelope":               {`{"detail":"x"}`, "", "", "", data{}, true},
		"list":                      {`[1]`, "", "", "", data{}, true},
		"null":                      {`null`, "", "", "", data{}, true},
		"null code":                 {`{"code":null}`, "", "", "", data{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := envelope.Decode[data]([]byte(tt.body))
			require.Equal(t, tt.err, err != nil, "%v", err)
			require.Equal(t, tt.code, string(e.Code))
			require.Equal(t, tt.message, string(e.Message))
			require.Equal(t, tt.requestID, string(e.RequestID))
			require.Equal(t, tt.data, e.Data)
			require.Equal(t, tt.code == "0", e.OK())

			self, err := envelope.Decode[byHand]([]byte(tt.body)) // reads the same without reflection
			require.Equal(t, tt.code == "", err != nil, "%v", err)
			require.Equal(t, tt.code, string(self.Code))
			require.Equal(t, tt.message, string(self.Message))
			if tt.data.S != "" {
				require.Equal(t, `"`+tt.data.S+`"`, self.Data.got)
			}
		})
	}
}

// FuzzWalk: the walk sees what encoding/json sees, and never panics on anything else.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{`{"a":{"b":[1,"x",{"c":null}]},"d":"\\\""}`, `[1, 2 ,{"a" : "}]"}]`, `{"a":1,"a":2}`, `{`, `{"a"`, `{"a":`, `[1,`, `"x`, ` { } `, `[[],{},""]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		members, items := map[string]json.RawMessage{}, []json.RawMessage{}
		for key, value := range envelope.Members(body) {
			members[string(key)] = bytes.Clone(value)
		}
		for value := range envelope.Items(body) {
			items = append(items, bytes.Clone(value))
		}
		_ = envelope.Field(body, "a", "b")
		_ = envelope.Text(body)
		if _, err := envelope.Decode[data](body); err == nil && !json.Valid(body) && !bytes.Contains(body, []byte("N")) && !bytes.Contains(body, []byte("I")) {
			t.Fatalf("decoded what is no JSON: %q", body)
		}
		if !json.Valid(body) {
			return
		}
		var wantMembers map[string]json.RawMessage
		if json.Unmarshal(body, &wantMembers) == nil && !bytes.ContainsRune(body, '\\') && json.Valid(body) && isASCII(body) {
			require.Len(t, members, len(wantMembers))
			for key, value := range wantMembers {
				require.JSONEq(t, string(value), string(members[key]))
			}
		}
		var wantItems []json.RawMessage
		if json.Unmarshal(body, &wantItems) == nil {
			require.Len(t, items, len(wantItems))
			for i := range wantItems {
				require.Equal(t, string(wantItems[i]), string(items[i]))
			}
		}
	})
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
