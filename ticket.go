// Tickets: what has to be known of an operation to watch it, and how it travels as a token.

package langbot

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// A ticket is everything about an operation but the client that watches it. It holds no credential.
type ticket struct {
	Server  string    `json:"s"`
	Kind    string    `json:"k"`
	Task    int64     `json:"t"`
	Plugin  PluginID  `json:"p,omitzero"` // zero for a GitHub release: its archive has yet to tell
	Version string    `json:"v,omitempty"`
	Source  source    `json:"g,omitzero"`  // of a GitHub release
	Sent    time.Time `json:"d,omitzero"`  // the server's clock when it created the task
	Anchor  int64     `json:"a,omitempty"` // the task's created_at in microseconds, once seen

	Access   access    `json:"x,omitempty"`
	Baseline *baseline `json:"b,omitempty"` // while tasks are hidden: what the list showed before
}

// The kinds of operations.
const (
	kindInstall = "install"
	kindUpgrade = "upgrade"
	kindDelete  = "delete"
)

// A source is how a plugin from GitHub is recognised in the list.
type source struct {
	Owner string `json:"owner"`
	Repo  string `json:"repo"`
	Tag   string `json:"release_tag"`
	URL   string `json:"asset_url"` // kept by releases up to 4.10.6
	Asset int64  `json:"asset_id"`  // kept from 4.10.7 on
}

// access is what this server lets this credential see of tasks.
type access string

const (
	tasksShown     access = ""
	tasksHidden    access = "hidden"
	tasksForbidden access = "forbidden"
)

// A baseline is the plugin's line in the list before the operation.
type baseline struct {
	Listed  bool   `json:"l"`
	Version string `json:"v,omitempty"`
	Blind   bool   `json:"b,omitempty"` // reading plugins now would wedge the server
}

const tokenPrefix = "lbop1."

func (t ticket) String() string {
	data, err := json.Marshal(t)
	if err != nil { // an id that does not marshal was refused before the operation began
		return ""
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(data)
}

func parseTicket(token string) (ticket, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(token), tokenPrefix)
	if !ok {
		return ticket{}, invalid("this is no token of an operation")
	}
	data, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return ticket{}, invalid("the token is damaged")
	}
	var t ticket
	if json.Unmarshal(data, &t) != nil || t.Server == "" || !t.whole() {
		return ticket{}, invalid("the token is damaged, or of another version of this package")
	}
	return t, nil
}

// whole reports whether t says what is waited for.
func (t ticket) whole() bool {
	named := t.Plugin.check() == nil
	switch t.Kind {
	case kindUpgrade, kindDelete:
		return named
	case kindInstall:
		return named || t.Plugin == (PluginID{}) && t.Source != (source{})
	}
	return false
}

// belongs reports whether task is the one the ticket was made for, and not another that got its number after a restart
// of the server. Up to 4.9.6 tasks have no time of creation: kind and name are all there is to compare.
//
// The first time of creation seen is the one to expect from then on. A token that was made before it was seen (resumed)
// has only the server's clock of the request to go by.
func (t *ticket) belongs(task Task, resumed bool) bool {
	if task.ID != t.Task || task.Type == "system" || !t.named(task.Name) {
		return false
	}
	if task.Created.IsZero() {
		return !t.aboutAnother(task.Progress.Plugin)
	}
	created := task.Created.UnixMicro()
	if t.Anchor != 0 {
		return created == t.Anchor
	}
	if resumed && t.aboutAnother(task.Progress.Plugin) {
		return false
	}
	const slack = time.Minute // proxies rewrite the Date header, and clocks differ
	if resumed && !t.Sent.IsZero() && task.Created.Sub(t.Sent).Abs() > slack {
		return false
	}
	t.Anchor = created
	return true
}

// named reports whether a task of ours may have this name. Where it ends in the name of a plugin, it must be that of ours.
func (t *ticket) named(name string) bool {
	switch t.Kind {
	case kindUpgrade:
		return name == "" || name == "plugin-upgrade-"+t.Plugin.Name
	case kindDelete:
		return name == "" || name == "plugin-remove-"+t.Plugin.Name
	}
	return name == "" || strings.HasPrefix(name, "plugin-install-")
}

// aboutAnother reports whether what a task says of its plugin is the id of another one. Before the archive has been read
// it is the name of a file or a repository.
func (t *ticket) aboutAnother(plugin string) bool {
	id, err := ParsePluginID(plugin)
	return err == nil && t.Plugin != (PluginID{}) && id != t.Plugin
}
