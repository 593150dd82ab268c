package langbottest

import (
	"slices"
	"strings"
	"time"
)

// AnyInstall names every installation in [Server.On], [Server.Release], [Server.Fault] and [Server.Calls].
const AnyInstall = "POST /api/v1/plugins/install/"

// A Script says how the operations of a route run. What a task looks like at a moment follows from the script, the clock
// and, where its steps say so, from polls and [Server.Release] alone.
type Script struct {
	Steps []Step // nil: LangBot's own steps, at 10 ms each
	End   End    // after the last step; zero: Succeed
}

// A Step is one thing that a task is doing. With neither For, Polls nor Hold it is over at once.
type Step struct {
	// Action is what the task tells, in the words of LangBot 4.11, such as "waiting for plugin initialization". A server
	// of another release tells it in its own words, if it tells steps at all.
	Action  string
	Percent int           // progress_percent, where the release has it; 0: not told
	For     time.Duration // it lasts
	Polls   int           // instead: until the task was looked at so often
	Hold    bool          // instead: until Server.Release

	phase phase
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
	vanish
)

// The ends of a task.
var (
	Succeed              = End{kind: succeed}
	Hang                 = End{kind: hang}     // it stays in its last step for ever. To hang for a while use a Step with Hold
	SucceedWithoutEffect = End{kind: noEffect} // the task succeeds, and nothing has changed
	Cancelled            = End{kind: cancel}   // nothing has changed
	Vanish               = End{kind: vanish}   // the work is done, and from the next request on the task is not known any more
)

// Fail ends a task with an exception. Nothing has changed.
func Fail(exception string) End { return End{kind: fail, text: exception} }

// FailToStart ends an installation as that of a plugin whose code fails: the plugin is kept but does not run, so that it is
// not listed, and can be installed again. The task fails; up to LangBot 4.9.6 it succeeds all the same.
var FailToStart = End{kind: failToStart}

// On sets the script of the operations of a route that are started from now on, by the route's pattern, such as
// "DELETE /api/v1/plugins/{author}/{name}", or by [AnyInstall]. The operations are the installations, the removal, the
// upgrade, and PUT …/config, of whose script the steps' For alone tells how long the plugin is away. It panics if there is
// no such operation, or if the script of a config has Hold, Polls or an End.
func (s *Server) On(op string, script Script) {
	mustBeOperation("On", op)
	if op == opConfig && (script.End != Succeed || slices.ContainsFunc(script.Steps, func(step Step) bool { return step.Hold || step.Polls > 0 })) {
		panic("langbottest: On: a config has no task: of its script only the steps' For counts")
	}
	script.Steps = slices.Clone(script.Steps)
	for i, step := range script.Steps {
		script.Steps[i].phase = phaseOf[step.Action]
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.scripts[op] = script
}

func mustBeOperation(method, op string) {
	if !slices.Contains(operations, op) {
		panic("langbottest: " + method + ": no operation " + op + "; there are " + strings.Join(operations, ", "))
	}
}

const (
	opLocal       = "POST /api/v1/plugins/install/local"
	opMarketplace = "POST /api/v1/plugins/install/marketplace"
	opGitHub      = "POST /api/v1/plugins/install/github"
	opDelete      = "DELETE /api/v1/plugins/{author}/{name}"
	opUpgrade     = "POST /api/v1/plugins/{author}/{name}/upgrade"
	opConfig      = "PUT /api/v1/plugins/{author}/{name}/config"
)

var operations = []string{AnyInstall, opLocal, opMarketplace, opGitHub, opDelete, opUpgrade, opConfig}

// Release lets the oldest running operation that holds at a step go on, and reports whether there was one. op is a route
// as in [Server.On]; an empty one is any. It panics if there is no such route.
func (s *Server) Release(op string) bool {
	if op != "" {
		mustBeOperation("Release", op)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	now := s.state.clock()
	s.state.advance(now)
	for _, t := range s.state.tasks {
		if !t.applied && t.at < len(t.script.Steps) && t.script.Steps[t.at].Hold && fits(op, t.op) {
			t.next(now)
			s.state.advance(now)
			return true
		}
	}
	return false
}

// fits reports whether an operation is one of those that op names.
func fits(op, of string) bool {
	return op == "" || op == of || op == AnyInstall && strings.HasPrefix(of, AnyInstall) && !strings.HasSuffix(of, "/preview")
}

// script returns the script of a route, with steps of its own where the script has none.
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

func (s Script) duration() (total time.Duration) {
	for _, step := range s.Steps {
		total += step.For
	}
	return total
}

// until is the script up to the first step of a phase, which is the last.
func (s Script) until(p phase) Script {
	for i, step := range s.Steps {
		if step.phase >= p {
			s.Steps = s.Steps[:i+1]
			break
		}
	}
	return s
}
