package lbpkg

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A manifest is what was read from manifest.yaml.
type manifest struct {
	asJSON                json.RawMessage
	author, name, version string
	componentDirs         []string
}

func checkManifest(entries []*zip.File, files map[string]*zip.File) (*manifest, error) {
	f := files[manifestName]
	if f == nil {
		return nil, &Error{Rule: "manifest", Reason: missingManifest(entries, files)}
	}
	raw, err := readEntry(f)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	return m, m.foldersExist(entries)
}

// foldersExist wants every folder that the manifest names for components: without it the plugin does not start.
func (m *manifest) foldersExist(entries []*zip.File) error {
	for _, dir := range m.componentDirs {
		if !slices.ContainsFunc(entries, func(f *zip.File) bool {
			name, _ := portable(f)
			return strings.HasPrefix(name+"/", dir+"/") && (isDir(f) || name != dir)
		}) {
			return &Error{Entry: dir, Rule: "component folder", Reason: "the manifest names it, and it is missing"}
		}
	}
	return nil
}

// missingManifest says what the archive is instead of a package.
func missingManifest(entries []*zip.File, files map[string]*zip.File) string {
	var inside, packages []string
	for name := range files {
		switch {
		case path.Base(name) == manifestName && strings.Count(name, "/") == 1:
			inside = append(inside, path.Dir(name))
		case strings.HasSuffix(name, ".lbpkg"):
			packages = append(packages, name)
		case strings.EqualFold(name, manifestName), strings.EqualFold(name, "manifest.yml"):
			return fmt.Sprintf("the manifest is called %q, it must be called manifest.yaml", name)
		}
	}
	switch {
	case len(inside) == 1:
		return fmt.Sprintf("manifest.yaml lies in the folder %q: pack the content of the folder, not the folder", inside[0])
	case len(packages) == 1:
		return fmt.Sprintf("the archive holds a package, %q, instead of being one: unpack it first", packages[0])
	case files["main.py"] != nil || files["__init__.py"] != nil:
		return "there is no manifest.yaml: this is a plugin for LangBot before 4.3, which newer ones cannot run"
	case len(entries) == 0:
		return "the archive is empty"
	}
	return "there is no manifest.yaml"
}

// parseManifest reads a manifest as LangBot does: as YAML 1.1, in which unquoted 1.10, no, 2024-01-01 and 1:30 are no
// strings.
func parseManifest(raw []byte) (*manifest, error) {
	text, err := decodeText(raw, manifestName)
	if err != nil {
		return nil, err
	}
	root, err := parseYAML(text)
	if err != nil {
		return nil, refuse("manifest", "it cannot be read as YAML: %v", err)
	}
	if _, ok := root.(map[string]any); !ok {
		return nil, refuse("manifest", "it must be a YAML mapping")
	}
	if kind := field(root, "kind"); kind != "Plugin" {
		return nil, refuse("kind", "it must be Plugin")
	}
	m := &manifest{}
	if err := m.identity(field(root, "metadata")); err != nil {
		return nil, err
	}
	if err := m.startable(root); err != nil {
		return nil, err
	}
	m.asJSON, err = json.Marshal(root)
	return m, err
}

func refuse(rule, format string, args ...any) error {
	return &Error{Entry: manifestName, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// identity reads author, name and version.
func (m *manifest) identity(metadata any) error {
	if _, ok := metadata.(map[string]any); !ok {
		return refuse("metadata", "it must be a mapping with author, name and version")
	}
	for _, f := range []struct {
		key string
		to  *string
	}{{"author", &m.author}, {"name", &m.name}, {"version", &m.version}} {
		value, ok := field(metadata, f.key).(string)
		if !ok {
			return refuse(f.key, "metadata.%s must be a string: quote it", f.key)
		}
		if strings.TrimSpace(value) == "" {
			return refuse(f.key, "metadata.%s is empty", f.key)
		}
		*f.to = value
	}
	for key, part := range map[string]string{"author": m.author, "name": m.name} {
		if reason := unaddressable(part); reason != "" {
			return refuse(key, "%q %s", part, reason)
		}
	}
	return nil
}

// unaddressable says why a plugin of this author or name could be installed, and then neither read nor removed.
func unaddressable(part string) string {
	switch {
	case strings.Contains(part, "/"):
		return "has a slash: no URL would reach the plugin"
	case part == "." || part == "..":
		return "is a path of its own: no URL would reach the plugin"
	case strings.TrimSpace(part) != part:
		return "begins or ends with a blank"
	case strings.ContainsFunc(part, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

// startable checks what the server needs only when it starts the plugin: without it the task fails after 30 seconds.
func (m *manifest) startable(root any) error {
	if _, ok := root.(map[string]any)["apiVersion"]; !ok {
		return refuse("apiVersion", "it is missing: v1")
	}
	if _, ok := field(root, "metadata", "label", "en_US").(string); !ok {
		return refuse("label", "metadata.label must be a mapping with at least en_US")
	}
	if description := field(root, "metadata", "description"); description != nil {
		if _, ok := field(description, "en_US").(string); !ok {
			return refuse("description", "metadata.description must be a mapping with at least en_US")
		}
	}
	components, ok := field(root, "spec", "components").(map[string]any)
	if !ok {
		return refuse("spec", "spec.components must be a mapping, which may be empty")
	}
	m.componentDirs = componentDirs(components)
	for _, key := range []string{"path", "attr"} {
		if _, ok := field(root, "execution", "python", key).(string); !ok {
			return refuse("execution", "execution.python.%s must be a string", key)
		}
	}
	return nil
}

// componentDirs are the folders that the manifest names: spec.components.KIND.fromDirs[].path.
func componentDirs(components map[string]any) (dirs []string) {
	for _, kind := range components {
		from, _ := field(kind, "fromDirs").([]any)
		for _, entry := range from {
			if dir, ok := field(entry, "path").(string); ok && path.Clean(dir) != "." {
				dirs = append(dirs, path.Clean(dir))
			}
		}
	}
	slices.Sort(dirs)
	return dirs
}

// decodeText wants UTF-8, with or without a byte order mark, and names the encoding that it is instead.
func decodeText(raw []byte, entry string) ([]byte, error) {
	text := bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	switch {
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}), bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		return nil, &Error{Entry: entry, Rule: "encoding", Reason: "it is UTF-16, must be UTF-8"}
	case !utf8.Valid(text):
		return nil, &Error{Entry: entry, Rule: "encoding", Reason: "it is not UTF-8 (GBK or Latin-1?)"}
	}
	return text, nil
}
