package langbot_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

var schedules = flag.Int("schedules", 200, "how many random schedules of faults TestEnsureSchedules runs")

// A step is one kind of request that Ensure makes.
type step struct{ name, op string }

var steps = []step{
	{"list", "GET /api/v1/plugins"},
	{"tasks", "GET /api/v1/system/tasks"},
	{"install", langbottest.AnyInstall},
	{"poll", "GET /api/v1/system/tasks/{id}"},
	{"read back", "GET /api/v1/plugins/{author}/{name}"},
	{"read config", "GET /api/v1/plugins/{author}/{name}/config"},
	{"write config", "PUT /api/v1/plugins/{author}/{name}/config"},
}

// A fault is something that happens to a request.
type fault struct {
	name   string
	effect langbottest.Effect
	passes bool // a read gets over it
	sent   bool // so does an installation
}

var allFaults = []fault{
	{"latency", langbottest.Latency(4 * time.Second), true, true},
	{"stall", langbottest.Stall(), true, true},
	{"500", langbottest.Status(http.StatusInternalServerError), true, false},
	{"400", langbottest.Status(http.StatusBadRequest), false, false},
	{"403", langbottest.Status(http.StatusForbidden), false, false},
	{"429 with a hint", langbottest.Busy(2 * time.Second), true, true},
	{"429", langbottest.Busy(0), true, true},
	{"answer of another", langbottest.Respond(http.StatusOK, map[string]any{"code": 0, "msg": "ok", "data": map[string]any{}}), false, false},
	{"502 page", langbottest.Page(http.StatusBadGateway), true, true},
	{"200 page", langbottest.Page(http.StatusOK), false, false},
	{"malformed", langbottest.Malformed(), false, false},
	{"reset", langbottest.Reset(), true, true},
	{"answer lost", langbottest.LoseAnswer(), true, true},
	{"truncated", langbottest.Truncate(10), true, true},
	{"drip", langbottest.Drip(50 * time.Millisecond), true, true},
}

// A strike is a fault at a step.
type strike struct{ Step, Fault, Nth int }

func (s strike) String() string {
	return fmt.Sprintf("%s at the %d. %s", allFaults[s.Fault].name, s.Nth, steps[s.Step].name)
}

// A schedule is a state to begin with, and what happens on the way to the plugin in version 1.1.0 with {"wanted": true}.
type schedule struct {
	Version, Credential string
	Before              string // the version that runs; empty: none
	Takes               time.Duration
	End                 int // of installations
	Restart             time.Duration
	Strikes             []strike
}

var scheduleEnds = []langbottest.End{langbottest.Succeed, langbottest.FailToStart, langbottest.Fail("no"), langbottest.SucceedWithoutEffect, langbottest.Cancelled}

func drawSchedule(t *rapid.T) schedule {
	strikes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) strike {
		return strike{rapid.IntRange(0, len(steps)-1).Draw(t, "step"), rapid.IntRange(0, len(allFaults)-1).Draw(t, "fault"), rapid.IntRange(1, 3).Draw(t, "nth")}
	}), 0, 4)
	return schedule{
		Version:    rapid.SampledFrom([]string{"4.6.0", "4.9.4", "4.10.0", "4.10.6", "4.10.8", "4.10.9", "4.10.11", "4.11.0", "4.11.2"}).Draw(t, "version"),
		Credential: rapid.SampledFrom([]string{"token", "token", "key"}).Draw(t, "credential"),
		Before:     rapid.SampledFrom([]string{"", "", "1.0.0", "1.1.0", "2.0.0"}).Draw(t, "before"),
		Takes:      time.Duration(rapid.IntRange(0, 20).Draw(t, "takes")) * time.Second,
		End:        rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2, 3, 4}).Draw(t, "end"),
		Restart:    time.Duration(rapid.SampledFrom([]int{0, 0, 0, 5, 12, 20}).Draw(t, "restart")) * time.Second,
		Strikes:    strikes.Draw(t, "strikes"),
	}
}

// hidden reports whether the credential sees no tasks.
func (s schedule) hidden() bool {
	return s.Credential == "key" && slices.Index(releases, s.Version) < slices.Index(releases, "4.10.11")
}

// benign reports whether nothing happens that Ensure does not get over.
func (s schedule) benign() bool {
	return s.End == 0 && s.Restart == 0 && !s.hidden() && !slices.ContainsFunc(s.Strikes, func(k strike) bool {
		f := allFaults[k.Fault]
		if op := steps[k.Step].name; op == "install" || op == "write config" {
			return !f.sent
		}
		return !f.passes
	})
}

// play runs the schedule, returns which of its strikes fired, and what is not as it must be.
func (s schedule) play(t *testing.T) (fired []strike, wrong error) {
	note := func(format string, args ...any) {
		if wrong == nil {
			wrong = fmt.Errorf(format, args...)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var srv *langbottest.Server
		right := func() bool {
			return slices.Contains(srv.Plugins(), langbottest.Plugin{ID: demo.String(), Version: "1.1.0", Running: true})
		}
		installs, wasRight := 0, false
		srv = langbottest.New(t, langbottest.Version(s.Version), langbottest.InMemory(), langbottest.Observe(func(c langbottest.Call) {
			if c.Op != langbottest.AnyInstall+"local" {
				wasRight = wasRight || srv != nil && right()
				return
			}
			if c.Status >= 400 && c.Status < 500 {
				return // refused, and that was told
			}
			if installs++; wasRight {
				note("installed once more, though it was there")
			}
			running := slices.DeleteFunc(srv.Tasks(), func(t langbottest.Task) bool { return t.State != "running" })
			if len(running) > 1 {
				note("two installations at a time: %+v", running)
			}
		}))
		with := langbot.WithUserToken(srv.UserToken)
		if s.Credential == "key" {
			with = langbot.WithAPIKey(srv.APIKey)
		}
		client, err := langbot.New(srv.URL, with, langbot.WithHTTPClient(srv.Client()))
		require.NoError(t, err)
		if s.Before != "" {
			srv.AddPlugin(langbottest.Archive("acme", "demo", s.Before))
			require.NoError(t, client.Plugins.SetConfig(t.Context(), demo, map[string]any{"kept": 1}))
			_, err := client.Plugins.WaitReady(t.Context(), demo, "")
			require.NoError(t, err)
		}
		if wasRight = right(); s.Restart > 0 {
			time.AfterFunc(s.Restart, srv.Restart)
		}
		srv.On(langbottest.AnyInstall, langbottest.Script{End: scheduleEnds[s.End], Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: s.Takes}}})
		for _, k := range s.Strikes {
			srv.Fault(steps[k.Step].op, allFaults[k.Fault].effect, langbottest.Nth(k.Nth))
		}
		pkg, err := lbpkg.Parse(langbottest.Archive("acme", "demo", "1.1.0"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done, err := client.Plugins.Ensure(ctx, langbot.Spec{Package: pkg, Config: map[string]any{"wanted": true}})
		fired = s.fired(srv.ClearFaults())

		switch {
		case ctx.Err() != nil:
			note("it did not end")
		case err != nil && !strings.Contains(err.Error(), "ensuring acme/demo"):
			note("an error that says nothing: %w", err)
		case err != nil && s.benign():
			note("it did not get over it: %w", err)
		case err == nil && (!right() || done.Plugin.Version != "1.1.0" || done.Plugin.Status != langbot.PluginInitialized):
			note("it was said to be right, and is not: %+v, %+v", done, srv.Plugins())
		case len(srv.Calls(opDelete)) > 0:
			note("something was removed")
		case s.hidden() && installs > 1:
			note("sent again, and nobody could see what became of the first")
		}
		s.judgeConfig(t, srv, client, err, note)
	})
	return fired, wrong
}

// fired are the strikes that are not among those that never happened.
func (s schedule) fired(missed []string) (fired []strike) {
	for i, k := range s.Strikes {
		same := func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("%q never happened", steps[k.Step].op))
		}
		if !slices.ContainsFunc(missed, same) && !slices.Contains(s.Strikes[:i], k) {
			fired = append(fired, k)
		}
	}
	return fired
}

// judgeConfig wants no key lost, and the wanted one there if that was said.
func (s schedule) judgeConfig(t *testing.T, srv *langbottest.Server, client *langbot.Client, ended error, note func(string, ...any)) {
	time.Sleep(time.Minute) // what may still be under way
	config, err := client.Plugins.Config(t.Context(), demo)
	if errors.Is(err, langbot.ErrNotFound) && ended != nil {
		return
	}
	if err != nil {
		note("the config cannot be read: %w", err)
	}
	if s.Before != "" && fmt.Sprint(config["kept"]) != "1" {
		note("a key of the config was lost: %v", config)
	}
	if ended == nil && config["wanted"] != true {
		note("the config was said to be right, and is %v", config)
	}
}

// TestEnsureSchedules: whatever goes wrong on the way, the plugin is right afterwards or the error says what is not.
func TestEnsureSchedules(t *testing.T) {
	count := map[[2]int]int{}
	for i := range steps {
		for j := range allFaults {
			s := schedule{Version: "4.11.2", Credential: "token", Takes: 15 * time.Second, Strikes: []strike{{i, j, 1}}}
			fired, err := s.play(t)
			require.NoError(t, err, "%v", s)
			for range fired {
				count[[2]int{i, j}]++
			}
		}
	}
	setRapid(t, *schedules)
	rapid.Check(t, func(rt *rapid.T) {
		s := drawSchedule(rt)
		fired, err := s.play(t)
		if err != nil {
			rt.Fatalf("%v\n%+v", err, s)
		}
		for _, k := range fired {
			count[[2]int{k.Step, k.Fault}]++
		}
	})
	logMatrix(t, count)
}

// setRapid sets for the test how many checks are made, and keeps failures out of the tree.
func setRapid(t *testing.T, checks int) {
	for name, value := range map[string]string{"rapid.checks": fmt.Sprint(checks), "rapid.nofailfile": "true"} {
		before := flag.Lookup(name).Value.String()
		require.NoError(t, flag.Set(name, value))
		t.Cleanup(func() { require.NoError(t, flag.Set(name, before)) })
	}
}

// logMatrix shows how often which fault happened at which step, and wants each once.
func logMatrix(t *testing.T, count map[[2]int]int) {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, s := range steps {
		fmt.Fprint(table, "\t", s.name)
	}
	fmt.Fprintln(table, "\t")
	for j, f := range allFaults {
		fmt.Fprint(table, f.name)
		for i := range steps {
			fmt.Fprint(table, "\t", count[[2]int{i, j}])
			require.NotZero(t, count[[2]int{i, j}], "%s at %s never happened", f.name, steps[i].name)
		}
		fmt.Fprintln(table, "\t")
	}
	require.NoError(t, table.Flush())
	t.Log("\n" + out.String())
}

// TestEnsureMutants: the schedules notice it when Ensure does not look before it acts again.
func TestEnsureMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package again")
	}
	for name, change := range map[string]struct{ file, old, new string }{
		"does not look before it acts again": {"ensure.go", "p, err := e.settled(ctx)\n\t\tif err != nil {",
			"p, err := e.result.Plugin, error(nil)\n\t\tif e.tries == 0 {\n\t\t\tp, err = e.settled(ctx)\n\t\t}\n\t\tif err != nil {"},
		"does not wait for what is running": {"look.go", "if !t.State.final() {", "if false && !t.State.final() {"},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(change.file)
			require.NoError(t, err)
			require.Contains(t, string(source), change.old)
			dir := t.TempDir()
			mutant, overlay := filepath.Join(dir, change.file), filepath.Join(dir, "overlay.json")
			require.NoError(t, os.WriteFile(mutant, []byte(strings.Replace(string(source), change.old, change.new, 1)), 0o600))
			original, err := filepath.Abs(change.file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace":{%q:%q}}`, original, mutant), 0o600))
			out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run", "^TestEnsureSchedules$", "-schedules", "200", ".").CombinedOutput()
			require.Error(t, err, "it passed")
			require.Contains(t, string(out), "--- FAIL: TestEnsureSchedules", "it did not compile")
		})
	}
}

// TestEnsureCrowd: several processes want the same at once. The flights of this process are told apart by the server's
// address, so every caller here has another one for the same server, as if it were alone.
func TestEnsureCrowd(t *testing.T) {
	setRapid(t, *schedules/4)
	rapid.Check(t, func(rt *rapid.T) {
		version := rapid.SampledFrom([]string{"4.9.4", "4.10.6", "4.10.8", "4.10.11", "4.11.2"}).Draw(rt, "version")
		before := rapid.SampledFrom([]string{"", "1.0.0", "1.1.0"}).Draw(rt, "before")
		takes := rapid.IntRange(0, 30).Draw(rt, "takes")
		delays := rapid.SliceOfN(rapid.IntRange(0, 40), 2, 5).Draw(rt, "delays")
		if err := crowd(t, version, before, time.Duration(takes)*time.Second, delays); err != nil {
			rt.Fatal(err)
		}
	})
}

// crowd has a caller for each delay, in seconds, ensure version 1.1.0 with a config.
func crowd(t *testing.T, version, before string, takes time.Duration, delays []int) (wrong error) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.Version(version), langbottest.InMemory())
		srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: takes}}})
		srv.On("PUT /api/v1/plugins/{author}/{name}/config", langbottest.Script{Steps: []langbottest.Step{{For: 3 * time.Second}}})
		if before != "" {
			srv.AddPlugin(langbottest.Archive("acme", "demo", before))
		}
		pkg, err := lbpkg.Parse(langbottest.Archive("acme", "demo", "1.1.0"))
		require.NoError(t, err)
		errs := make([]error, len(delays))
		var all sync.WaitGroup
		for i, delay := range delays {
			client, err := langbot.New(fmt.Sprintf("http://process-%d.test", i), langbot.WithUserToken(srv.UserToken), langbot.WithHTTPClient(srv.Client()))
			require.NoError(t, err)
			all.Go(func() {
				time.Sleep(time.Duration(delay) * time.Second)
				_, errs[i] = client.Plugins.Ensure(t.Context(), langbot.Spec{Package: pkg, Config: map[string]any{"wanted": true}})
			})
		}
		all.Wait()
		if wrong = errors.Join(errs...); wrong != nil {
			return
		}
		time.Sleep(time.Minute)
		if want := (langbottest.Plugin{ID: demo.String(), Version: "1.1.0", Running: true}); !slices.Contains(srv.Plugins(), want) {
			wrong = fmt.Errorf("it does not run: %+v", srv.Plugins())
		}
		if before == "1.1.0" && len(srv.Calls(langbottest.AnyInstall)) > 0 {
			wrong = errors.New("installed, though it was there")
		}
	})
	return wrong
}
