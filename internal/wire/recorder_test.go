package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A transcript is what one release answered to the scenario.
type transcript struct {
	Release  string    `json:"release"`
	Server   string    `json:"server"` // what it called itself
	Sections []section `json:"sections"`
}

type section struct {
	Name      string     `json:"name"`
	Exchanges []exchange `json:"exchanges"`
}

// An exchange is a request and its answer, with secrets masked and what must differ from run to run replaced by values of
// the same type.
type exchange struct {
	Ask      string            `json:"ask"`              // method and path
	As       string            `json:"as"`               // which credential
	Header   map[string]string `json:"header,omitempty"` // more of the request
	Sent     string            `json:"sent,omitempty"`   // its body, or what it is
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers,omitempty"` // of the answer, those that clients may look at
	JSON     json.RawMessage   `json:"json,omitempty"`    // the body: compact JSON and a newline, as stored
	Text     *string           `json:"text,omitempty"`    // any other body, its beginning
	Size     int               `json:"size,omitempty"`    // of a Text that was cut
	Seen     []string          `json:"seen,omitempty"`    // what a polled task said on its way
	Unstable []unstable        `json:"unstable,omitempty"`
}

// unstable is a place where two runs differ.
type unstable struct {
	Path string            `json:"path"`
	Got  []json.RawMessage `json:"got"`
}

// A run asks one server the scenario.
type run struct {
	t       tester
	server  control
	client  *http.Client
	every   time.Duration // between two looks at a task
	base    string
	release string
	token   string
	key     string // an API key with all permissions
	made    string // another key, from the section about keys
	norm    *normaliser
	log     transcript
	genuine bool // it must be no reference server
}

// tester is the part of testing.T that a run needs.
type tester interface {
	require.TestingT
	Helper()
	Context() context.Context
}

// control is what happens to a server beside the requests.
type control interface {
	StartsBadly(plugin string) // from now on; empty: none does. A real server finds out by itself
	SlowMarketplace(author string, delay time.Duration)
	KillRuntime()
	StartRuntime() error
	Restart(settings ...string) error
}

func (r *run) section(name string) {
	r.t.Helper()
	r.log.Sections = append(r.log.Sections, section{Name: name})
}

// An option changes a request.
type option func(*request)

type request struct {
	as     string
	header map[string]string
	body   []byte
	kind   string // content type
	sent   string // description of the body
}

func as(credential string) option { return func(q *request) { q.as = credential } }

func with(header, value string) option {
	return func(q *request) { q.header[header] = value }
}

// text sends a body as it is.
func text(kind, body string) option {
	return func(q *request) { q.kind, q.body, q.sent = kind, []byte(body), body }
}

func asJSON(v any) option {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text("application/json", string(data))
}

// form uploads data as the part field of a form; without a name it is a plain field.
func form(field, name string, data []byte, what string) option {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	_ = w.SetBoundary("recorded") // it is valid
	head := textproto.MIMEHeader{}
	disposition := fmt.Sprintf(`form-data; name="%s"`, field)
	if name != "-" {
		disposition += fmt.Sprintf(`; filename="%s"`, name)
		head.Set("Content-Type", "application/octet-stream")
	}
	head.Set("Content-Disposition", disposition)
	part, _ := w.CreatePart(head) // a buffer takes everything
	_, _ = part.Write(data)
	_ = w.Close()
	return func(q *request) {
		q.kind, q.body = w.FormDataContentType(), out.Bytes()
		q.sent = fmt.Sprintf("form: %s: %s", disposition, what)
	}
}

// credentials are the ways to say who asks.
func (r *run) credentials(name string) map[string]string {
	return map[string]map[string]string{
		"none":              {},
		"token":             {"Authorization": "Bearer " + r.token},
		"key":               {"Authorization": "Bearer " + r.key},
		"key-in-header":     {"X-API-Key": r.key},
		"made-key":          {"Authorization": "Bearer " + r.made},
		"bad":               {"Authorization": "Bearer bad-token"},
		"bad-key-in-header": {"X-API-Key": "bad-key"},
		"bad-made-key":      {"X-API-Key": "lbk_" + strings.Repeat("x", 8)},
		"both":              {"Authorization": "Bearer " + r.token, "X-API-Key": r.key},
		"token+bad-key":     {"Authorization": "Bearer " + r.token, "X-API-Key": "bad-key"},
		"key+bad-bearer":    {"Authorization": "Bearer bad-token", "X-API-Key": r.key},
		"token-bare":        {"Authorization": r.token},
		"bearer-small":      {"Authorization": "bearer " + r.token},
		"bearer-empty":      {"Authorization": "Bearer "},
		"key-empty":         {"X-API-Key": ""},
		"basic":             {"Authorization": "Basic dTpw"},
	}[name]
}

// An answer is what came back, not normalised.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// data returns a member of the envelope's data, nil if there is none.
func (a answer) data(path ...string) any {
	var v any
	if json.Unmarshal(a.body, &v) != nil {
		return nil
	}
	for _, key := range append([]string{"data"}, path...) {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[key]
	}
	return v
}

func (a answer) task() (id int64, ok bool) {
	n, ok := a.data("task_id").(float64)
	return int64(n), ok && a.status == http.StatusOK
}

// ask makes a request and records it with its answer.
func (r *run) ask(method, path string, opts ...option) answer {
	r.t.Helper()
	q := request{as: "key", header: map[string]string{}}
	for _, opt := range opts {
		opt(&q)
	}
	a := r.send(method, path, q)
	x := r.record(a)
	x.Ask, x.As, x.Sent = method+" "+r.norm.text(path), q.as, r.norm.text(shortened(q.sent))
	if len(q.header) > 0 {
		x.Header = map[string]string{}
	}
	for name, value := range q.header {
		x.Header[name] = counted(value)
	}
	r.keep(x)
	return a
}

func shortened(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%s… (%d bytes)", s[:300], len(s))
	}
	return s
}

func (r *run) keep(x exchange) {
	last := &r.log.Sections[len(r.log.Sections)-1]
	last.Exchanges = append(last.Exchanges, x)
}

func (r *run) send(method, path string, q request) answer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 90*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(q.body)) // the path is sent as it is
	require.NoError(r.t, err)
	require.Equal(r.t, path, req.URL.RequestURI())
	for name, value := range r.credentials(q.as) {
		req.Header.Set(name, value)
	}
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	resp, err := r.client.Do(req)
	if err != nil && len(q.body) > 1<<20 { // an upload that is refused early often loses its answer
		return answer{header: http.Header{}}
	}
	require.NoError(r.t, err, "%s %s", method, path)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err, "%s %s", method, path)
	if r.genuine {
		require.NoError(r.t, genuine(resp.Header))
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// genuine refuses the reference server: a recording of it proves nothing.
func genuine(h http.Header) error {
	if strings.Contains(h.Get("Server"), "langbottest") {
		return errors.New("this is an answer of the reference server")
	}
	return nil
}

// newClient follows no redirect, and uses each connection once: LangBot closes idle ones. A nil dial is that of sockets.
func newClient(dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// told are the headers that a client may look at.
var told = []string{"Content-Type", "Allow", "Retry-After", "Location", "Www-Authenticate", "X-Request-Id", "Content-Security-Policy",
	"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers"}

// record turns an answer into what is kept of it.
func (r *run) record(a answer) exchange {
	x := exchange{Status: a.status, Headers: map[string]string{}}
	for _, name := range told {
		if value, ok := a.header[name]; ok {
			x.Headers[name] = r.norm.text(strings.Join(sorted(name, value), ", "))
		}
	}
	body := r.norm.text(string(a.body))
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(body)) == nil && compact.String()+"\n" == body {
		x.JSON = compact.Bytes()
		return x
	}
	if len(body) > 600 {
		x.Size, body = len(a.body), body[:600]
	}
	if len(a.body) > 0 || a.status == 0 {
		body = strings.ToValidUTF8(body, "?")
		x.Text = &body
	}
	return x
}

// sorted puts what is a set into order.
func sorted(name string, values []string) []string {
	if name != "Allow" {
		return values
	}
	return slices.Sorted(slices.Values(strings.Split(strings.Join(values, ", "), ", ")))
}

// follow polls the task that an answer has promised, by user token and by key, until it ends, and records how.
func (r *run) follow(a answer) {
	r.t.Helper()
	id, ok := a.task()
	if !ok {
		return
	}
	path := fmt.Sprintf("/api/v1/system/tasks/%d", id)
	var seen []string
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		last := r.send("GET", path, request{as: "token"})
		action, _ := last.data("task_context", "current_action").(string)
		percent, _ := last.data("task_context", "metadata", "progress_percent").(float64)
		step := r.norm.text(fmt.Sprintf("%s %v", action, percent))
		if len(seen) == 0 || seen[len(seen)-1] != step {
			seen = append(seen, step)
		}
		if last.status != http.StatusOK || last.data("runtime", "done") == true {
			break
		}
		time.Sleep(r.every)
	}
	r.ask("GET", path, as("token"))
	sections := r.log.Sections
	exchanges := sections[len(sections)-1].Exchanges
	exchanges[len(exchanges)-1].Seen = seen
	r.ask("GET", path, as("key"))
}

// ready waits, unrecorded, until a plugin is initialized, for at most limit.
func (r *run) ready(id string, limit time.Duration) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		a := r.send("GET", "/api/v1/plugins/"+id, request{as: "token"})
		if a.data("plugin", "status") == "initialized" {
			return
		}
	}
}

// merge marks in the first transcript what the second one has otherwise.
func merge(t *testing.T, one, two transcript) transcript {
	require.Equal(t, len(one.Sections), len(two.Sections))
	for i, s := range one.Sections {
		require.Len(t, two.Sections[i].Exchanges, len(s.Exchanges), s.Name)
		for j := range s.Exchanges {
			x, y := &s.Exchanges[j], two.Sections[i].Exchanges[j]
			require.Equal(t, x.As, y.As)
			x.Unstable = differences("", tree(t, *x), tree(t, y))
		}
	}
	return one
}

// tree is everything of an exchange as generic JSON.
func tree(t *testing.T, x exchange) any {
	data, err := json.Marshal(x)
	require.NoError(t, err)
	var v any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&v))
	return v
}

func present(there bool) json.RawMessage {
	if there {
		return json.RawMessage("null")
	}
	return json.RawMessage(`"(absent)"`)
}

// differences lists the places where a and b differ, as paths with slashes.
func differences(path string, a, b any) []unstable {
	x, isObject := a.(map[string]any)
	y, alsoObject := b.(map[string]any)
	if isObject && alsoObject {
		var all []unstable
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			_, inX := x[key]
			_, inY := y[key]
			if inX != inY && x[key] == nil && y[key] == nil { // one has null
				all = append(all, unstable{Path: path + "/" + key, Got: []json.RawMessage{present(inX), present(inY)}})
				continue
			}
			all = append(all, differences(path+"/"+key, x[key], y[key])...)
		}
		return all
	}
	l, isList := a.([]any)
	m, alsoList := b.([]any)
	if isList && alsoList && len(l) == len(m) {
		var all []unstable
		for i := range l {
			all = append(all, differences(fmt.Sprintf("%s/%d", path, i), l[i], m[i])...)
		}
		return all
	}
	one, _ := json.Marshal(a) // it was JSON
	two, _ := json.Marshal(b)
	if bytes.Equal(one, two) {
		return nil
	}
	return []unstable{{Path: path, Got: []json.RawMessage{one, two}}}
}
