// Tasks: what the server is doing in the background. Watching one to its end is in operation.go.

package langbot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
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
	if err == nil && data.Runtime == nil && data.Status == "" {
		return Task{}, r.empty("task")
	}
	if err == nil {
		s.client.showsTasks()
		return data.public(), nil
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
	data, err := call[wireTasks](ctx, s.client, listTasks.at().with(query), nil)
	if err != nil {
		return nil, s.hidden(ctx, err)
	}
	if data.Tasks == nil {
		return nil, listTasks.at().empty("tasks")
	}
	s.client.showsTasks()
	tasks := make([]Task, 0, len(data.Tasks))
	for i := range data.Tasks {
		if t := data.Tasks[i].public(); filter.Kind == "" || t.Kind == filter.Kind { // servers before 4.9.5 ignore kind
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
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
	return errors.As(err, &e) && e.StatusCode == http.StatusInternalServerError && e.Snippet == "" && e.ContentType == "" &&
		s.client.hasUserToken(ctx)
}

// hidden tells a server that hides its tasks from keys from one that refuses the key: another route decides.
func (s *TasksService) hidden(ctx context.Context, err error) error {
	cred := s.client.settings.credential
	if !errors.Is(err, ErrUnauthorized) || cred == nil || cred.readsTasks.Load() || s.client.hasUserToken(ctx) {
		return err
	}
	_, probe := call[struct{}](ctx, s.client, getPlugin.at("langbot", "langbot").polling(), nil)
	if errors.Is(probe, ErrUnauthorized) || ctx.Err() != nil {
		return err
	}
	return &WaitError{Err: ErrTasksHidden, hint: "use a user token (WithLogin), or LangBot 4.10.11 or newer"}
}

// showsTasks remembers that this credential may read tasks.
func (c *Client) showsTasks() {
	if cred := c.settings.credential; cred != nil && !cred.readsTasks.Load() {
		cred.readsTasks.Store(true)
	}
}

func (c *Client) hasUserToken(ctx context.Context) bool {
	cred := c.settings.credential
	if cred == nil {
		return false
	}
	token, err := cred.token(ctx, c, "")
	return err == nil && cred.bearer(token).ofUser
}

// wireTask is a task on the wire, in both shapes: a user token gets runtime and task_context, an API key gets status and
// error.
type wireTask struct {
	ID      int64          `json:"id"`
	Type    envelope.Loose `json:"task_type"`
	Kind    envelope.Loose `json:"kind"`
	Name    envelope.Loose `json:"name"`
	Label   envelope.Loose `json:"label"`
	Created float64        `json:"created_at"`

	Status envelope.Loose `json:"status"`
	Error  *struct {
		Message envelope.Loose `json:"message"`
	} `json:"error"`

	Runtime *struct {
		Done      bool            `json:"done"`
		State     envelope.Loose  `json:"state"`
		Exception *envelope.Loose `json:"exception"` // null is success; an empty text is a failure
		Traceback envelope.Loose  `json:"exception_traceback"`
	} `json:"runtime"`
	Context struct {
		Action   envelope.Loose `json:"current_action"`
		Metadata struct {
			Percent  number         `json:"progress_percent"`
			Current  number         `json:"download_current"`
			Total    number         `json:"download_total"`
			Speed    number         `json:"download_speed"`
			Deps     number         `json:"deps_installed"`
			DepsAll  number         `json:"deps_total"`
			PluginID envelope.Loose `json:"plugin_name"`
		} `json:"metadata"`
	} `json:"task_context"`
}

type wireTasks struct {
	Tasks []wireTask `json:"tasks"`
}

func (w *wireTasks) mask(hide func(string) string) {
	for i := range w.Tasks {
		w.Tasks[i].mask(hide)
	}
}

// mask hides the credential in what a task says: its texts come from programs that may print what they got.
func (w *wireTask) mask(hide func(string) string) {
	texts := []*envelope.Loose{&w.Name, &w.Label, &w.Context.Action, &w.Context.Metadata.PluginID}
	if w.Error != nil {
		texts = append(texts, &w.Error.Message)
	}
	if w.Runtime != nil {
		texts = append(texts, &w.Runtime.Traceback)
		if w.Runtime.Exception != nil {
			texts = append(texts, w.Runtime.Exception)
		}
	}
	for _, text := range texts {
		*text = envelope.Loose(hide(string(*text)))
	}
}

// A number that is none counts as absent: what a task tells on its way must not hide how it ended.
type number float64

func (n *number) UnmarshalJSON(data []byte) error {
	*n = 0
	var f float64
	if json.Unmarshal(data, &f) == nil {
		*n = number(f)
	}
	return nil
}

func (w *wireTask) public() Task {
	meta := w.Context.Metadata
	t := Task{
		ID:     w.ID,
		Type:   string(w.Type),
		Kind:   string(w.Kind),
		Name:   string(w.Name),
		Label:  string(w.Label),
		Action: string(w.Context.Action),
		State:  w.state(),
		Progress: Progress{
			Percent:           int(meta.Percent),
			Bytes:             int64(meta.Current),
			TotalBytes:        int64(meta.Total),
			BytesPerSecond:    float64(meta.Speed),
			Dependencies:      int(meta.Deps),
			TotalDependencies: int(meta.DepsAll),
			Plugin:            string(meta.PluginID),
		},
	}
	if w.Created > 0 {
		t.Created = time.UnixMicro(int64(w.Created * 1e6))
	}
	if w.Error != nil {
		t.Message = string(w.Error.Message)
	}
	if w.Runtime != nil && w.Runtime.Exception != nil {
		t.Message, t.Traceback = string(*w.Runtime.Exception), string(w.Runtime.Traceback)
	}
	return t
}

func (w *wireTask) state() TaskState {
	if w.Runtime == nil {
		switch s := TaskState(w.Status); s {
		case TaskRunning, TaskSucceeded, TaskFailed, TaskCancelled:
			return s
		}
		return TaskUnknown
	}
	switch {
	case w.Runtime.State == "CANCELLED":
		return TaskCancelled
	case !w.Runtime.Done:
		return TaskRunning
	case w.Runtime.Exception != nil:
		return TaskFailed // its runtime.state is FINISHED all the same
	}
	return TaskSucceeded
}
