package langbottest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A task is one operation. It does nothing by itself: what it has done follows from its script, the time, and who looked.
type task struct {
	id      int64
	op      string
	kind    string
	name    string
	label   string
	own     bool // of the server, not of a user
	shown   bool // in lists
	scopes  []string
	created time.Time

	script Script
	at     int       // the step that it is in
	begun  time.Time // when that began
	looks  int       // at the task in this step

	failsAt   phase
	exception string // it ends with this at failsAt, whatever the script says
	apply     func(end End, now time.Time) (exception string)
	applied   bool
	log       string
	meta      func(reached phase) map[string]any
	result    any
	row       *row // the plugin that it works on, while it does
	plugin    string
	raced     bool // another one worked on the plugin when it began
}

// maxRunning is how many operations run at a time, where the release cares.
const maxRunning = 8

// begin starts a task, if the release runs one more.
func (st *state) begin(c *call, t *task) answer {
	st.advance(c.now)
	running := 0
	for _, other := range st.tasks {
		if !other.own && !other.applied {
			running++
		}
	}
	if running >= maxRunning && st.profile.has(taskCapacity) {
		return refusal(429, "task_capacity_exceeded", "The Workspace has too many active user operations")
	}
	t.kind, t.shown, t.scopes = "plugin-operation", true, []string{"application"}
	if t.exception != "" {
		t.script.End = Fail(t.exception)
		t.script = t.script.until(t.failsAt)
	}
	st.add(t, c.now)
	if t.row != nil {
		t.row.busy = t
	}
	if st.profile.has(describedIDs) {
		return ok(map[string]any{"task_id": strconv.FormatInt(t.id, 10)})
	}
	return ok(map[string]any{"task_id": t.id})
}

func (st *state) add(t *task, now time.Time) {
	t.id, t.created, t.begun = st.nextID, now, now
	st.nextID++
	st.tasks = append(st.tasks, t)
	st.prune()
}

// keptTasks is how many finished tasks are kept, where the release forgets any.
const keptTasks = 200

func (st *state) prune() {
	if !st.profile.has(taskPruning) {
		return
	}
	finished := 0
	for _, t := range slices.Backward(st.tasks) {
		if t.applied {
			finished++
		}
	}
	st.tasks = slices.DeleteFunc(st.tasks, func(t *task) bool {
		if t.applied && finished > keptTasks {
			finished--
			return true
		}
		return false
	})
}

// next ends the step that a task is in.
func (t *task) next(at time.Time) { t.at, t.begun, t.looks = t.at+1, at, 0 }

// run goes through the steps that are over by now.
func (t *task) run(now time.Time) {
	for t.at < len(t.script.Steps) {
		step := t.script.Steps[t.at]
		end := t.begun.Add(step.For)
		waits := step.Hold || step.Polls > t.looks || now.Before(end)
		last := t.at == len(t.script.Steps)-1
		if waits || last && t.script.End.kind == hang {
			return
		}
		if step.Hold || step.Polls > 0 {
			end = now
		}
		t.next(end)
	}
}

// over reports whether the last step is, and the task has an end.
func (t *task) over() bool {
	return t.at >= len(t.script.Steps) && t.script.End.kind != hang
}

// advance brings the effects of every task that has ended by now, in the order of their ends.
func (st *state) advance(now time.Time) {
	for {
		var next *task
		for _, t := range st.tasks {
			if t.applied || t.own {
				continue
			}
			t.run(now)
			if t.over() && (next == nil || t.begun.Before(next.begun)) {
				next = t
			}
		}
		if next == nil {
			return
		}
		st.finish(next)
	}
}

func (st *state) finish(t *task) {
	t.applied = true
	if t.row != nil && t.row.busy == t {
		t.row.busy = nil
	}
	if t.apply != nil {
		if why := t.apply(t.script.End, t.begun); why != "" {
			t.script.End = Fail(why)
		}
	}
	if t.script.End.kind == vanish {
		st.tasks = slices.DeleteFunc(st.tasks, func(other *task) bool { return other == t })
	}
	st.prune()
}

// step is what the task is doing, or did last.
func (t *task) step() Step {
	if len(t.script.Steps) == 0 {
		return Step{Action: "default"}
	}
	return t.script.Steps[min(t.at, len(t.script.Steps)-1)]
}

// failed is the exception of a task that has failed.
func (t *task) failed() (exception string, failed bool) {
	return t.script.End.text, t.applied && (t.script.End.kind == fail || t.script.End.kind == failToStart)
}

func (t *task) cancelled() bool { return t.applied && t.script.End.kind == cancel }

// forUser is the task as a user's token sees it.
func (st *state) forUser(t *task) map[string]any {
	p := st.profile
	step := t.step()
	runtime := map[string]any{"done": t.applied, "state": "PENDING", "exception": nil, "exception_traceback": nil, "result": nil}
	action := step.Action
	if !t.own {
		action = p.words(t.op, step.Action)
	}
	meta := map[string]any{}
	if t.meta != nil {
		meta = t.meta(step.phase)
	}
	if p.has(taskProgress) && step.Percent > 0 {
		meta["progress_percent"] = step.Percent
	}
	if exception, failed := t.failed(); failed {
		runtime["exception"] = exception
		runtime["exception_traceback"] = "Traceback (most recent call last):\n  File \"/app/langbot/pkg/plugin/connector.py\", line 1, in run\n    " + exception + "\n"
	} else if t.applied && !t.own {
		runtime["result"] = t.result
		action = p.lastWords(t.op, step.Action)
		if meta["progress_percent"] != nil {
			meta["progress_percent"] = 100
		}
	}
	if t.applied {
		runtime["state"] = "FINISHED"
	}
	where := map[string]any{"current_action": action, "log": t.log}
	if p.has(taskMetadata) {
		where["metadata"] = meta
	}
	view := map[string]any{"id": t.id, "task_type": t.taskType(), "kind": t.kind, "name": t.name, "label": t.label, "scopes": t.scopes,
		"task_context": where, "runtime": runtime}
	if p.has(taskCreated) {
		view["created_at"] = seconds(t.created)
	}
	if p.has(taskWorkspace) {
		view["workspace_uuid"], view["placement_generation"] = st.workspace, 1
	}
	return view
}

func (t *task) taskType() string {
	if t.own {
		return "system"
	}
	return "user"
}

// forKey is the task as an API key sees it.
func (t *task) forKey() map[string]any {
	view := map[string]any{"id": t.id, "task_type": t.taskType(), "kind": t.kind, "status": "running", "error": nil, "result": nil,
		"created_at": seconds(t.created)}
	_, failed := t.failed()
	switch {
	case t.cancelled():
		view["status"], view["error"] = "cancelled", map[string]any{"type": "task_cancelled", "message": "Task was cancelled"}
	case failed:
		view["status"], view["error"] = "failed", map[string]any{"type": "task_failed", "message": "Task execution failed"}
	case t.applied:
		view["status"], view["result"] = "succeeded", t.result
	}
	return view
}

func seconds(t time.Time) float { return float(float64(t.UnixMicro()) / 1e6) }

func (s *Server) getTask(c *call) answer {
	id, isNumber := pythonInt(c.value("id"))
	if !isNumber && !s.profile.has(taskWords) {
		return s.failure(c, "invalid literal for int() with base 10: "+pythonQuote(c.value("id")))
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	for _, t := range s.state.tasks {
		if isNumber && t.id == id && t.shown {
			t.looks++
			s.state.advance(c.now)
			return s.state.taskView(t, c)
		}
	}
	return refusal(404, 404, "Task not found")
}

func (st *state) taskView(t *task, c *call) answer {
	switch {
	case c.who.isKey():
		return ok(t.forKey())
	case t.cancelled():
		return nothing() // recordings, cancelled task
	}
	return ok(st.forUser(t))
}

// nothing is what comes of an exception that even LangBot does not expect.
func nothing() answer { return answer{status: 500, ends: true} }

func (s *Server) listTasks(c *call) answer {
	query := c.URL.Query()
	fits := func(param, value string) bool { return query.Get(param) == "" || query.Get(param) == value }
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	views := []any{}
	for _, t := range s.state.tasks {
		switch {
		case !t.shown, !fits("type", t.taskType()), s.profile.has(taskKinds) && !fits("kind", t.kind):
		case c.who.isKey():
			views = append(views, t.forKey())
		case t.cancelled():
			return nothing()
		default:
			views = append(views, s.state.forUser(t))
		}
	}
	if c.who.isKey() {
		return ok(map[string]any{"tasks": views})
	}
	return ok(map[string]any{"tasks": views, "id_index": s.state.nextID})
}

// A Task is what [Server.Tasks] tells of an operation.
type Task struct {
	ID        int64
	Op        string // the route's pattern
	Plugin    string // "author/name", if it is known
	Action    string // of the step that it is in, in the words of LangBot 4.11
	State     string // "running", "succeeded", "failed" or "cancelled"
	Exception string
}

// Tasks returns the operations that the server remembers, the oldest first.
func (s *Server) Tasks() []Task {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(s.state.clock())
	var tasks []Task
	for _, t := range s.state.tasks {
		if !t.own {
			exception, _ := t.failed()
			tasks = append(tasks, Task{t.id, t.op, t.plugin, t.step().Action, t.forKey()["status"].(string), exception})
		}
	}
	return tasks
}

// ownTasks are the names of the server's own tasks, in the order of their ids. Those without a name are hidden.
func (st *state) ownTasks() []string {
	if !st.profile.has(systemTasks) {
		names := make([]string, 10, 12)
		for _, row := range []*difference{taskOperations, taskPasskeys} {
			if st.profile.has(row) {
				names = append(names, "")
			}
		}
		names[len(names)-2] = webChat
		return names
	}
	names := []string{"platform-manager", "query-controller", "http-api-controller"}
	if st.profile.has(taskHeartbeat) {
		names = append(names, "telemetry-heartbeat")
	}
	if st.profile.has(taskCleanups) {
		names = append(names, "monitoring-cleanup", "storage-maintenance")
	}
	return append(names, "never-ending-task", webChat, "http-api-quart")
}

const webChat = "platform-adapter-WebSocketAdapter"

// addOwn starts a task of the server's.
func (st *state) addOwn(name string, now time.Time) *task {
	t := &task{kind: "system-task", name: name, label: name, own: true, shown: name != "", scopes: []string{"application"}}
	t.script = Script{Steps: []Step{{Action: "default"}}, End: Hang}
	switch {
	case strings.HasPrefix(name, "platform-adapter-"):
		t.kind, t.scopes, t.script.Steps[0].Action = "platform-adapter", []string{"application", "platform"}, "Running..."
	case name == "platform-manager":
		t.scopes, t.applied = []string{"application", "platform"}, true
	case name == "http-api-controller":
		t.applied = true
	}
	st.add(t, now)
	return t
}
