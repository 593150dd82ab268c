package langbottest

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/langbot-go/langbot/lbpkg"
)

// An archive is a package and its bytes.
type archive struct {
	pkg  *lbpkg.Package
	data []byte
}

func (a archive) id() string { return a.pkg.Author() + "/" + a.pkg.Name() }

func mustParse(method string, data []byte) archive {
	pkg, err := lbpkg.Parse(data)
	if err != nil {
		panic("langbottest: " + method + ": " + err.Error())
	}
	return archive{pkg, bytes.Clone(data)}
}

// Archive returns the archive of a small plugin, for tests that need one: lbpkg.Parse makes a package of it. It panics if
// the plugin could not be installed.
func Archive(author, name, version string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	for _, file := range [][2]string{
		{"manifest.yaml", "apiVersion: v1\nkind: Plugin\nmetadata:\n  author: " + quote(author) + "\n  name: " + quote(name) + "\n  version: " + quote(version) +
			"\n  label: {en_US: " + quote(name) + "}\nspec:\n  config: []\n  components: {}\nexecution:\n  python: {path: main.py, attr: Small}\n"},
		{"main.py", "from langbot_plugin.api.definition.plugin import BasePlugin\n\n\nclass Small(BasePlugin):\n    async def initialize(self):\n        pass\n"},
	} {
		entry, err := w.Create(file[0])
		if err == nil {
			_, err = entry.Write([]byte(file[1]))
		}
		if err != nil {
			panic("langbottest: Archive: " + err.Error()) // a buffer takes everything
		}
	}
	if err := w.Close(); err != nil {
		panic("langbottest: Archive: " + err.Error())
	}
	return mustParse("Archive", out.Bytes()).data
}

// A verdict is what a release makes of an archive that the newest does not install.
type verdict struct {
	exception string // the task's; empty: it is installed
	at        phase
	unread    bool // the host could not tell whose it is
	closed    bool // nor look into it
	kept      bool // the plugin is, though it does not run
	refused   bool // by the runtime, which it may ruin
	dead      bool // it cannot start
}

// judge reads an archive as the release does.
func (p profile) judge(data []byte) (archive, verdict) {
	pkg, err := lbpkg.Parse(data)
	if err == nil {
		return archive{pkg, data}, verdict{}
	}
	var broken *lbpkg.Error
	if !errors.As(err, &broken) {
		return archive{}, verdict{exception: err.Error(), at: validates}
	}
	pkg, unreadable := lbpkg.ParseUnchecked(data)
	if unreadable != nil {
		return archive{}, p.unreadable(broken)
	}
	a := archive{pkg, data}
	if !p.has(checkedPackages) {
		return a, p.olderVerdict(a, broken)
	}
	return a, p.verdict(a, broken)
}

const identityMissing = "Plugin package manifest identity is missing"

// unreadable is the verdict on what is no zip archive, or has a manifest that is none.
func (p profile) unreadable(e *lbpkg.Error) verdict {
	v := verdict{exception: identityMissing, at: validates}
	isZip := e.Rule != "zip" && e.Rule != "size"
	switch {
	case !p.has(checkedPackages) && isZip:
		v.exception = p.inRuntime("ParserError: " + e.Reason)
	case !p.has(checkedPackages):
		v.exception = p.inRuntime("BadZipFile: File is not a zip file")
	case p.has(zipText) && !isZip:
		v.exception = "archive has no valid ZIP end-of-central-directory record"
	}
	return v
}

// olderVerdict is that of releases up to 4.10.6: what Python cannot do without.
func (p profile) olderVerdict(a archive, e *lbpkg.Error) verdict {
	for _, key := range []string{"author", "name", "version"} {
		if e.Rule == key && strings.HasPrefix(e.Reason, "metadata.") && !mentioned(a, key) {
			return verdict{exception: p.inRuntime("KeyError: '" + key + "'"), at: validates}
		}
	}
	switch {
	case len(a.pkg.Manifest()) == 0:
		return verdict{exception: p.inRuntime(`KeyError: "There is no item named 'manifest.yaml' in the archive"`), at: validates}
	case e.Rule == "zip" && e.Entry != "":
		return verdict{exception: p.inRuntime(fmt.Sprintf("BadZipFile: Bad CRC-32 for file '%s'", e.Entry)), at: validates}
	case e.Rule == "metadata" || a.pkg.Author() == "" || a.pkg.Name() == "":
		return verdict{exception: p.inRuntime("KeyError: 'author'"), at: validates}
	case startRules[e.Rule], e.Rule == "version":
		return verdict{dead: true, kept: true}
	}
	return verdict{}
}

// mentioned reports whether the manifest has the key, whatever it is.
func mentioned(a archive, key string) bool {
	value, _ := decodeJSON(a.pkg.Manifest())
	fields, _ := value.(map[string]any)
	metadata, _ := fields["metadata"].(map[string]any)
	return metadata[key] != nil
}

// startRules are those that a plugin breaks only when it is started.
var startRules = map[string]bool{"label": true, "description": true, "spec": true, "execution": true, "apiVersion": true, "component folder": true}

// entryRules are about the archive itself.
var entryRules = map[string]bool{"entry name": true, "duplicate": true}

// verdict is that of releases from 4.10.7 on.
func (p profile) verdict(a archive, e *lbpkg.Error) verdict {
	refused := func(text string) verdict { return verdict{exception: text, at: starts, kept: true, refused: true} }
	switch {
	case e.Rule == "zip" && e.Entry != "":
		return verdict{exception: fmt.Sprintf("BadZipFile: Bad CRC-32 for file '%s'", e.Entry), at: validates}
	case e.Rule == "zip" && p.has(zipText):
		return verdict{exception: "archive has no valid ZIP end-of-central-directory record", at: validates, unread: true, closed: true}
	case entryRules[e.Rule] && p.has(entryNames):
		return verdict{exception: identityMissing, at: validates, unread: true, closed: true}
	case a.pkg.Author() == "" || a.pkg.Name() == "":
		return verdict{exception: identityMissing, at: validates, unread: true}
	case e.Rule == "author" || e.Rule == "name":
		return verdict{} // no URL reaches it, but it runs
	case entryRules[e.Rule]:
		return refused("ValueError: Plugin artifact contains an unsafe path: " + e.Entry)
	case e.Rule == "kind":
		return refused("ValueError: Plugin artifact manifest must have kind=Plugin")
	case e.Rule == "version" && mentioned(a, "version"), startRules[e.Rule]:
		return verdict{dead: true, kept: true}
	case e.Rule == "version":
		return refused("ValueError: Plugin artifact manifest identity is incomplete")
	case e.Rule == "symlink":
		return refused("ValueError: Plugin artifact must not contain symbolic links: " + e.Entry)
	case e.Rule == "file type":
		return refused("ValueError: Plugin artifact contains a non-regular entry: " + e.Entry)
	case e.Rule == "requirements":
		return verdict{exception: "Plugin installation " + newUUID() + " failed [dependency_prepare_failed]: Artifact requirements.txt contains an invalid requirement",
			at: starts, kept: true}
	}
	return verdict{exception: identityMissing, at: validates, unread: true, closed: true}
}

// inRuntime is an exception of the plugin runtime as the host tells it.
func (p profile) inRuntime(text string) string {
	if p.has(actionCallError) {
		return "ActionCallError: " + text
	}
	return text
}
