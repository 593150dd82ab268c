package langbottest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/langbot-go/langbot/langbottest"
)

// A move is one thing that a test, or a client, does to a server.
type move struct {
	Kind string
	Name string        // of a plugin
	End  int           // of a script
	For  time.Duration // to wait, or of a step
}

var ends = []langbottest.End{langbottest.Succeed, langbottest.Fail("no"), langbottest.FailToStart, langbottest.Hang,
	langbottest.SucceedWithoutEffect, langbottest.Cancelled, langbottest.Vanish}

// moves are up to sixty of them.
func moves() *rapid.Generator[[]move] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) move {
		return move{
			Kind: rapid.SampledFrom([]string{"install", "install", "remove", "upgrade", "config", "script", "wait", "wait", "release", "down", "up", "restart"}).Draw(t, "kind"),
			Name: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "name"),
			End:  rapid.IntRange(0, len(ends)-1).Draw(t, "end"),
			For:  time.Duration(rapid.IntRange(0, 200).Draw(t, "for")) * time.Millisecond,
		}
	}), 1, 60)
}

// make a move.
func (m move) make(t *testing.T, srv *langbottest.Server) {
	path := "/api/v1/plugins/acme/" + m.Name
	switch m.Kind {
	case "install":
		upload(t, srv, srv.APIKey, "file", "x", langbottest.Archive("acme", m.Name, fmt.Sprint(m.End)))
	case "remove":
		ask(t, srv, "DELETE", path, srv.APIKey, "", nil)
	case "upgrade":
		ask(t, srv, "POST", path+"/upgrade", srv.APIKey, "", nil)
	case "config":
		ask(t, srv, "PUT", path+"/config", srv.APIKey, "application/json", []byte(`{"n":1}`))
	case "script":
		srv.On(langbottest.AnyInstall, langbottest.Script{End: ends[m.End], Steps: []langbottest.Step{
			{Action: "storing plugin package", Percent: 10, Polls: m.End}, {Action: "waiting for plugin initialization", Percent: 84, For: m.For, Hold: m.End == 1}}})
	case "wait":
		time.Sleep(m.For)
	case "release":
		srv.Release("")
	case "down":
		srv.RuntimeDown()
	case "up":
		srv.RuntimeUp()
	case "restart":
		srv.Restart()
	}
}

// A view is what a user sees of a task.
type view struct {
	Runtime struct {
		Done      bool   `json:"done"`
		State     string `json:"state"`
		Exception string `json:"exception"`
	} `json:"runtime"`
	TaskContext struct {
		Log      string `json:"log"`
		Metadata struct {
			Percent int `json:"progress_percent"`
		} `json:"metadata"`
	} `json:"task_context"`
}

// model is what was seen of each task: by users, and by the test.
type model struct {
	views  map[int]view
	states map[int64]string
}

// look compares what every task is with what it was.
func (m model) look(t *testing.T, srv *langbottest.Server) error {
	for _, task := range srv.Tasks() {
		if was := m.states[task.ID]; was != "" && was != "running" && was != task.State {
			return fmt.Errorf("task %d has %s, and then %s", task.ID, was, task.State)
		}
		m.states[task.ID] = task.State
	}
	var list struct {
		Data struct{ Tasks []struct{ ID int } }
	}
	if got := ask(t, srv, "GET", "/api/v1/system/tasks", srv.UserToken, "", nil); got.status != 500 || got.body != "" {
		if err := json.Unmarshal([]byte(got.body), &list); err != nil {
			return fmt.Errorf("%w: %+v", err, got)
		}
	} else if !slices.Contains(slices.Collect(maps.Values(m.states)), "cancelled") {
		return errors.New("the list fails as if it had a cancelled task") // which is what LangBot makes of one
	}
	for _, item := range list.Data.Tasks {
		if err := m.lookAt(t, srv, item.ID); err != nil {
			return err
		}
	}
	return nil
}

func (m model) lookAt(t *testing.T, srv *langbottest.Server, id int) error {
	got := ask(t, srv, "GET", fmt.Sprint("/api/v1/system/tasks/", id), srv.UserToken, "", nil)
	if got.status == 404 || got.status == 500 && got.body == "" {
		return nil // this look was the last one that its script waited for
	}
	var answer struct{ Data view }
	if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
		return fmt.Errorf("%w: %+v", err, got)
	}
	was, is := m.views[id], answer.Data
	switch {
	case was.Runtime.Done && was != is:
		return fmt.Errorf("task %d left its end: %+v, then %+v", id, was, is)
	case !strings.HasPrefix(is.TaskContext.Log, was.TaskContext.Log):
		return fmt.Errorf("the log of task %d was %q, then %q", id, was.TaskContext.Log, is.TaskContext.Log)
	case is.TaskContext.Metadata.Percent < was.TaskContext.Metadata.Percent:
		return fmt.Errorf("task %d went from %d%% to %d%%", id, was.TaskContext.Metadata.Percent, is.TaskContext.Metadata.Percent)
	}
	m.views[id] = is
	return nil
}

// play makes the moves on a server of its own, and returns its journal.
func play(t *testing.T, version string, moves []move) (journal string, err error) {
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory(), langbottest.Version(version))
		seen := model{map[int]view{}, map[int64]string{}}
		for _, m := range moves {
			m.make(t, srv)
			if m.Kind == "restart" {
				clear(seen.views)
				clear(seen.states)
			}
			if wrong := seen.look(t, srv); wrong != nil && err == nil {
				err = fmt.Errorf("after %+v: %w", m, wrong)
			}
		}
		kept, broken := json.Marshal(srv.Calls(""))
		require.NoError(t, broken)
		journal = string(kept)
	})
	return journal, err
}

// TestStateMachine: whatever is done to a server, no task leaves its end, what is seen of one never goes back, and the same
// moves leave the same journal.
func TestStateMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		version := rapid.SampledFrom([]string{"4.6.0", "4.9.7", "4.10.6", "4.10.8", "4.11.2"}).Draw(rt, "version")
		made := moves().Draw(rt, "moves")
		first, err := play(t, version, made)
		if err != nil {
			rt.Fatal(err)
		}
		second, err := play(t, version, made)
		if err != nil {
			rt.Fatal(err)
		}
		if first != second {
			rt.Fatalf("two journals:\n%s\n%s", first, second)
		}
	})
}
