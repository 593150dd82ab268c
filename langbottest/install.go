package langbottest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"regexp"
	"strings"

	"github.com/langbot-go/langbot/lbpkg"
)

// An archive is an entry of the marketplace.
type archive struct {
	pkg  *lbpkg.Package
	data []byte
}

// AddMarketplace offers a plugin on the marketplace, by its archive. The one added last is the newest. It panics if that
// is no good package.
func (s *Server) AddMarketplace(pkg []byte) {
	added := mustParse("AddMarketplace", pkg)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.marketplace = append(s.state.marketplace, added)
}

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

// An installation is what the three routes have in common.
type installation struct {
	op, source, label, subject string
	info                       map[string]any
	data                       []byte
	pkg                        *lbpkg.Package
	refused                    string // why the task fails, when it does before the script's end
}

func (s *Server) install(c *call, in installation) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	t := &task{
		name:    "plugin-install-" + in.source,
		label:   in.label,
		script:  s.state.script(in.op, installSteps(in.source != "local")),
		meta:    map[string]any{"plugin_name": in.subject, "install_source": in.source, "download_total": 0, "download_current": 0, "download_speed": 0},
		refused: in.refused,
		final:   "plugin installed",
	}
	if in.refused != "" {
		t.script = Script{Steps: []Step{{Action: "validating plugin package", Percent: 32, For: quick}}}
		return s.state.begin(c, t)
	}
	t.plugin = in.pkg.Author() + "/" + in.pkg.Name()
	t.row = s.state.row(in.pkg.Author(), in.pkg.Name())
	t.meta["plugin_name"] = t.plugin
	if requirements := in.pkg.Requirements(); requirements != nil {
		t.meta["deps_total"], t.meta["deps_list"] = len(requirements), requirements
	}
	info := certified(in.info, in.data)
	t.apply = func(end End) {
		switch end.kind {
		case succeed:
			s.state.put(in.pkg, in.source, info, t.end(), true)
		case failToStart:
			s.state.put(in.pkg, in.source, info, t.end(), false)
		}
	}
	return s.state.begin(c, t)
}

func localInfo() map[string]any { return map[string]any{"administrator_force": false} }

// certified adds what LangBot 4.11 keeps of every archive.
func certified(info map[string]any, data []byte) map[string]any {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	out := maps.Clone(info)
	out["_artifact_storage"] = "tenant_binary_storage_v1"
	out["_certification"] = map[string]any{
		"admission_code": "CERTIFIED_PLUGIN_OSS_LEGACY_DEDICATED", "artifact_digest": digest, "normalized_digest": digest,
		"certificate_component_model": nil, "certificate_id": nil, "certificate_runtime_profile": nil, "runtime_profile": "dedicated",
		"verification": "absent",
	}
	return out
}

func (s *Server) installLocal(c *call) answer {
	data, fileName, found := filePart(c)
	if !found {
		return refusal(400, -1, "file is required")
	}
	in := installation{op: "POST /api/v1/plugins/install/local", source: "local", label: "Installing plugin from local " + fileName,
		subject: fileName, info: localInfo(), data: data}
	in.read(data)
	return s.install(c, in)
}

// read opens the archive. What is wrong with it shows in the task, in LangBot's words.
func (in *installation) read(data []byte) {
	pkg, err := lbpkg.Parse(data)
	var rule *lbpkg.Error
	switch {
	case err == nil:
		in.pkg = pkg
	case errors.As(err, &rule):
		in.refused = verdict(rule)
	default:
		in.refused = err.Error()
	}
}

// verdict is what a task of LangBot 4.11.2 says of a broken rule.
func verdict(e *lbpkg.Error) string {
	switch e.Rule {
	case "zip":
		if e.Entry != "" {
			return fmt.Sprintf("BadZipFile: Bad CRC-32 for file '%s'", e.Entry)
		}
		return "archive has no valid ZIP end-of-central-directory record"
	case "kind":
		return "ValueError: Plugin artifact manifest must have kind=Plugin"
	case "version":
		return "ValueError: Plugin artifact manifest identity is incomplete"
	case "symlink":
		return "ValueError: Plugin artifact must not contain symbolic links: " + e.Entry
	case "file type":
		return "ValueError: Plugin artifact contains a non-regular entry: " + e.Entry
	case "requirements":
		return "Plugin installation " + newUUID() + " failed [dependency_prepare_failed]: Artifact requirements.txt contains an invalid requirement"
	case "label", "description", "spec", "execution", "apiVersion", "component folder":
		return "Plugin failed to start after installation. Dependency installation or plugin initialization may have failed. " +
			"Please check the plugin requirements and runtime logs."
	}
	return "Plugin package manifest identity is missing"
}

// filePart reads the form's part "file". Without a file name LangBot does not see it.
func filePart(c *call) (data []byte, name string, found bool) {
	media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return nil, "", false
	}
	form := multipart.NewReader(bytes.NewReader(c.body), params["boundary"])
	for {
		part, err := form.NextRawPart()
		if err != nil {
			return nil, "", false
		}
		_, disposition, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		name, hasName := disposition["filename"]
		if err != nil || part.FormName() != "file" || !hasName {
			continue
		}
		data, err := io.ReadAll(part)
		return data, name, err == nil
	}
}

func (s *Server) installMarketplace(c *call) answer {
	body, valid := c.json()
	if !valid || body == nil {
		return internalError()
	}
	author, _ := body["plugin_author"].(string)
	name, _ := body["plugin_name"].(string)
	in := installation{op: "POST /api/v1/plugins/install/marketplace", source: "marketplace",
		label: "Installing plugin from marketplace " + author + "/" + name, subject: author + "/" + name, info: body}
	found, why := s.state.inMarketplace(author, name, body["plugin_version"])
	if in.refused = why; why == "" {
		in.pkg, in.data = found.pkg, found.data
		body["plugin_version"] = found.pkg.Version()
	}
	return s.install(c, in)
}

var versionText = regexp.MustCompile(`^[A-Za-z0-9._+-]+$`)

func (st *state) inMarketplace(author, name string, version any) (found archive, why string) {
	text, isText := version.(string)
	if version != nil && (!isText || text != "" && !versionText.MatchString(text)) {
		return found, "Invalid plugin version"
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, a := range st.marketplace {
		if a.pkg.Author() == author && a.pkg.Name() == name && (text == "" || a.pkg.Version() == text) {
			found = a
		}
	}
	switch {
	case found.pkg != nil:
		return found, ""
	case text != "":
		return found, "The requested plugin version is not available"
	}
	return found, "Client error '404 Not Found' for url 'https://space.test/api/v1/marketplace/plugins/" + author + "/" + name + "/versions'"
}
