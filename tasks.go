// Tasks: what the server is doing in the background. Watching one to its end is in operation.go.

package langbot

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file, in the order of its methods.
var (
	getTask   = endpoint{pattern: "GET /api/v1/system/tasks/{id}", effect: repeatable}
	listTasks = endpoint{pattern: "GET /api/v1/system/tasks", effect: repeatable}
)

// A Task is one piece of background work of the server. How much of it is told depends on the credential: a user token
// sees all of it, an API key (from 4.10.11 on) only ID, Type, Kind, State and Created, and a constant Message.
type Task struct {
	ID        int64  // counts from 0 anew with every start of the server
	Type      string // "user" or "system"
	Kind      string // "plugin-operation" for everything that PluginsService starts
	Name      string // "plugin-install-local", …; empty to an API key
	Label     string // for people; empty to an API key
	State     TaskState
	Action    string    // what it is doing, free text of the server; never a sign of its end
	Message   string    // why it failed
	Traceback string    // of the failure, with paths of the server; empty to an API key
	Progress  Progress  // zero to an API key
	Created   time.Time // zero before 4.9.7
}

// A TaskState is how far a task is.
type TaskState string

// The states of a task. TaskSucceeded, TaskFailed and TaskCancelled are final.
const (
	TaskRunning   TaskState = "running"
	TaskSucceeded TaskState = "succeeded"
	TaskFailed    TaskState = "failed"
	TaskCancelled TaskState = "cancelled"
	TaskUnknown   TaskState = "unknown" // a state of a newer server that this package does not know; watching goes on
)

func (s TaskState) final() bool {
	return s == TaskSucceeded || s == TaskFailed || s == TaskCancelled
}

// Progress is what an installation tells while it runs, to a user token. Zero means that the server does not tell: before
// 4.9.5 it tells nothing, 4.10.7 to 4.10.11 tell Bytes for GitHub only, Percent comes with 4.11.0.
type Progress struct {
	Percent           int   // 0 to 100
	Bytes, TotalBytes int64 // of the download; TotalBytes is 0 if the source named no length
	BytesPerSecond    float64
	Dependencies      int // installed so far, 4.9.5 to 4.10.6
	TotalDependencies int
	Plugin            string // "author/name" once the package has been read, else the file's or the repository's name
}

// A TaskFilter selects tasks. Its zero value means the tasks that users started: lists with system tasks fail on every
// release, to a user token, while they hold a cancelled one.
type TaskFilter struct {
	Type string // "user", "system" or "all"; empty: "user"
	Kind string // such as "plugin-operation"; empty: any
}

// A TasksService reads the server's tasks. See [Client.Tasks].
type TasksService struct{ client *Client }

// Get returns one task, as the server tells it now.
//
// Errors: [ErrNotFound] (never existed, dropped after it finished, or forgotten by a restart), [ErrTasksHidden] (an API
// key before 4.10.11), [ErrUnauthorized], [ErrForbidden] (the key lacks resource.view), [ErrServer], [*ProtocolError].
//
// API: GET /api/v1/system/tasks/{id}, since LangBot 4.0.0; API keys since 4.10.11.
func (s *TasksService) Get(ctx context.Context, id int64) (Task, error) {
	return s.get(ctx, getTask.at(strconv.FormatInt(id, 10)), id)
}

func (s *TasksService) get(ctx context.Context, r route, id int64) (Task, error) {
	data, err := call[wireTask](ctx, s.client, r, nil)
	if err == nil {
		s.client.showsTasks()
		return data.Task, nil
	}
	if s.isCancelled(ctx, err) {
		return Task{ID: id, State: TaskCancelled}, nil
	}
	return Task{}, s.hidden(ctx, err)
}

// List returns the tasks that filter selects, oldest first.
//
// Errors: those of [TasksService.Get], except [ErrNotFound].
//
// API: GET /api/v1/system/tasks, since LangBot 4.0.0; API keys since 4.10.11.
func (s *TasksService) List(ctx context.Context, filter TaskFilter) ([]Task, error) {
	return s.list(ctx, listTasks.at(), filter)
}

func (s *TasksService) list(ctx context.Context, r route, filter TaskFilter) ([]Task, error) {
	query := url.Values{}
	switch filter.Type {
	case "":
		query.Set("type", "user")
	case "user", "system":
		query.Set("type", filter.Type)
	case "all":
	default:
		return nil, invalid("task filter: type %q, want user, system or all", filter.Type)
	}
	if filter.Kind != "" {
		query.Set("kind", filter.Kind)
	}
	data, err := call[wireTasks](ctx, s.client, r.with(query), nil)
	if err != nil {
		return nil, s.hidden(ctx, err)
	}
	s.client.showsTasks()
	return slices.DeleteFunc(data, func(t Task) bool {
		return filter.Kind != "" && t.Kind != filter.Kind // servers before 4.9.5 ignore kind
	}), nil
}

// Resume takes up an operation by its [Operation.Token], in this process or another, with the same credential or another
// one of the same workspace. It makes no request. A token made with another base URL, compared as text but for slashes at
// the end, or no token at all, is [ErrInvalid]. White space around the token is dropped.
func (s *TasksService) Resume(token string) (*Operation, error) {
	t, err := parseTicket(token)
	if err != nil {
		return nil, err
	}
	if t.Server != s.client.settings.server {
		return nil, invalid("this token belongs to the server at %s", t.Server)
	}
	return &Operation{client: s.client, ticket: t, resumed: true}, nil
}

// isCancelled knows what a user token gets for a cancelled task, on every release: a 500 without a body. See truth
// 4.11.2, 19-cancelled-task.
func (s *TasksService) isCancelled(ctx context.Context, err error) bool {
	var e *ProtocolError
	if !errors.As(err, &e) || e.StatusCode != http.StatusInternalServerError || e.Snippet != "" || e.ContentType != "" {
		return false
	}
	ofUser, _ := s.client.hasUserToken(ctx) // it had a token a moment ago
	return ofUser
}

// hidden tells a server that hides its tasks from keys from one that refuses the key: another route decides.
func (s *TasksService) hidden(ctx context.Context, err error) error {
	cred := s.client.settings.credential
	var refused *APIError // by the task route itself, not by the login before it
	if !errors.As(err, &refused) || refused.Op == login.pattern || !errors.Is(err, ErrUnauthorized) || cred == nil || cred.readsTasks.Load() {
		return err
	}
	if ofUser, tokenErr := s.client.hasUserToken(ctx); ofUser || tokenErr != nil || s.refused(ctx) != nil {
		return err
	}
	return &WaitError{Err: ErrTasksHidden, hint: "use a user token (WithLogin), or LangBot 4.10.11 or newer"}
}

// refused is ErrUnauthorized if a route that every credential may ask refuses this one.
func (s *TasksService) refused(ctx context.Context) error {
	_, err := call[struct{}](ctx, s.client, getPlugin.at("langbot", "langbot").polling(), nil)
	if errors.Is(err, ErrUnauthorized) || ctx.Err() != nil {
		return err
	}
	return nil
}

// showsTasks remembers that this credential may read tasks.
func (c *Client) showsTasks() {
	if cred := c.settings.credential; cred != nil && !cred.readsTasks.Load() {
		cred.readsTasks.Store(true)
	}
}

// hasUserToken tells a user's token, to which every release shows tasks, from an API key.
func (c *Client) hasUserToken(ctx context.Context) (bool, error) {
	cred := c.settings.credential
	if cred == nil || cred.ofUser {
		return cred != nil, nil
	}
	x := &request{client: c, route: getTask.at("0")}
	token, err := x.token(ctx, "")
	return err == nil && cred.bearer(token).ofUser, err
}

// wireTasks are the data of a list, nil if it holds none.
type wireTasks []Task

// ReadJSON implements envelope.Reader.
func (w *wireTasks) ReadJSON(data []byte) {
	list := envelope.Field(data, "tasks")
	if !bytes.HasPrefix(list, []byte("[")) {
		return
	}
	tasks := wireTasks{}
	for item := range envelope.Items(list) {
		task := readTask(item)
		if task.State == "" || len(tasks) == maxItems {
			return // what is no task must not pass for one
		}
		tasks = append(tasks, task)
	}
	*w = tasks
}

func (w *wireTasks) missing() string {
	if *w == nil {
		return "tasks"
	}
	return ""
}

func (w *wireTasks) mask(hide func(string) string) {
	for i := range *w {
		(*w)[i].mask(hide)
	}
}

// wireTask is the data of one task.
type wireTask struct{ Task }

// ReadJSON implements envelope.Reader.
func (w *wireTask) ReadJSON(data []byte) { w.Task = readTask(data) }

func (w *wireTask) missing() string {
	if w.State == "" {
		return "task"
	}
	return ""
}

// mask hides the credential in what a task says: its texts come from programs that may print what they got.
func (t *Task) mask(hide func(string) string) {
	for _, text := range []*string{&t.Name, &t.Label, &t.Action, &t.Message, &t.Traceback, &t.Progress.Plugin} {
		*text = hide(*text)
	}
}

// readTask reads a task in both shapes: a user token gets runtime and task_context, an API key gets status and error. What
// it says on its way may be anything: it must not hide how the task ended. Without a state it is no task.
func readTask(data []byte) (t Task) {
	for key, value := range envelope.Members(data) {
		switch string(key) {
		case "id":
			t.ID = int64(number(value))
		case "task_type":
			t.Type = envelope.Text(value)
		case "kind":
			t.Kind = envelope.Text(value)
		case "name":
			t.Name = envelope.Text(value)
		case "label":
			t.Label = envelope.Text(value)
		case "created_at":
			if seconds := number(value); seconds > 0 {
				t.Created = time.UnixMicro(int64(seconds * 1e6))
			}
		case "status":
			t.State = stateOf(envelope.Text(value))
		case "error":
			t.Message = envelope.Text(envelope.Field(value, "message"))
		case "runtime":
			t.readRuntime(value)
		case "task_context":
			t.Action = envelope.Text(envelope.Field(value, "current_action"))
			t.Progress = readProgress(envelope.Field(value, "metadata"))
		}
	}
	return t
}

func stateOf(status string) TaskState {
	switch s := TaskState(status); s {
	case TaskRunning, TaskSucceeded, TaskFailed, TaskCancelled, "":
		return s
	}
	return TaskUnknown
}

// readRuntime reads how the task stands, for a user. Its exception decides: null is success, any text, also an empty one,
// a failure, and its state is FINISHED either way.
func (t *Task) readRuntime(data []byte) {
	exception := envelope.Field(data, "exception")
	t.Message, t.Traceback = envelope.Text(exception), envelope.Text(envelope.Field(data, "exception_traceback"))
	switch {
	case envelope.Text(envelope.Field(data, "state")) == "CANCELLED":
		t.State = TaskCancelled
	case string(envelope.Field(data, "done")) == "false":
		t.State = TaskRunning
	case string(envelope.Field(data, "done")) != "true":
		t.State = "" // no task that we know
	case exception != nil && string(exception) != "null":
		t.State = TaskFailed
	default:
		t.State = TaskSucceeded
	}
}

func readProgress(data []byte) Progress {
	n := func(key string) float64 { return number(envelope.Field(data, key)) }
	return Progress{
		Percent:           min(max(int(n("progress_percent")), 0), 100),
		Bytes:             int64(n("download_current")),
		TotalBytes:        int64(n("download_total")),
		BytesPerSecond:    n("download_speed"),
		Dependencies:      int(n("deps_installed")),
		TotalDependencies: int(n("deps_total")),
		Plugin:            envelope.Text(envelope.Field(data, "plugin_name")),
	}
}

// number reads a number, also one in quotes. Anything else is 0.
func number(data []byte) float64 {
	f, err := strconv.ParseFloat(envelope.Text(data), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
