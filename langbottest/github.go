package langbottest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A release is one file of a GitHub release.
type release struct {
	owner, repo, tag, file string
	id, asset              int64
	archive
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
