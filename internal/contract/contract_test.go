// Package contract holds what the client promises, as cases that run against the reference server in every test run, and
// against real releases of LangBot on demand:
//
//	go test ./internal/contract -run TestReal -real 4.11.2 -v -timeout 1h
//
// What a case wants of a release comes from a recording or from a run of it, never from the reference server.
package contract

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/internal/lab"
	"github.com/langbot-go/langbot/internal/race"
	"github.com/langbot-go/langbot/lbpkg"
)

var (
	real = flag.String("real", "", "releases of LangBot to run against, separated by commas, each started from the Python index")
	only = flag.String("only", "", "the names of the cases to run against real releases, separated by commas; empty: all")
)

// A testCase is one promise. It runs once with an API key and once with a user token, unless it is about one of them.
type testCase struct {
	name   string
	what   string   // it is, to a user
	on     server   // which of a release's servers it runs on
	by     []string // credentials; nil: key and token
	since  string   // first release that offers it; empty: all do
	until  string   // last one; empty: the newest
	keys   string   // first release that offers it to API keys, if that is another
	run    func(*env)
	lacks  func(*env) // what the client promises where a release does not offer it; needed with since, until or keys
	broken []string   // misbehaviours of a server that it must notice
}

const (
	key   = "key"
	token = "token"
)

// tasksByKey is the first release that shows its tasks to API keys.
const tasksByKey = "4.10.11"

// A server is one of those that are started of each release.
type server string

const (
	usual   server = "usual"   // the zero value stands for it too: with a marketplace and a GitHub, and left in order
	strict  server = "strict"  // takes one extension, and its user tokens last seconds
	managed server = "managed" // has plugins managed, while the others do their part
	fragile server = "fragile" // is killed and cut off
)

// env is what a case works with.
type env struct {
	*recorder
	target     *target
	ctx        context.Context
	credential string
	client     *langbot.Client
	id         langbot.PluginID // of the case's own plugin
}

// A recorder is the T of a case. It collects failures instead of failing the test, so that the suite itself can be tested.
type recorder struct {
	mu       sync.Mutex
	failures []string
	notes    []string // what a user must know of how the promise is kept
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) FailNow() { runtime.Goexit() }

// note tells the users of a release how it keeps the promise otherwise than the newest one.
func (r *recorder) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

// runOn runs one case against a target and returns how that went.
func (c testCase) runOn(ctx context.Context, target *target, credential string) *recorder {
	patience := 6 * time.Minute
	if target.patience > 0 {
		patience = target.patience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	e := &env{recorder: &recorder{}, target: target, ctx: ctx, credential: credential,
		id: langbot.PluginID{Author: "contract", Name: c.name + "-" + credential}}
	run := c.run
	if !c.offered(target.version, credential) {
		run = c.lacks
	}
	var wg sync.WaitGroup
	wg.Go(func() { // FailNow ends a goroutine
		defer func() {
			if p := recover(); p != nil {
				e.Errorf("panic: %v", p)
			}
		}()
		e.client = e.connect()
		run(e)
	})
	wg.Wait()
	return e.recorder
}

// connect returns a client of the target with the case's credential, unless opts bring another.
func (e *env) connect(opts ...langbot.Option) *langbot.Client {
	client, err := langbot.New(e.target.url, append(e.target.options(e.credential), opts...)...)
	require.NoError(e, err)
	return client
}

// asUser returns a client of a user, to whom every release shows its tasks.
func (e *env) asUser() *langbot.Client {
	return e.connect(langbot.WithLogin(email, password)) // tokens may last seconds
}

// clean removes what the case has left behind, if it can be removed, where that is in the way of later cases.
func (e *env) clean() {
	op, err := e.asUser().Plugins.Delete(e.ctx, e.id, langbot.DeleteOptions{})
	require.NoError(e, err)
	_, _ = op.Wait(e.ctx) // there may be nothing
}

// since reports whether the target is as new as a release.
func (e *env) since(release string) bool { return !lab.Older(e.target.version, release) }

// hidden reports whether the target hides its tasks from the case's credential.
func (e *env) hidden() bool { return e.credential == key && !e.since(tasksByKey) }

// pack makes a package of the case's plugin whose code runs body when it is initialized.
func (e *env) pack(version, body string, more ...archives.File) *lbpkg.Package {
	return e.packAs(e.id, version, body, more...)
}

func (e *env) packAs(id langbot.PluginID, version, body string, more ...archives.File) *lbpkg.Package {
	pkg, err := lbpkg.Parse(packed(id, version, body, more...))
	require.NoError(e, err)
	return pkg
}

// packed is an archive of a plugin.
func packed(id langbot.PluginID, version, body string, more ...archives.File) []byte {
	manifest := archives.Manifest(quote(id.Author), quote(id.Name), quote(version))
	return archives.Zip(append([]archives.File{{Name: "manifest.yaml", Content: manifest}, {Name: "main.py", Content: archives.Code(body)}}, more...)...)
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// install installs a package and waits for it.
func (e *env) install(pkg langbot.Package) langbot.Outcome {
	op, err := e.client.Plugins.InstallLocal(e.ctx, pkg)
	require.NoError(e, err)
	done, err := op.Wait(e.ctx)
	require.NoError(e, err)
	return done
}

// failed waits for an operation that has to fail, and returns its task.
func (e *env) failed(op *langbot.Operation) langbot.Task {
	_, err := op.Wait(e.ctx)
	var failed *langbot.TaskError
	require.ErrorAs(e, err, &failed)
	return failed.Task
}

// hiddenAtOnce wants Wait to say at once that there is nothing to see, and a user to see the end of the operation all the
// same: the next case may read plugins, which hangs some releases for good while a removal runs.
func (e *env) hiddenAtOnce(op *langbot.Operation) langbot.Task {
	began := time.Now()
	_, err := op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrTasksHidden)
	require.Less(e, time.Since(began), 400*time.Millisecond, "that is before the second look at anything")
	return e.end(op)
}

// end is the end of an operation, as a user sees it.
func (e *env) end(op *langbot.Operation) langbot.Task {
	resumed, err := e.asUser().Tasks.Resume(op.Token())
	require.NoError(e, err)
	return e.follow(resumed)
}

// follow is the end of an operation, as its own client sees it.
func (e *env) follow(op *langbot.Operation) langbot.Task {
	var last langbot.Task
	for task, err := range op.Events(e.ctx) {
		require.NoError(e, err)
		last = task
	}
	require.Contains(e, []langbot.TaskState{langbot.TaskSucceeded, langbot.TaskFailed}, last.State)
	return last
}

// hiddenFor wants Wait to give up without a verdict once its patience is over. The patience outlasts every failure.
func (e *env) hiddenFor(patience time.Duration, start func(*langbot.Client) (*langbot.Operation, error)) {
	op, err := start(e.connect(e.polling(langbot.Polling{Hidden: patience})))
	require.NoError(e, err)
	began := time.Now()
	_, err = op.Wait(e.ctx)
	require.ErrorIs(e, err, langbot.ErrTasksHidden, "neither success nor failure can be told")
	require.GreaterOrEqual(e, time.Since(began), e.scaled(patience))
	var failed *langbot.TaskError
	require.NotErrorAs(e, err, &failed)
}

func TestContract(t *testing.T) {
	if *real != "" {
		t.Skip("real releases are asked for")
	}
	versions := releases(t)
	if race.Enabled {
		versions = []string{"4.10.6", "4.11.2"} // what could race is the same in all of them
	}
	for _, version := range versions {
		for _, c := range cases {
			for _, credential := range c.credentials() {
				t.Run(version+"/"+c.name+"/"+credential, func(t *testing.T) {
					t.Parallel()
					for _, failure := range c.runOn(t.Context(), reference(t, version, c.on), credential).failures {
						t.Error(failure)
					}
				})
			}
		}
	}
}

// releases are those that are run and recorded.
func releases(t *testing.T) []string {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	return strings.Split(regexp.MustCompile(`(?m)^RELEASES = (.*)$`).FindStringSubmatch(string(makefile))[1], ",")
}

// TestMain has many cases run at a time: they wait more than they work.
func TestMain(m *testing.M) {
	flag.Parse()
	many := 48 * runtime.NumCPU()
	if race.Enabled {
		many = 12 * runtime.NumCPU()
	}
	if err := flag.Set("test.parallel", strconv.Itoa(many)); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestReal runs every case against real servers, one release after the other. There is no skipping: where a release does
// not offer something, what the client makes of that is the case.
func TestReal(t *testing.T) {
	if *real == "" {
		t.Skip("run with -real VERSION,… to start real servers")
	}
	for name := range strings.SplitSeq(*only, ",") {
		require.True(t, name == "" || slices.ContainsFunc(cases, func(c testCase) bool { return c.name == name }), "there is no case %q", name)
	}
	for version := range strings.SplitSeq(*real, ",") {
		t.Run(version, func(t *testing.T) {
			began := time.Now()
			tally := &tally{cells: map[string]int{}}
			t.Run("servers", func(t *testing.T) {
				for _, on := range []server{usual, managed, strict, fragile} {
					t.Run(string(on), func(t *testing.T) {
						t.Parallel()
						runAll(t, version, on, tally)
					})
				}
			})
			t.Logf("LangBot %s: %d cases ran, %v, %v", version, tally.ran, tally.cells, time.Since(began).Round(time.Second))
		})
	}
}

// A tally counts what the cases of a release ended in.
type tally struct {
	mu    sync.Mutex
	ran   int
	cells map[string]int
}

// runAll runs the cases that belong on one server of a release.
func runAll(t *testing.T, version string, on server, tally *tally) {
	belong := slices.DeleteFunc(slices.Clone(cases), func(c testCase) bool { return !c.belongs(on) })
	if len(belong) == 0 {
		return
	}
	target := start(t, version, on)
	info, err := target.client(t, token).System.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, version, info.Version, "the server that answers is another release")
	for _, c := range belong {
		for _, credential := range c.credentials() {
			t.Run(c.name+"/"+credential, func(t *testing.T) {
				target.renew(t)
				r := c.runOn(t.Context(), target, credential)
				for _, failure := range r.failures {
					t.Error(failure)
				}
				if t.Failed() {
					t.Log(target.lab.Tail())
				}
				tally.report(t, c, credential, target, r)
			})
		}
	}
}

// A cell is one place in the table of compatibility, as it is printed for the program that makes the table.
type cell struct {
	Index   int      `json:"index"` // of the case
	Case    string   `json:"case"`
	What    string   `json:"what"`
	By      string   `json:"by"`
	Release string   `json:"release"`
	Result  string   `json:"result"` // "works"; "lacks": the release does not offer it; "fails"
	Notes   []string `json:"notes,omitempty"`
}

func (x *tally) report(t *testing.T, c testCase, credential string, target *target, r *recorder) {
	index := slices.IndexFunc(cases, func(x testCase) bool { return x.name == c.name })
	result := cell{Index: index, Case: c.name, What: c.what, By: credential, Release: target.version, Result: "works", Notes: r.notes}
	switch {
	case len(r.failures) > 0:
		result.Result = "fails"
	case !c.offered(target.version, credential):
		result.Result = "lacks"
	}
	line, err := json.Marshal(result)
	require.NoError(t, err)
	t.Logf("compatibility: %s", line)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ran++
	x.cells[result.Result]++
}

func (c testCase) belongs(on server) bool {
	if *only != "" && !slices.Contains(strings.Split(*only, ","), c.name) {
		return false
	}
	return c.on == on || c.on == "" && on == usual
}

func (c testCase) credentials() []string {
	if c.by == nil {
		return []string{key, token}
	}
	return c.by
}

func (c testCase) offered(version, credential string) bool {
	since := c.since
	if credential == key && c.keys != "" {
		since = c.keys
	}
	return (since == "" || !lab.Older(version, since)) && (c.until == "" || !lab.Older(c.until, version))
}

// TestCases wants every case to be complete.
func TestCases(t *testing.T) {
	names := map[string]bool{}
	for _, c := range cases {
		require.NotEmpty(t, c.what, c.name)
		require.False(t, names[c.name], c.name)
		names[c.name] = true
		require.Equal(t, c.since != "" || c.until != "" || c.keys != "", c.lacks != nil, "%s: where it is not offered, what then?", c.name)
	}
	require.NotEmpty(t, slices.Collect(maps.Keys(names)))
}
