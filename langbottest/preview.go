package langbottest

import (
	"archive/zip"
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/langbot-go/langbot/lbpkg"
)

func (s *Server) preview(c *call) answer {
	data, name, refused := s.file(c)
	if refused != nil {
		return *refused
	}
	pkg, err := lbpkg.ParseUnchecked(data)
	var broken *lbpkg.Error
	switch isError := errors.As(err, &broken); {
	case isError && broken.Rule == "zip" && broken.Entry == "":
		return refusal(400, -1, s.previewText("File is not a zip file"))
	case err != nil && s.profile.has(errorCodes):
		return s.failure(c, "")
	case err != nil:
		return refusal(500, -1, "Failed to preview plugin package: "+broken.Reason)
	case len(pkg.Manifest()) == 0:
		return refusal(400, -1, "manifest.yaml is required")
	}
	if text := s.refusedPreview(data); text != "" {
		return refusal(400, -1, text)
	}
	return s.previewOf(pkg, data, name)
}

// previewText is what is wrong, where the release tells.
func (s *Server) previewText(text string) string {
	if s.profile.has(previewTexts) {
		return text
	}
	return "invalid .lbpkg file"
}

// refusedPreview is what a newer release finds wrong with an archive before it looks into its manifest.
func (s *Server) refusedPreview(data []byte) string {
	_, err := lbpkg.Parse(data)
	var broken *lbpkg.Error
	if err == nil || !errors.As(err, &broken) || !s.profile.has(previewTexts) {
		return ""
	}
	switch broken.Rule {
	case "entries":
		return "Plugin archive contains too many entries"
	case "entry size":
		return "Plugin archive entry exceeds the size limit: " + broken.Entry
	case "ratio":
		return "Plugin archive entry exceeds the compression-ratio limit: " + broken.Entry
	case "total size":
		return "Plugin archive exceeds the uncompressed size limit"
	case "encryption":
		return "Encrypted plugin archives are not supported"
	case "duplicate", "entry name":
		if s.profile.has(entryNames) {
			return entryText(broken)
		}
	}
	return ""
}

func entryText(e *lbpkg.Error) string {
	name := strings.ReplaceAll(e.Entry, `\`, "/")
	switch {
	case e.Rule == "duplicate":
		return "Plugin archive contains a duplicate entry: " + name
	case len(name) > 1 && name[1] == ':':
		return "Plugin archive entry uses a drive letter: " + name
	case strings.Trim(name, "./") == "":
		return "Plugin archive contains an empty entry path"
	}
	return "Plugin archive entry escapes the archive root: " + name
}

// previewOf is what an archive says of itself.
func (s *Server) previewOf(pkg *lbpkg.Package, data []byte, name string) answer {
	value, _ := decodeJSON(pkg.Manifest())
	manifest, isObject := value.(map[string]any)
	if !isObject {
		return refusal(400, -1, s.previewText("Plugin manifest must be an object"))
	}
	metadata, _ := manifest["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	kinds, counts := []string{}, map[string]int{}
	for _, component := range pkg.Components() {
		if counts[component.Kind]++; counts[component.Kind] == 1 {
			kinds = append(kinds, component.Kind)
		}
	}
	slices.Sort(kinds)
	requirements := pkg.Requirements()
	if requirements == nil {
		requirements = []string{}
	}
	if name == "" {
		name = "local plugin"
	}
	return ok(map[string]any{"filename": name, "size": len(data), "manifest": manifest, "metadata": metadata, "component_types": kinds,
		"component_counts": counts, "requirements": requirements, "file_count": fileCount(data)})
}

func fileCount(data []byte) (files int) {
	archive, _ := zip.NewReader(bytes.NewReader(data), int64(len(data))) // read before
	for _, f := range archive.File {
		if !f.FileInfo().IsDir() {
			files++
		}
	}
	return files
}
