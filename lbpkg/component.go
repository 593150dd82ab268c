package lbpkg

import (
	"archive/zip"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// A Component is the manifest of one part of a plugin, such as a tool.
type Component struct {
	Path     string          // of the manifest in the archive
	Kind     string          // "Tool", "Command", …
	Manifest json.RawMessage // as JSON
}

// readComponents finds the component manifests in the folders that the plugin names. What cannot be read as one is none,
// as for LangBot.
func readComponents(dirs []string, files map[string]*zip.File) (found []Component) {
	for name, f := range files {
		if strings.HasSuffix(name, ".yaml") && slices.Contains(dirs, path.Dir(name)) {
			if c, ok := readComponent(name, f); ok {
				found = append(found, c)
			}
		}
	}
	slices.SortFunc(found, func(a, b Component) int { return strings.Compare(a.Path, b.Path) })
	return found
}

func readComponent(name string, f *zip.File) (Component, bool) {
	raw, err := readEntry(f)
	if err != nil {
		return Component{}, false
	}
	text, err := decodeText(raw, name)
	if err != nil {
		return Component{}, false
	}
	root, err := parseYAML(text)
	if err != nil {
		return Component{}, false
	}
	kind, ok := field(root, "kind").(string)
	asJSON, err := json.Marshal(root)
	return Component{Path: name, Kind: kind, Manifest: asJSON}, ok && err == nil
}
