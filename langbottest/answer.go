package langbottest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// An answer is what goes back: JSON, something else, or nothing at all.
type answer struct {
	status int
	body   any    // JSON, unless it is nil
	raw    []byte // instead
	kind   string // content type of raw
	header map[string]string
	ends   bool // the connection ends with it
}

func ok(data any) answer {
	return answer{status: 200, body: map[string]any{"code": 0, "msg": "ok", "data": data}}
}

func refusal(status int, code any, message string) answer {
	return answer{status: status, body: map[string]any{"code": code, "msg": message}}
}

const textHTML = "text/html; charset=utf-8"

func page(status int, html string) answer {
	return answer{status: status, raw: []byte(html), kind: textHTML}
}

// failure is what comes of an exception: its text is told by releases that tell it.
func (s *Server) failure(c *call, text string) answer {
	if !s.profile.has(errorCodes) {
		return refusal(500, -2, text)
	}
	id := c.requestID()
	a := refusal(500, "internal_error", "Internal server error")
	a.body.(map[string]any)["request_id"] = latin1(id)
	a.header = map[string]string{"X-Request-Id": id}
	return a
}

// requestID is the id that the client has sent, if LangBot takes it, or a new one.
func (c *call) requestID() string {
	id := c.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return newUUID()
	}
	return id
}

// latin1 reads the bytes of a header as Python does.
func latin1(header string) string {
	runes := make([]rune, len(header))
	for i := range len(header) {
		runes[i] = rune(header[i])
	}
	return string(runes)
}

// Pages of LangBot's web server.
const (
	page404 = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"
	page405 = "<!doctype html>\n<html lang=en>\n<title>405 Method Not Allowed</title>\n<h1>Method Not Allowed</h1>\n<p>The method is not allowed for the requested URL.</p>\n"
	page500 = "<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n<h1>Internal Server Error</h1>\n<p>The server encountered an internal error and was unable to complete your request. Either the server is overloaded or there is an error in the application.</p>\n"
	pageApp = "<!doctype html>\n<html lang=\"zh\">\n  <head>\n    <meta charset=\"UTF-8\" />\n    <title>LangBot</title>\n  </head>\n  <body>\n    <div id=\"root\"></div>\n  </body>\n</html>\n"
)

// unknown answers what no route fits, as LangBot's web server does: its web interface takes every other GET.
func (s *Server) unknown(r *http.Request, methods []string) answer {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !read {
		a := page(405, page405)
		a.header = map[string]string{"Allow": allowed(methods)}
		return a
	}
	if strings.HasPrefix(r.URL.Path, "/api/") && s.profile.has(notFoundPages) {
		return page(404, page404)
	}
	return page(200, pageApp)
}

// allowed is the Allow header of a path; every path takes GET.
func allowed(methods []string) string {
	methods = append([]string{"GET", "HEAD", "OPTIONS"}, methods...)
	slices.Sort(methods)
	return strings.Join(slices.Compact(methods), ", ")
}

// preflight answers OPTIONS of a path, a browser's question before a request from another origin among them.
func preflight(r *http.Request, methods []string) answer {
	a := answer{status: 200, raw: []byte{}, kind: textHTML, header: map[string]string{"Allow": allowed(methods)}}
	if r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		a.header["Access-Control-Allow-Methods"] = "GET, HEAD, POST, OPTIONS, PUT, PATCH, DELETE"
		if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
			names := strings.Split(wanted, ",")
			for i := range names {
				names[i] = strings.TrimSpace(names[i])
			}
			a.header["Access-Control-Allow-Headers"] = strings.Join(names, ", ")
		}
	}
	return a
}

// write sends an answer. If much of the body is still to come, the connection ends with it, and does not say so.
func (a answer) write(w http.ResponseWriter, c *call) {
	a.mark(w, c)
	content := a.content()
	if c.ContentLength > patience && !c.body.ended && a.writeEarly(w, content) {
		return
	}
	a.writeHead(w, len(content))
	_, _ = w.Write(content) // the client may be gone
	if c.ContentLength != 0 && !c.body.ended {
		flush(w)
		_, _ = io.CopyN(io.Discard, c.body.from, patience) // net/http does not, where the client asked for the connection's end
	}
}

// mark sets the headers that every answer has.
func (a answer) mark(w http.ResponseWriter, c *call) {
	h := w.Header()
	h.Set("Server", "langbottest") // so that nobody takes a recording of it for one of LangBot
	if c.Header.Get("Origin") != "" {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", `""`)
	} else {
		h.Set("Vary", "Origin")
	}
}

// patience is how much of a body the web server reads after it has answered.
const patience = 256 << 10

// writeEarly answers in the middle of a body, and cuts the connection.
func (a answer) writeEarly(w http.ResponseWriter, content []byte) (done bool) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	defer conn.Close()
	head := headOnly{w.Header()}
	a.writeHead(head, len(content))
	_, _ = fmt.Fprintf(out, "HTTP/1.1 %d \r\n", a.status)
	_ = head.Header().Write(out)
	_, _ = out.WriteString("\r\n")
	_, _ = out.Write(content)
	_ = out.Flush()
	time.Sleep(2 * quick) // or the client, which still writes, sees the end of the connection first
	return true
}

// headOnly takes the headers of an answer.
type headOnly struct{ h http.Header }

func (w headOnly) Header() http.Header         { return w.h }
func (w headOnly) Write(b []byte) (int, error) { return len(b), nil }
func (w headOnly) WriteHeader(int)             {}

// writeHead sends all but the content.
func (a answer) writeHead(w http.ResponseWriter, length int) {
	h := w.Header()
	h["Content-Type"] = nil // none, and no guess
	if a.body != nil {
		h.Set("Content-Type", "application/json")
	} else if a.kind != "" {
		h.Set("Content-Type", a.kind)
	}
	if a.ends {
		h.Set("Connection", "close")
	}
	for name, value := range a.header {
		h.Set(name, value)
	}
	h.Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(a.status)
}

func (a answer) content() []byte {
	if a.body == nil {
		return a.raw
	}
	return encode(a.body)
}

// A float is a number that Python writes with a point, whatever its value.
type float float64

func (f float) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if f >= 1e16 || f <= -1e16 {
		return []byte(text), nil
	}
	text = strconv.FormatFloat(float64(f), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

// encode writes JSON in upstream's bytes: keys sorted, non-ASCII escaped, a newline at the end.
func encode(body any) []byte {
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw) // adds the newline
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		panic("langbottest: " + err.Error()) // an answer of our own that is no JSON
	}
	var out bytes.Buffer
	for _, r := range raw.String() {
		switch {
		case r < 0x80:
			out.WriteByte(byte(r))
		case r < 0x10000:
			writeEscape(&out, r)
		default:
			high, low := utf16.EncodeRune(r)
			writeEscape(&out, high)
			writeEscape(&out, low)
		}
	}
	return out.Bytes()
}

func writeEscape(out *bytes.Buffer, r rune) {
	const digits = "0123456789abcdef"
	out.WriteString(`\u`)
	for shift := 12; shift >= 0; shift -= 4 {
		out.WriteByte(digits[r>>shift&15])
	}
}
