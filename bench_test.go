package langbot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/langbot-go/langbot"
)

// plugin148 is a plugin as LangBot 4.11.2 lists it, of about 1.5 KB.
const plugin148 = `{"components":[{"component_config":{},"component_instance":null,"manifest":{"manifest":{"apiVersion":"v1","execution":{"python":{"attr":"Echo","path":"echo.py"}},"kind":"Tool","metadata":{"description":{"en_US":"Echoes text"},"label":{"en_US":"Echo"},"name":"echo"},"spec":{"llm_prompt":"Echo text","parameters":{"properties":{"text":{"type":"string"}},"required":["text"],"type":"object"}}},"owner":"acme/demo","rel_path":"components/tools/echo.yaml"}}],"debug":false,"enabled":true,"install_info":{"_artifact_storage":"tenant_binary_storage_v1","plugin_author":"acme","plugin_name":"demo%[1]d","plugin_version":"0.1.0"},"install_source":"marketplace","manifest":{"manifest":{"apiVersion":"v1","execution":{"python":{"attr":"Demo","path":"main.py"}},"kind":"Plugin","metadata":{"author":"acme","description":{"en_US":"Demo plugin","zh_Hans":"\u6f14\u793a"},"icon":"assets/icon.svg","label":{"en_US":"Demo","zh_Hans":"\u6f14\u793a"},"name":"demo%[1]d","repository":"https://example.invalid/acme/demo","version":"0.1.0"},"spec":{"components":{"Tool":{"fromDirs":[{"maxDepth":1,"path":"components/tools/"}]}},"config":[{"default":"","label":{"en_US":"API key"},"name":"api_key","required":false,"type":"string"}],"pages":[]}},"owner":"builtin","rel_path":"manifest.yaml"},"plugin_config":{},"plugin_instance":null,"priority":0,"status":"initialized"}`

// byHand is what somebody would decode a list into.
type byHand struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
	Data struct {
		Plugins []struct {
			Status        string          `json:"status"`
			Debug         bool            `json:"debug"`
			InstallSource string          `json:"install_source"`
			InstallInfo   json.RawMessage `json:"install_info"`
			Components    []struct {
				Manifest struct {
					Manifest struct {
						Kind     string `json:"kind"`
						Metadata struct {
							Name string `json:"name"`
						} `json:"metadata"`
					} `json:"manifest"`
				} `json:"manifest"`
			} `json:"components"`
			Manifest struct {
				Manifest struct {
					Kind     string `json:"kind"`
					Metadata struct {
						Author      string            `json:"author"`
						Name        string            `json:"name"`
						Version     string            `json:"version"`
						Label       map[string]string `json:"label"`
						Description map[string]string `json:"description"`
					} `json:"metadata"`
					Spec      json.RawMessage `json:"spec"`
					Execution json.RawMessage `json:"execution"`
				} `json:"manifest"`
			} `json:"manifest"`
		} `json:"plugins"`
	} `json:"data"`
}

// BenchmarkList pairs List with net/http, io.ReadAll and encoding/json, in turn, and reports the ratios:
//
//	go test -run '^$' -bench List .
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			plugins := make([]string, n)
			for i := range plugins {
				plugins[i] = fmt.Sprintf(plugin148, i)
			}
			body := `{"code":0,"data":{"plugins":[` + strings.Join(plugins, ",") + `]},"msg":"ok"}` + "\n"
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				writeJSON(w, 200, body)
			}))
			defer srv.Close()
			client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken))
			if err != nil {
				b.Fatal(err)
			}
			defer client.CloseIdleConnections()
			plain := &http.Client{Transport: langbot.NewTransport()}
			defer plain.CloseIdleConnections()
			ours := func() {
				if got, err := client.Plugins.List(context.Background()); err != nil || len(got) != n {
					b.Fatal(err, len(got))
				}
			}
			theirs := func() {
				resp, err := plain.Get(srv.URL + "/api/v1/plugins")
				if err != nil {
					b.Fatal(err)
				}
				data, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				var e byHand
				if err := json.Unmarshal(data, &e); err != nil || len(e.Data.Plugins) != n {
					b.Fatal(err)
				}
			}
			report(b, ours, theirs)
		})
	}
}

// BenchmarkUpload pairs InstallLocal of 8 MiB with a PUT of the same reader by net/http:
//
//	go test -run '^$' -bench Upload .
func BenchmarkUpload(b *testing.B) {
	const size = 8 << 20
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		writeJSON(w, 200, `{"code":0,"data":{"task_id":1}}`)
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken))
	if err != nil {
		b.Fatal(err)
	}
	defer client.CloseIdleConnections()
	plain := &http.Client{Transport: langbot.NewTransport()}
	defer plain.CloseIdleConnections()
	data := make([]byte, size)
	report(b, func() {
		if _, err := client.Plugins.InstallLocal(context.Background(), memory{id: demo, data: data}); err != nil {
			b.Fatal(err)
		}
	}, func() {
		plainReader := struct{ io.Reader }{bytes.NewReader(data)} // as a file is: without a short cut of its own
		req, err := http.NewRequest("PUT", srv.URL, io.NopCloser(plainReader))
		if err != nil {
			b.Fatal(err)
		}
		req.ContentLength = size
		resp, err := plain.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	})
}

// report runs two ways of doing a thing in turn, and reports the ratio of their times and of the bytes they allocate.
func report(b *testing.B, ours, theirs func()) {
	var spent [2]time.Duration
	var allocated [2]uint64
	for b.Loop() {
		for i, f := range []func(){ours, theirs} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			f()
			spent[i] += time.Since(began)
			runtime.ReadMemStats(&after)
			allocated[i] += after.TotalAlloc - before.TotalAlloc
		}
	}
	b.ReportMetric(float64(spent[0])/float64(spent[1]), "time-ratio")
	b.ReportMetric(float64(allocated[0])/float64(allocated[1]), "bytes-ratio")
	b.ReportMetric(0, "ns/op")
}
