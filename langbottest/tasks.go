package langbottest

import (
	"strconv"
	"strings"
	"time"
)

// A task is one operation. It does nothing by itself: what it has done follows from its script and the time.
type task struct {
	id      int64
	name    string
	label   string
	created time.Time
	script  Script
	meta    map[string]any
	refused string        // fails at this exception instead of the script's end
	apply   func(now End) // the effect, once, when the script is over
	applied bool
	final   string // current_action at a good end
	result  any
	row     *row // the plugin it works on, while it does
	plugin  string
}

// begin makes a task, if fewer than eight are running.
func (st *state) begin(c *call, t *task) answer {
	st.advance(c.now)
	running := 0
	for _, other := range st.tasks {
		if !other.applied {
			running++
		}
	}
	if running >= 8 {
		return refusal(429, "task_capacity_exceeded", "The Workspace has too many active user operations")
	}
	t.id, t.created = st.nextID, c.now
	st.nextID++
	st.tasks = append(st.tasks, t)
	if t.row != nil {
		t.row.busy = t
	}
	return ok(map[string]any{"task_id": t.id})
}

// advance brings the effects of every task that has ended by now, in the order of their ends.
func (st *state) advance(now time.Time) {
	for {
		var next *task
		for _, t := range st.tasks {
			if !t.applied && t.over(now) && (next == nil || t.end().Before(next.end())) {
				next = t
			}
		}
		if next == nil {
			return
		}
		next.applied = true
		if next.row != nil && next.row.busy == next {
			next.row.busy = nil
		}
		if next.refused == "" && next.apply != nil {
			next.apply(next.script.End)
		}
	}
}

func (t *task) end() time.Time { return t.created.Add(t.script.duration()) }

func (t *task) over(now time.Time) bool {
	if t.refused != "" {
		return !now.Before(t.end())
	}
	_, over := t.script.at(now.Sub(t.created))
	return over
}

// step is what the task is doing.
func (t *task) step(now time.Time) Step {
	if len(t.script.Steps) == 0 {
		return Step{Action: "default"}
	}
	i, _ := t.script.at(now.Sub(t.created))
	return t.script.Steps[i]
}

// exception is why the task failed; nil: it did not.
func (t *task) exception() any {
	switch {
	case t.refused != "":
		return t.refused
	case t.script.End.kind == fail:
		return t.script.End.text
	case t.script.End.kind == failToStart:
		return "Plugin " + t.plugin + " failed to start after installation. Dependency installation or plugin initialization may have failed. " +
			"Please check the plugin requirements and runtime logs."
	}
	return nil
}

// forUser is the task as a user's token sees it.
func (t *task) forUser(now time.Time, workspace string) map[string]any {
	step := t.step(now)
	meta := map[string]any{}
	for k, v := range t.meta {
		meta[k] = v
	}
	if step.Percent > 0 {
		meta["progress_percent"] = step.Percent
	}
	runtime := map[string]any{"done": t.applied, "state": "PENDING", "exception": nil, "exception_traceback": nil, "result": nil}
	action := step.Action
	if t.applied {
		runtime["state"] = "FINISHED"
		if e := t.exception(); e != nil {
			runtime["exception"] = e
			runtime["exception_traceback"] = "Traceback (most recent call last):\n  File \"/app/langbot/pkg/plugin/connector.py\", line 1\n" + e.(string)
		} else {
			runtime["result"], action = t.result, t.final
			if step.Percent > 0 {
				meta["progress_percent"] = 100
			}
		}
	}
	return map[string]any{
		"id": t.id, "task_type": "user", "kind": "plugin-operation", "name": t.name, "label": t.label, "workspace_uuid": workspace,
		"placement_generation": 1, "scopes": []string{"application"}, "created_at": seconds(t.created),
		"task_context": map[string]any{"current_action": action, "log": "", "metadata": meta},
		"runtime":      runtime,
	}
}

// forKey is the task as an API key sees it.
func (t *task) forKey() map[string]any {
	view := map[string]any{"id": t.id, "task_type": "user", "kind": "plugin-operation", "status": "running", "error": nil, "result": nil,
		"created_at": seconds(t.created)}
	switch {
	case !t.applied:
	case t.script.End.kind == cancel:
		view["status"], view["error"] = "cancelled", map[string]any{"type": "task_cancelled", "message": "Task was cancelled"}
	case t.exception() != nil:
		view["status"], view["error"] = "failed", map[string]any{"type": "task_failed", "message": "Task execution failed"}
	default:
		view["status"], view["result"] = "succeeded", t.result
	}
	return view
}

func (t *task) cancelled() bool { return t.applied && t.script.End.kind == cancel }

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func (s *Server) getTask(c *call) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	id, err := strconv.ParseInt(strings.TrimSpace(c.value("id")), 10, 64)
	if err == nil {
		for _, t := range s.state.tasks {
			if t.id == id {
				return s.state.view(t, c)
			}
		}
	}
	return refusal(404, 404, "Task not found")
}

func (st *state) view(t *task, c *call) answer {
	switch {
	case c.who.isKey():
		return ok(t.forKey())
	case t.cancelled():
		return answer{status: 500} // no body: truth 4.11.2, 19-cancelled-task
	}
	return ok(t.forUser(c.now, st.workspace))
}

func (s *Server) listTasks(c *call) answer {
	query := c.URL.Query()
	fits := func(param, value string) bool { return query.Get(param) == "" || query.Get(param) == value }
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	views := []any{}
	if fits("type", "system") && fits("kind", "platform-adapter") {
		views = append(views, s.state.adapter(c.who))
	}
	for _, t := range s.state.tasks {
		if !fits("type", "user") || !fits("kind", "plugin-operation") {
			continue
		}
		if c.who.isKey() {
			views = append(views, t.forKey())
		} else if t.cancelled() {
			return answer{status: 500}
		} else {
			views = append(views, t.forUser(c.now, s.state.workspace))
		}
	}
	if c.who.isKey() {
		return ok(map[string]any{"tasks": views})
	}
	return ok(map[string]any{"tasks": views, "id_index": s.state.nextID})
}

// adapter is the task of the web chat, which every LangBot runs from its start on.
func (st *state) adapter(who identity) map[string]any {
	const id, name = firstTask - 2, "platform-adapter-WebSocketAdapter"
	created := seconds(st.started)
	if who.isKey() {
		return map[string]any{"id": id, "task_type": "system", "kind": "platform-adapter", "status": "running", "error": nil, "result": nil, "created_at": created}
	}
	return map[string]any{
		"id": id, "task_type": "system", "kind": "platform-adapter", "name": name, "label": name, "workspace_uuid": st.workspace,
		"placement_generation": 1, "scopes": []string{"application", "platform"}, "created_at": created,
		"task_context": map[string]any{"current_action": "Running...", "log": "", "metadata": map[string]any{}},
		"runtime":      map[string]any{"done": false, "state": "PENDING", "exception": nil, "exception_traceback": nil, "result": nil},
	}
}
