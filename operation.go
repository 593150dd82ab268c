// Operations: a change that the server makes in the background, and the wait for its effect.

package langbot

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/langbot-go/langbot/internal/envelope"
)

// An Operation is a change that a server has accepted: an installation, an upgrade or a removal. Accepted is not done: call
// [Operation.Wait]. It is safe for concurrent use.
type Operation struct {
	client  *Client
	resumed bool

	mu     sync.Mutex
	ticket ticket
}

// An Outcome is how an operation ended well.
type Outcome struct {
	Plugin Plugin // as it runs now; zero after a removal
	Task   Task   // zero if the server hides its tasks from the credential
}

// Plugin returns the plugin that the operation is about. It is zero for a GitHub release, also after Wait: Outcome.Plugin
// tells.
func (o *Operation) Plugin() PluginID { return o.state().Plugin }

// Token returns a string by which [TasksService.Resume] takes up the operation in any process, as long as the server
// runs; after a restart the wait ends with [ErrTaskLost]. It holds the base URL, the task's number and, once it was seen,
// time of creation, the plugin, the version asked for and, where tasks are hidden, how the plugin was listed before: a
// resumed wait sees what the first one would have seen. It holds no credential. Call [Operation.Poll] once before storing
// it, where tasks are not hidden: a token without the task's time of creation can take, for a minute after a restart, another operation on the same
// plugin for this one.
func (o *Operation) Token() string {
	return o.state().String()
}

func (o *Operation) state() ticket {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ticket
}

// Poll asks once how far the task is. A task that has succeeded may not have shown its effect yet: that is for
// [Operation.Wait] to see.
//
// Errors: [ErrTaskLost], [ErrTasksHidden], and those of [TasksService.Get].
//
// API: GET /api/v1/system/tasks/{id}.
func (o *Operation) Poll(ctx context.Context) (Task, error) {
	t := o.state()
	if t.Access == tasksHidden && !o.resumed {
		return Task{}, t.unseen("")
	}
	task, err := o.client.Tasks.get(ctx, getTask.at(strconv.FormatInt(t.Task, 10)).polling(), t.Task)
	switch {
	case errors.Is(err, ErrNotFound):
		return Task{}, &WaitError{Err: ErrTaskLost, hint: "the server was restarted, or has dropped the finished task; the plugin tells how it ended"}
	case err != nil:
		return Task{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !inferred(task) && !o.ticket.belongs(task, o.resumed) {
		return Task{}, &WaitError{Err: ErrTaskLost, hint: "its number belongs to another task now: the server was restarted"}
	}
	return task, nil
}

// Events polls the task, as [Operation.Wait] does, and yields it each time it differs from before, last in its final
// state. A failed task is yielded without an error. An error ends the sequence, with the task as it was seen last; breaking off the loop ends the polling.
// The effect of a task that succeeded is not awaited: call [Operation.Wait] after the loop. Where tasks are hidden it
// yields [ErrTasksHidden] at once, and Wait may succeed all the same.
//
// Errors: those of [Operation.Wait], except [ErrNoEffect] and [*TaskError].
func (o *Operation) Events(ctx context.Context) iter.Seq2[Task, error] {
	return func(yield func(Task, error) bool) {
		var last Task
		_, err := o.follow(ctx, func(task Task) bool {
			if task == last {
				return true
			}
			last = task
			return yield(task, nil)
		})
		if err != nil && err != errStopped {
			yield(last, err)
		}
	}
}

// errStopped ends a follow whose caller has seen enough.
var errStopped = errors.New("stopped")

// Wait returns once the effect is there: after an installation the plugin is initialized, in the version asked for if
// one was; after a removal it is gone. It polls at once and then ever more slowly, see [Polling], until the operation
// ends or ctx does. Failing polls are tolerated for a while. It may be called again, also after an error.
//
// Where a server hides its tasks (an API key before 4.10.11), Wait watches the list of plugins instead and succeeds only
// on a change that can be nothing else. Where none could be told it returns [ErrTasksHidden] at once, else after
// Polling.Hidden; it never says then that the operation failed.
//
// Errors: [*TaskError] (it failed), [ErrNoEffect] (the task succeeded, the effect did not show within Polling.Settle),
// [ErrTaskLost], [ErrTasksHidden], [ErrForbidden] (the key lacks resource.view), [ErrUnauthorized], the end of ctx, or
// what the polls failed with. All but the first are in a [*WaitError], after which the operation may go on.
//
// API: GET /api/v1/system/tasks/{id}, then GET /api/v1/plugins/{author}/{name}.
func (o *Operation) Wait(ctx context.Context) (Outcome, error) {
	visible, err := o.access(ctx)
	switch {
	case err != nil:
		return Outcome{}, ended(ctx, err, Task{}, Plugin{})
	case visible == tasksHidden:
		return o.watchList(ctx)
	case visible == tasksForbidden:
		return Outcome{}, &WaitError{Err: ErrForbidden, hint: "the API key lacks the permission resource.view, without which it cannot watch what it starts"}
	}
	task, err := o.follow(ctx, nil)
	if err != nil {
		return Outcome{Task: task}, o.withPlugin(ctx, err)
	}
	if task.State != TaskSucceeded {
		return Outcome{Task: task}, o.failure(ctx, task)
	}
	if p := task.Progress.Percent; o.state().Kind == kindUpgrade && p > 0 && p < 100 { // it stopped before a plugin came into it
		return Outcome{Task: task}, &WaitError{Err: ErrNoEffect, Task: task, hint: "the marketplace has an MCP server or a skill of that name, which was installed instead"}
	}
	g := goal{client: o.client, ticket: o.state()}
	plugin, err := g.reach(ctx, o.client.settings.polling.Settle, task)
	return Outcome{Plugin: plugin, Task: task}, err
}

// withPlugin adds to a wait whose task is lost how the plugin stands: that is all there is to judge by.
func (o *Operation) withPlugin(ctx context.Context, err error) error {
	var lost *WaitError
	if id := o.Plugin(); id != (PluginID{}) && errors.Is(err, ErrTaskLost) && errors.As(err, &lost) {
		lost.Plugin, _ = o.client.Plugins.get(ctx, id, true) // zero if it is absent, or cannot be read now
	}
	return err
}

// access is what the credential may see, asked anew when the token came from another process: that one may have had
// another credential.
func (o *Operation) access(ctx context.Context) (access, error) {
	t := o.state()
	if !o.resumed {
		return t.Access, nil
	}
	now, err := o.client.taskAccess(ctx)
	if err == nil && now == tasksHidden && t.Access == tasksShown && t.Kind != kindDelete {
		err = o.client.Tasks.refused(ctx) // they were shown before: is this credential bad? (During a removal reading may hang.)
	}
	return now, err
}

// follow polls the task to its final state, or until seen returns false.
func (o *Operation) follow(ctx context.Context, seen func(Task) bool) (Task, error) {
	w := newWatch(o.client.settings.polling)
	var last Task
	for {
		w.ask()
		task, err := o.Poll(ctx)
		if err == nil && inferred(task) && !inferred(last) {
			last = task // once more, lest a gateway's empty answer counts as the server's
		} else if err == nil {
			last = task
			w.good()
			if seen != nil && !seen(task) {
				return task, errStopped
			}
			if task.State.final() {
				return task, nil
			}
		} else if !w.tolerates(ctx, err) {
			return last, ended(ctx, err, last, Plugin{})
		}
		if err := w.pause(ctx); err != nil {
			return last, ended(ctx, err, last, Plugin{})
		}
	}
}

// inferred reports whether task is what an empty answer stands for.
func inferred(task Task) bool { return task.State == TaskCancelled && task.Type == "" }

// failure is the error of a task that ran and failed. Whether a failed removal or upgrade had nothing to work on is in its
// text, which is English in every release. An API key is not told the text; then the plugin itself is asked, though one that failed to
// start is as absent from the API as one that was never installed.
func (o *Operation) failure(ctx context.Context, task Task) error {
	t := o.state()
	failed := &TaskError{Task: task}
	switch {
	case t.Kind == kindInstall || task.State != TaskFailed:
	case task.Name != "":
		plugin := "Plugin " + t.Plugin.String()
		failed.notFound = strings.Contains(task.Message, plugin+" is not installed in this Workspace") || // from 4.10.7 on
			strings.HasSuffix(task.Message, plugin+" not found")
	case t.Kind == kindDelete: // one that was to be upgraded may be absent for having been stopped
		_, err := o.client.Plugins.get(ctx, t.Plugin, true)
		failed.notFound = errors.Is(err, ErrNotFound)
	}
	return failed
}

// start sends a request that makes a task, and returns the operation.
func (c *Client) start(ctx context.Context, r route, in any, t ticket) (*Operation, error) {
	t.Server = c.settings.server
	if err := c.look(ctx, &t); err != nil {
		return nil, err
	}
	data, header, err := exchange[created](ctx, c, r, in)
	if err != nil {
		return nil, c.diagnosed(ctx, err)
	}
	t.Task = data.id
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		t.Sent = date
	}
	return &Operation{client: c, ticket: t}, nil
}

// created is the data of an answer that promises a task: its id, a number on servers and a string in their published
// description. 0 is the id of a task, so its absence is no 0.
type created struct {
	id   int64
	told bool
}

// ReadJSON implements envelope.Reader.
func (c *created) ReadJSON(data []byte) {
	id, err := strconv.ParseInt(envelope.Text(envelope.Field(data, "task_id")), 10, 64)
	c.id, c.told = id, err == nil
}

func (c *created) missing() string {
	if !c.told {
		return "task"
	}
	return ""
}

// look finds out, before anything is changed, how the operation can be watched: a server that hides its tasks from the
// credential needs something to compare with later.
func (c *Client) look(ctx context.Context, t *ticket) error {
	var err error
	if t.Access, err = c.taskAccess(ctx); err != nil || t.Access != tasksHidden || t.Plugin == (PluginID{}) {
		return err
	}
	if t.Kind == kindDelete && c.hangsWhenRead(ctx) {
		t.Baseline = &baseline{Blind: true}
		return nil
	}
	plugins, err := call[wirePlugins](ctx, c, listPlugins.at(), nil)
	if errors.Is(err, ErrUnauthorized) || ctx.Err() != nil {
		return err // the tasks were not hidden: the credential is bad
	}
	if err != nil {
		return nil // without something to compare with, Wait will say so
	}
	p, listed := find(plugins, t.Plugin)
	t.Baseline = &baseline{Listed: listed, Version: p.Version}
	return nil
}

// taskAccess asks for task 0, unless the credential is known to see tasks.
func (c *Client) taskAccess(ctx context.Context) (access, error) {
	cred := c.settings.credential
	if cred == nil || cred.readsTasks.Load() {
		return tasksShown, nil
	}
	if ofUser, err := c.hasUserToken(ctx); ofUser || err != nil {
		return tasksShown, err
	}
	_, err := call[struct{}](ctx, c, getTask.at("0"), nil)
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		c.showsTasks()
		return tasksShown, nil
	case errors.Is(err, ErrUnauthorized):
		return tasksHidden, nil // or the credential is bad, which the next request tells
	case errors.Is(err, ErrForbidden):
		return tasksForbidden, nil
	}
	return tasksShown, err
}

// hangsWhenRead reports whether reading plugins during a removal may hang this server for good. One whose version cannot
// be read is taken for one that does.
func (c *Client) hangsWhenRead(ctx context.Context) bool {
	r, ok, err := c.release(ctx)
	return err != nil || !ok || wedgedByReads.holds(r)
}
