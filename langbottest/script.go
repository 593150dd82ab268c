package langbottest

import (
	"slices"
	"strings"
	"time"
)

// AnyInstall names every installation in [Server.On] and [Server.Calls].
const AnyInstall = "POST /api/v1/plugins/install/"

// A Script says how the operations of a route run. What a task looks like at a moment follows from the script and the
// clock alone.
type Script struct {
	Steps []Step // nil: LangBot's own steps, at 10 ms each
	End   End    // after the last step; zero: Succeed
}

// A Step is one thing that a task is doing.
type Step struct {
	Action  string // as the task tells it
	Percent int    // progress_percent; 0: not told
	For     time.Duration
}

// An End is how a task ends.
type End struct {
	kind endKind
	text string
}

type endKind int

const (
	succeed endKind = iota
	fail
	failToStart
	hang
	noEffect
	cancel
)

// The ends of a task.
var (
	Succeed              = End{kind: succeed}
	Hang                 = End{kind: hang}     // in its last step, for ever
	SucceedWithoutEffect = End{kind: noEffect} // the task succeeds, and nothing has changed
	Cancelled            = End{kind: cancel}
)

// Fail ends a task with an exception. Nothing has changed.
func Fail(exception string) End { return End{kind: fail, text: exception} }

// FailToStart ends an installation as that of a plugin whose code fails: the task fails (a *langbot.TaskError), and the
// plugin is kept but does not run, so that it is not listed and can only be removed or installed again.
var FailToStart = End{kind: failToStart}

// On sets the script of the operations of a route that are started from now on, by the route's pattern, such as
// "DELETE /api/v1/plugins/{author}/{name}", or by [AnyInstall]. It panics if there is no such route.
func (s *Server) On(op string, script Script) {
	mustBeRoute("On", op)
	script.Steps = slices.Clone(script.Steps)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.scripts[op] = script
}

// script returns the script of a route, with its steps.
func (st *state) script(op string, steps []Step) Script {
	script, found := st.scripts[op]
	if !found && strings.HasPrefix(op, AnyInstall) {
		script = st.scripts[AnyInstall]
	}
	if script.Steps == nil {
		script.Steps = steps
	}
	return script
}

// quick is how long each of a task's own steps takes.
const quick = 10 * time.Millisecond

// The steps that LangBot 4.11.2 tells: truth 4.11.2, 05-install-local-ok, 14-marketplace-install, 12-delete-plain.
func installSteps(download bool) []Step {
	steps := []Step{{Action: "preparing plugin install", For: quick}}
	if download {
		steps = append(steps, Step{Action: "downloading plugin package", Percent: 15, For: quick})
	}
	return append(steps,
		Step{Action: "validating plugin package", Percent: 32, For: quick},
		Step{Action: "persisting the installation", Percent: 45, For: quick},
		Step{Action: startingAction, Percent: 62, For: quick},
		Step{Action: mountedAction, Percent: 84, For: quick},
		Step{Action: "refreshing plugin components", Percent: 95, For: quick},
	)
}

func deleteSteps() []Step { return []Step{{Action: "default", For: quick}} }

const (
	startingAction = "installing or starting plugin"
	mountedAction  = "waiting for plugin initialization"
)

func (s Script) duration() (total time.Duration) {
	for _, step := range s.Steps {
		total += step.For
	}
	return total
}

// at returns the step that runs after d, and whether all are over.
func (s Script) at(d time.Duration) (index int, over bool) {
	for i, step := range s.Steps {
		if d < step.For {
			return i, false
		}
		d -= step.For
	}
	return len(s.Steps) - 1, s.End.kind != hang
}
