// A plugin: how it is named, what a server tells of it, and how that is read.

package langbot

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/langbot-go/langbot/internal/envelope"
)

// A PluginID names a plugin by its author and its name, as its manifest does. Letter case counts.
type PluginID struct {
	Author string
	Name   string
}

// ParsePluginID reads "author/name". Anything that no LangBot could be asked for is [ErrInvalid]: an empty part, another
// slash, "." or "..", control characters, blanks at an end.
func ParsePluginID(s string) (PluginID, error) {
	author, name, ok := strings.Cut(s, "/")
	if !ok {
		return PluginID{}, invalid("plugin id %q: want author/name", s)
	}
	id := PluginID{author, name}
	return id, id.check()
}

// String returns "author/name".
func (id PluginID) String() string { return id.Author + "/" + id.Name }

// MarshalText returns "author/name", and nothing for a zero id.
func (id PluginID) MarshalText() ([]byte, error) {
	if id == (PluginID{}) {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText is [ParsePluginID], but takes an empty text for a zero id.
func (id *PluginID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = PluginID{}
		return nil
	}
	parsed, err := ParsePluginID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

func (id PluginID) check() error {
	for _, part := range []string{id.Author, id.Name} {
		if reason := unaddressable(part); reason != "" {
			return invalid("plugin id %q: %s", id.String(), reason)
		}
	}
	return nil
}

// unaddressable says why part of an id cannot stand in a path, if it cannot. Servers decode %2F before they route.
func unaddressable(part string) string {
	switch {
	case part == "":
		return "author and name must not be empty"
	case strings.Contains(part, "/"):
		return "a slash cannot be part of an author or name: no URL reaches such a plugin"
	case part == "." || part == "..":
		return `"." and ".." cannot be an author or name`
	case strings.TrimSpace(part) != part:
		return "author and name must not begin or end with a blank"
	case !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl):
		return "author and name must be UTF-8 without control characters"
	}
	return ""
}

// A Plugin is one plugin that is installed and known to the plugin runtime. Servers leave out what they like: any field
// may be zero.
type Plugin struct {
	ID          PluginID
	Version     string // as the manifest has it
	Label       Text   // its name for people
	Description Text
	Status      PluginStatus
	Debug       bool            // connected by its developer, not installed
	Source      string          // "local", "github", "marketplace", "debug"
	InstallInfo json.RawMessage // where it came from, as the server tells it; differs by source and release
	Components  []Component
	Manifest    json.RawMessage // the whole of manifest.yaml, as JSON; secrets in it are masked from 4.10.7 on
}

// A PluginStatus is the state of a plugin's process. Other values than the constants are passed through.
type PluginStatus string

// What releases 4.6.0 to 4.11.2 answer. Only PluginInitialized means that the plugin works.
const (
	PluginUnmounted   PluginStatus = "unmounted"
	PluginMounted     PluginStatus = "mounted" // its process is there, and starting or failing
	PluginInitialized PluginStatus = "initialized"
)

// A Component is one part of a plugin.
type Component struct {
	Kind string // "Tool", "Command", "EventListener", …
	Name string
}

// A Text is one text in several languages, by codes like en_US and zh_Hans.
type Text map[string]string

// In returns the text in the language lang ("zh_Hans" and "zh-Hans" are the same, "zh" takes any Chinese), else in
// English, else in any language; empty only if there is no text.
func (t Text) In(lang string) string {
	lang = strings.ReplaceAll(lang, "-", "_")
	if text, ok := t[lang]; ok {
		return text
	}
	short, _, _ := strings.Cut(lang, "_")
	languages := make([]string, 0, len(t))
	for l := range t {
		languages = append(languages, l)
	}
	slices.Sort(languages)
	for _, want := range []string{short, "en"} {
		for _, l := range languages {
			if want != "" && (l == want || strings.HasPrefix(l, want+"_")) {
				return t[l]
			}
		}
	}
	if len(languages) == 0 {
		return ""
	}
	return t[languages[0]]
}

// wirePlugins are the data of a list, nil if it holds none.
type wirePlugins []Plugin

// ReadJSON implements envelope.Reader.
func (w *wirePlugins) ReadJSON(data []byte) {
	const usual = 1024 // bytes of a plugin, to make room for about as many as there are
	list := envelope.Field(data, "plugins")
	if !bytes.HasPrefix(list, []byte("[")) {
		return
	}
	plugins := make(wirePlugins, 0, min(len(list)/usual+1, maxItems))
	for item := range envelope.Items(list) {
		if item[0] != '{' || len(plugins) == maxItems {
			return // what is no plugin must not pass for one
		}
		plugins = append(plugins, readPlugin(item))
	}
	*w = plugins
}

// maxItems bounds a list: an empty object costs a server two bytes, and the client a hundred times as many.
const maxItems = 100_000

func (w *wirePlugins) missing() string {
	if *w == nil { // not the same as none
		return "plugins"
	}
	return ""
}

// wirePlugin is the data of one plugin.
type wirePlugin struct {
	Plugin
	told bool // the answer holds one
}

// ReadJSON implements envelope.Reader.
func (w *wirePlugin) ReadJSON(data []byte) {
	one := envelope.Field(data, "plugin")
	w.Plugin, w.told = readPlugin(one), bytes.HasPrefix(one, []byte("{"))
}

func (w *wirePlugin) missing() string {
	if !w.told {
		return "plugin"
	}
	return ""
}

// readPlugin reads a plugin: nested since 4.3.0, flat before. Nothing in it can be relied on: a manifest may hold
// anything, and a version that YAML takes for a number is one here.
func readPlugin(data []byte) (p Plugin) {
	for key, value := range envelope.Members(data) {
		switch string(key) {
		case "manifest":
			if file := envelope.Field(value, "manifest"); bytes.HasPrefix(file, []byte("{")) {
				p.Manifest = bytes.Clone(file)
				p.readMetadata(envelope.Field(file, "metadata"))
			}
		case "status":
			p.Status = PluginStatus(envelope.Text(value))
		case "debug":
			p.Debug = string(value) == "true"
		case "install_source":
			p.Source = envelope.Text(value)
		case "install_info":
			p.InstallInfo = bytes.Clone(value)
		case "components":
			p.Components = readComponents(value)
		}
	}
	if p.Manifest == nil {
		p.readMetadata(data)
	}
	return p
}

func (p *Plugin) readMetadata(data []byte) {
	for key, value := range envelope.Members(data) {
		switch string(key) {
		case "author":
			p.ID.Author = envelope.Text(value)
		case "name":
			p.ID.Name = envelope.Text(value)
		case "version":
			p.Version = envelope.Text(value)
		case "label":
			p.Label = readText(value)
		case "description":
			p.Description = readText(value)
		}
	}
}

// readText reads an object of texts, or one text without a language.
func readText(data []byte) Text {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return Text{"": envelope.Text(data)}
	}
	var t Text
	for lang, text := range envelope.Members(data) {
		if t == nil {
			t = Text{}
		}
		t[string(lang)] = envelope.Text(text)
	}
	return t
}

func readComponents(data []byte) (components []Component) {
	for item := range envelope.Items(data) {
		file := envelope.Field(item, "manifest", "manifest")
		components = append(components, Component{
			Kind: envelope.Text(envelope.Field(file, "kind")),
			Name: envelope.Text(envelope.Field(file, "metadata", "name")),
		})
	}
	return components
}
