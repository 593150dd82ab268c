package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/langbot-go/langbot/langbottest"
)

// description is the admin API in OpenAPI. A test holds it against the routes.
//
//go:embed openapi.json
var description []byte

const adminPath = "/__mock/v1/"

// adminAPI serves what tests ask of the server beside LangBot's own API. Every answer is JSON; what is refused has an
// "error".
func adminAPI(srv *langbottest.Server) http.Handler {
	mux := http.NewServeMux()
	for name, act := range actions {
		mux.HandleFunc("POST "+adminPath+name, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
			if err != nil {
				answer(w, http.StatusRequestEntityTooLarge, failure(err))
				return
			}
			if len(body) == 0 {
				body = []byte("{}")
			}
			done, err := act(srv, body)
			switch {
			case err != nil:
				answer(w, http.StatusBadRequest, failure(err))
			case done == nil:
				answer(w, http.StatusOK, struct{}{})
			default:
				answer(w, http.StatusOK, done)
			}
		})
	}
	mux.HandleFunc("GET "+adminPath+"profile", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, profile(srv)) })
	mux.HandleFunc("GET "+adminPath+"state", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, state(srv)) })
	mux.HandleFunc("GET "+adminPath+"journal", func(w http.ResponseWriter, r *http.Request) { journal(srv, w, r) })
	mux.HandleFunc("GET "+adminPath+"openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description) // the client may be gone
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, failure(fmt.Errorf("no route %s %s; GET %sopenapi.json lists them", r.Method, r.URL.Path, adminPath)))
	})
	return mux
}

func failure(err error) map[string]string { return map[string]string{"error": err.Error()} }

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// profile is the table of differences.
func profile(srv *langbottest.Server) any {
	type row struct {
		Name  string `json:"name"`
		First string `json:"first,omitempty"`
		Last  string `json:"last,omitempty"`
		What  string `json:"what"`
		Holds bool   `json:"holds"`
	}
	rows := []row{}
	for _, d := range srv.Profile() {
		rows = append(rows, row(d))
	}
	return map[string]any{"differences": rows}
}

// state is what the server has, and does.
func state(srv *langbottest.Server) any {
	plugins, tasks := []any{}, []any{}
	for _, p := range srv.Plugins() {
		plugins = append(plugins, map[string]any{"id": p.ID, "version": p.Version, "running": p.Running})
	}
	for _, t := range srv.Tasks() {
		tasks = append(tasks, map[string]any{"id": t.ID, "op": t.Op, "plugin": t.Plugin, "action": t.Action, "state": t.State, "exception": t.Exception})
	}
	return map[string]any{"plugins": plugins, "tasks": tasks}
}

// journal are the requests of an operation, or all. If some were dropped it says so instead of forgetting them.
func journal(srv *langbottest.Server, w http.ResponseWriter, r *http.Request) {
	defer func() {
		if why := recover(); why != nil {
			answer(w, http.StatusConflict, map[string]string{"error": fmt.Sprint(why)})
		}
	}()
	calls := []any{}
	for _, c := range srv.Calls(r.URL.Query().Get("op")) {
		calls = append(calls, map[string]any{"seq": c.Seq, "op": c.Op, "method": c.Method, "path": c.Path, "query": c.Query, "by": c.By, "status": c.Status,
			"time": c.Time, "bytes": c.Bytes, "digest": c.Digest, "body": c.Body})
	}
	answer(w, http.StatusOK, map[string]any{"calls": calls})
}
