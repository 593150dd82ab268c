package lbpkg

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// ParseUnchecked reads the archive data without judging it: what it says of itself, as far as that can be told. Author,
// name and version are empty where they are missing or no strings. It is for programs that show or test archives which no
// server installs, and for servers that take what the newest refuses; a server may be ruined by one (see [Parse]).
//
// An archive that is no zip archive, or whose manifest is no YAML, is an [*Error] all the same.
func ParseUnchecked(data []byte) (*Package, error) {
	data = bytes.Clone(data)
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, &Error{Rule: "zip", Reason: "it is no zip archive: " + err.Error()}
	}
	files := map[string]*zip.File{}
	for _, f := range archive.File {
		if name, _ := portable(f); name != "" {
			files[name] = f // of two the last one, as for Python
		}
	}
	p := &Package{manifest: &manifest{}, size: int64(len(data)), open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
	if err := p.manifest.readUnchecked(files[manifestName]); err != nil {
		return nil, err
	}
	p.requirements = readRequirements(files[requirementsName])
	p.components = readComponents(p.manifest.componentDirs, files)
	return p, nil
}

// readUnchecked reads what there is of a manifest.
func (m *manifest) readUnchecked(f *zip.File) error {
	if f == nil {
		return nil
	}
	raw, err := readEntry(f)
	if err != nil {
		return err
	}
	text, err := decodeText(raw, manifestName)
	if err != nil {
		return err
	}
	root, err := parseYAML(text)
	if err != nil {
		return refuse("manifest", "it cannot be read as YAML: %v", err)
	}
	m.author, _ = field(root, "metadata", "author").(string)
	m.name, _ = field(root, "metadata", "name").(string)
	m.version, _ = field(root, "metadata", "version").(string)
	components, _ := field(root, "spec", "components").(map[string]any)
	m.componentDirs = componentDirs(components)
	m.asJSON, err = json.Marshal(root)
	return err
}

// readRequirements returns the lines of a requirements.txt that are none of comment; nil without such a file.
func readRequirements(f *zip.File) []string {
	if f == nil {
		return nil
	}
	raw, _ := readEntry(f) // what cannot be read asks for nothing
	requirements := []string{}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			requirements = append(requirements, line)
		}
	}
	return requirements
}
