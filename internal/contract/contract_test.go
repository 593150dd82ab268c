// Package contract holds what the client promises, as cases that run against the reference server in every test run, and
// against real releases of LangBot on demand:
//
//	go test ./internal/contract -real 4.11.2 -v
package contract

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/lbpkg"
)

// referenceVersion is the release that the reference server answers as.
const referenceVersion = "4.11.2"

var real = flag.String("real", "", "releases of LangBot to run against, separated by commas, each started from the Python index")

// A testCase is one promise. It runs once with an API key and once with a user token, unless it is about neither.
type testCase struct {
	name   string
	by     []string // credentials; nil: key and token
	since  string   // first release it holds for; empty: all
	until  string   // last one
	run    func(*env)
	broken []string // misbehaviours of a server that it must notice
}

const (
	key   = "key"
	token = "token"
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
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) FailNow() { runtime.Goexit() }

// runOn runs one case against a target and returns how it failed.
func (c testCase) runOn(ctx context.Context, target *target, credential string) []string {
	patience := 5 * time.Minute
	if target.patience > 0 {
		patience = target.patience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	e := &env{recorder: &recorder{}, target: target, ctx: ctx, credential: credential,
		id: langbot.PluginID{Author: "contract", Name: c.name + "-" + credential}}
	var wg sync.WaitGroup
	wg.Go(func() { // FailNow ends a goroutine
		defer func() {
			if p := recover(); p != nil {
				e.Errorf("panic: %v", p)
			}
		}()
		e.client = e.connect()
		c.run(e)
	})
	wg.Wait()
	return e.failures
}

// connect returns a client of the target with the case's credential, unless opts bring another.
func (e *env) connect(opts ...langbot.Option) *langbot.Client {
	client, err := langbot.New(e.target.url, append(e.target.options(e.credential), opts...)...)
	require.NoError(e, err)
	return client
}

// pack makes a package of the case's plugin whose code runs body when it is initialized.
func (e *env) pack(version, body string, more ...archives.File) *lbpkg.Package {
	return e.packAs(e.id, version, body, more...)
}

func (e *env) packAs(id langbot.PluginID, version, body string, more ...archives.File) *lbpkg.Package {
	manifest := archives.Manifest(quote(id.Author), quote(id.Name), quote(version))
	files := append([]archives.File{{Name: "manifest.yaml", Content: manifest}, {Name: "main.py", Content: archives.Code(body)}}, more...)
	pkg, err := lbpkg.Parse(archives.Zip(files...))
	require.NoError(e, err)
	return pkg
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

func TestContract(t *testing.T) {
	if *real != "" {
		t.Skip("real releases are asked for")
	}
	for _, c := range cases {
		for _, credential := range c.credentials() {
			require.True(t, c.holds(referenceVersion), c.name)
			t.Run(c.name+"/"+credential, func(t *testing.T) {
				t.Parallel()
				target := reference(t)
				for _, failure := range c.runOn(t.Context(), target, credential) {
					t.Error(failure)
				}
			})
		}
	}
}

// TestReal runs every case against real servers, one release after the other. There is no skipping: a case that does not
// hold for a release says so by its range.
func TestReal(t *testing.T) {
	if *real == "" {
		t.Skip("run with -real VERSION,… to start real servers")
	}
	for version := range strings.SplitSeq(*real, ",") {
		t.Run(version, func(t *testing.T) {
			target := start(t, version)
			info, err := target.client(t, token).System.Info(t.Context())
			require.NoError(t, err)
			require.Equal(t, version, info.Version, "the server that answers is another release")
			ran, outside, started := 0, []string{}, time.Now()
			for _, c := range append(hiddenCases, cases...) {
				if !c.holds(version) {
					outside = append(outside, c.name)
					continue
				}
				for _, credential := range c.credentials() {
					t.Run(c.name+"/"+credential, func(t *testing.T) {
						ran++
						for _, failure := range c.runOn(t.Context(), target, credential) {
							t.Error(failure)
						}
					})
				}
			}
			t.Logf("LangBot %s: %d cases ran, %d do not hold for it %v, %v", version, ran, len(outside), outside, time.Since(started).Round(time.Second))
		})
	}
}

func (c testCase) credentials() []string {
	if c.by == nil {
		return []string{key, token}
	}
	return c.by
}

func (c testCase) holds(version string) bool {
	return (c.since == "" || !older(version, c.since)) && (c.until == "" || !older(c.until, version))
}

func older(a, b string) bool {
	var x, y [3]int
	_, _ = fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2])
	_, _ = fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}
