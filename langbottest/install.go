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
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/langbot-go/langbot/lbpkg"
)

// An archive is an entry of the marketplace.
type archive struct {
	pkg  *lbpkg.Package
	data []byte
}

// A release is one file of a GitHub release.
type release struct {
	owner, repo, tag, file string
	id, asset              int64
	archive
}

// AddMarketplace offers a plugin on the marketplace, by its archive. The one added last is the newest. It panics if that
// is no good package.
func (s *Server) AddMarketplace(pkg []byte) {
	added := mustParse("AddMarketplace", pkg)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.marketplace = append(s.state.marketplace, added)
}

// AddGitHub offers a plugin archive as a file of a GitHub release, and returns GitHub's numbers of release and file. A
// release may have several files. It panics if pkg is no good package.
func (s *Server) AddGitHub(owner, repo, tag, file string, pkg []byte) (releaseID, assetID int64) {
	added := mustParse("AddGitHub", pkg)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	n := int64(len(s.state.github) + 1)
	releaseID, assetID = 1000+n, 2000+n
	for _, r := range s.state.github {
		if r.owner == owner && r.repo == repo && r.tag == tag {
			releaseID = r.id
		}
	}
	s.state.github = append(s.state.github, release{owner, repo, tag, file, releaseID, assetID, added})
	return releaseID, assetID
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

var (
	gitHubOwner = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}$`)
	gitHubRepo  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

func (s *Server) installGitHub(c *call) answer {
	body, valid := c.json()
	if !valid {
		return internalError()
	}
	text := func(key string) string { v, _ := body[key].(string); return strings.TrimSpace(v) }
	owner, repo, tag := text("owner"), text("repo"), text("release_tag")
	releaseID, assetID := positive(body["release_id"]), positive(body["asset_id"])
	if why := refuseGitHub(owner, repo, tag, text("asset_url"), body); why != "" {
		return refusal(400, -1, why)
	}
	in := installation{op: "POST /api/v1/plugins/install/github", source: "github", label: "Installing plugin from GitHub " + owner + "/" + repo + "@" + tag,
		subject: owner + "/" + repo, info: map[string]any{"owner": owner, "repo": repo, "release_tag": tag,
			"github_url": "https://github.com/" + owner + "/" + repo, "release_id": releaseID, "asset_id": assetID}}
	r, found := s.state.onGitHub(func(r release) bool {
		return r.id == releaseID && r.asset == assetID && r.owner == owner && r.repo == repo
	})
	if found {
		in.pkg, in.data = r.pkg, r.data
	} else {
		id := "None" // without numbers LangBot asks for this, and always fails
		if releaseID > 0 {
			id = fmt.Sprint(releaseID)
		}
		in.refused = "Client error '404 Not Found' for url 'https://api.github.com/repos/" + owner + "/" + repo + "/releases/" + id + "'"
	}
	return s.install(c, in)
}

// positive reads a number, also one in a string; 0 is none.
func positive(v any) int64 {
	id, err := strconv.ParseInt(strings.TrimSpace(fmt.Sprint(v)), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// refuseGitHub is the first rule that a body breaks, in LangBot's order and words.
func refuseGitHub(owner, repo, tag, asset string, body map[string]any) string {
	switch {
	case !gitHubOwner.MatchString(owner):
		return "owner must be a valid GitHub repository owner"
	case !gitHubRepo.MatchString(repo):
		return "repo must be a valid GitHub repository name"
	case tag == "" || len(tag) > 255 || strings.Contains(tag, "\x00"):
		return "release_tag must identify a GitHub release"
	case (body["release_id"] == nil) != (body["asset_id"] == nil):
		return "release_id and asset_id must be provided together"
	case body["release_id"] != nil && positive(body["release_id"]) <= 0:
		return "release_id must be a positive GitHub identifier"
	case body["asset_id"] != nil && positive(body["asset_id"]) <= 0:
		return "asset_id must be a positive GitHub identifier"
	case body["release_id"] != nil:
		return ""
	}
	u, err := url.Parse(asset)
	prefix := "/" + owner + "/" + repo + "/releases/download/" + tag + "/"
	switch {
	case err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "github.com") || u.User != nil || u.Fragment != "":
		return "asset_url must be an HTTPS GitHub release asset URL"
	case !strings.HasPrefix(u.Path, prefix):
		return "asset_url does not match the requested GitHub release"
	case strings.HasSuffix(u.Path, "/"):
		return "asset_url must identify a GitHub release asset"
	}
	return ""
}

func (st *state) onGitHub(fits func(release) bool) (release, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, r := range st.github {
		if fits(r) {
			return r, true
		}
	}
	return release{}, false
}

var repoURL = regexp.MustCompile(`^(?:https?://)?github\.com/([^/]+)/([^/]+?)(?:\.git)?/?$`)

func (s *Server) gitHubReleases(c *call) answer {
	body, valid := c.json()
	if !valid || body == nil {
		return internalError()
	}
	address, _ := body["repo_url"].(string)
	m := repoURL.FindStringSubmatch(address)
	if m == nil {
		return refusal(400, -1, "Invalid GitHub repository URL")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	releases, seen := []any{}, []int64{}
	for _, r := range s.state.github {
		if r.owner == m[1] && r.repo == m[2] && !slices.Contains(seen, r.id) {
			seen = append(seen, r.id)
			releases = append(releases, map[string]any{"id": r.id, "tag_name": r.tag, "name": r.tag, "published_at": stamp(c.now), "prerelease": false, "draft": false})
		}
	}
	if len(releases) == 0 {
		return internalError() // GitHub's 404
	}
	return ok(map[string]any{"releases": releases, "owner": m[1], "repo": m[2], "source_subdir": ""})
}

func (s *Server) gitHubReleaseAssets(c *call) answer {
	body, valid := c.json()
	if !valid || body == nil {
		return internalError()
	}
	owner, _ := body["owner"].(string)
	repo, _ := body["repo"].(string)
	id := positive(body["release_id"])
	if owner == "" || repo == "" || id == 0 {
		return refusal(400, -1, "Missing required parameters")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	var assets []any
	for _, r := range s.state.github {
		if r.owner == owner && r.repo == repo && r.id == id {
			assets = append(assets, map[string]any{"id": r.asset, "name": r.file, "size": len(r.data), "content_type": "application/zip",
				"download_url": "https://github.com/" + owner + "/" + repo + "/releases/download/" + url.PathEscape(r.tag) + "/" + url.PathEscape(r.file)})
		}
	}
	if assets == nil {
		return internalError() // GitHub's 404
	}
	return ok(map[string]any{"assets": assets})
}
