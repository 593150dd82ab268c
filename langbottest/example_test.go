package langbottest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// A service under test: it installs a plugin when it is told to, and shows how that goes.
func service(client *langbot.Client, pkg langbot.Package) http.Handler {
	var installation atomic.Pointer[langbot.Operation]
	mux := http.NewServeMux()
	mux.HandleFunc("POST /install", func(w http.ResponseWriter, r *http.Request) {
		op, err := client.Plugins.InstallLocal(r.Context(), pkg)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		installation.Store(op)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		op := installation.Load()
		if op == nil {
			http.NotFound(w, r)
			return
		}
		task, err := op.Poll(r.Context())
		fmt.Fprintln(w, task.State, task.Action, task.Message, err)
	})
	return mux
}

// The test of a service: its installation hangs at a step, which the service shows; then the test lets it go on, to its
// failure, and the service shows that.
func Example() {
	srv, err := langbottest.Start() // in a test: srv := langbottest.New(t)
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	srv.On(langbottest.AnyInstall, langbottest.Script{
		Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, Hold: true}},
		End:   langbottest.Fail("no space left on device"),
	})
	client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken))
	if err != nil {
		panic(err)
	}
	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "hello", "1.0.0"))
	if err != nil {
		panic(err)
	}
	app := service(client, pkg)
	show := func(method, path string) {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), method, path, nil))
		fmt.Print(w.Body.String())
	}

	show("POST", "/install")
	show("GET", "/status")
	srv.Release(langbottest.AnyInstall)
	show("GET", "/status")
	fmt.Println(len(srv.Calls(langbottest.AnyInstall)), "installation was asked for")
	// Output:
	// running waiting for plugin initialization  <nil>
	// failed waiting for plugin initialization no space left on device <nil>
	// 1 installation was asked for
}
