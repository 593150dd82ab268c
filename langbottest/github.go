package langbottest

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A gitHubFile is one file of a GitHub release.
type gitHubFile struct {
	owner, repo, tag, name string
	release, asset         int64
	published              time.Time
	data                   []byte
}

func (f gitHubFile) url() string {
	return "https://github.com/" + f.owner + "/" + f.repo + "/releases/download/" + url.PathEscape(f.tag) + "/" + url.PathEscape(f.name)
}

// AddGitHub offers a plugin archive as a file of a GitHub release, and returns GitHub's numbers of release and file. A
// release may have several files. Without any, the server cannot reach GitHub. It panics if pkg is no good package.
func (s *Server) AddGitHub(owner, repo, tag, file string, pkg []byte) (releaseID, assetID int64) {
	added := mustParse("AddGitHub", pkg)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	n := int64(len(s.state.github) + 1)
	releaseID, assetID = 1000+n, 2000+n
	for _, f := range s.state.github {
		if f.owner == owner && f.repo == repo && f.tag == tag {
			releaseID = f.release
		}
	}
	s.state.github = append(s.state.github, gitHubFile{owner, repo, tag, file, releaseID, assetID, s.state.clock(), added.data})
	return releaseID, assetID
}

var (
	gitHubOwner = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}$`)
	gitHubRepo  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

const notResolved = "[Errno -2] Name or service not known"

func (s *Server) installGitHub(c *call) answer {
	value, refused := s.installBody(c)
	if refused != nil {
		return *refused
	}
	fields, isObject := value.(map[string]any)
	switch {
	case s.profile.has(gitHubNumbers):
		return s.installByNumbers(c, fields)
	case !isObject:
		return s.failure(c, "'"+pythonType(value)+"' object has no attribute 'get'")
	}
	return s.installByAddress(c, fields)
}

// installByAddress: up to 4.10.6 any address is downloaded.
func (s *Server) installByAddress(c *call, fields map[string]any) answer {
	address, owner, repo, tag := text(fields["asset_url"]), text(fields["owner"]), text(fields["repo"]), text(fields["release_tag"])
	if address == "" {
		return refusal(400, -1, "Missing asset_url parameter")
	}
	in := gitHubInstallation(s, owner, repo, tag)
	in.info["asset_url"] = address
	file, why := s.state.onGitHub(func(f gitHubFile) bool { return f.url() == address })
	if why != "" {
		in.exception = "Failed to download file from GitHub: " + why
		if why == notFoundOnGitHub {
			in.exception = "Failed to download file from GitHub: Client error '404 Not Found' for url '" + address + "'" + mdn + "404"
		}
		return s.install(c, in)
	}
	return s.installFile(c, in, file)
}

func gitHubInstallation(s *Server, owner, repo, tag string) *installation {
	return &installation{op: opGitHub, source: "github", label: s.label("GitHub", owner+"/"+repo+"@"+tag), subject: owner + "/" + repo,
		info: map[string]any{"owner": owner, "repo": repo, "release_tag": tag, "github_url": "https://github.com/" + owner + "/" + repo}}
}

func (s *Server) installFile(c *call, in *installation, file gitHubFile) answer {
	in.data, in.sent = file.data, file.data
	if s.profile.has(taskMetadata) {
		in.download = downloaded(file.data, len(file.data))
	}
	return s.install(c, in)
}

// installByNumbers: from 4.10.7 on the numbers of release and file count. Without them LangBot asks for the release None.
func (s *Server) installByNumbers(c *call, fields map[string]any) answer {
	part := func(key string) string { v, _ := fields[key].(string); return strings.TrimSpace(v) }
	owner, repo, tag := part("owner"), part("repo"), part("release_tag")
	if why := refuseGitHub(owner, repo, tag, part("asset_url"), fields); why != "" {
		return refusal(400, -1, why)
	}
	in := gitHubInstallation(s, owner, repo, tag)
	release, asset := positive(fields["release_id"]), positive(fields["asset_id"])
	if in.info["release_id"], in.info["asset_id"] = release, asset; release == 0 {
		in.info["release_id"], in.info["asset_id"], in.info["asset_url"] = nil, nil, part("asset_url")
	}
	file, why := s.state.onGitHub(func(f gitHubFile) bool {
		return f.owner == owner && f.repo == repo && f.release == release && f.asset == asset
	})
	if why == "" {
		return s.installFile(c, in, file)
	}
	if in.exception = why; why == notFoundOnGitHub {
		in.exception = s.state.notOnGitHub(owner, repo, release)
	}
	if s.profile.has(taskProgress) {
		in.failsAt = prepares
	}
	return s.install(c, in)
}

// notOnGitHub is why a file is not there: its release is not, or it is of another.
func (st *state) notOnGitHub(owner, repo string, release int64) string {
	if _, why := st.onGitHub(func(f gitHubFile) bool { return f.owner == owner && f.repo == repo && f.release == release }); why == "" {
		return "GitHub release asset does not belong to the requested release"
	}
	number := "None"
	if release > 0 {
		number = strconv.FormatInt(release, 10)
	}
	return "Client error '404 Not Found' for url 'https://api.github.com/repos/" + owner + "/" + repo + "/releases/" + number + "'" + mdn + "404"
}

// positive reads a number, also one in a string; 0 is none.
func positive(v any) int64 {
	n, isNumber := pythonInt(text(v))
	if !isNumber || n < 0 {
		return 0
	}
	return n
}

// refuseGitHub is the first rule that a body breaks, in LangBot's order and words.
func refuseGitHub(owner, repo, tag, asset string, fields map[string]any) string {
	release, number := fields["release_id"], fields["asset_id"]
	switch {
	case !gitHubOwner.MatchString(owner):
		return "owner must be a valid GitHub repository owner"
	case !gitHubRepo.MatchString(repo):
		return "repo must be a valid GitHub repository name"
	case tag == "" || len(tag) > 255 || strings.Contains(tag, "\x00"):
		return "release_tag must identify a GitHub release"
	case (release == nil) != (number == nil):
		return "release_id and asset_id must be provided together"
	case release != nil && positive(release) <= 0:
		return "release_id must be a positive GitHub identifier"
	case number != nil && positive(number) <= 0:
		return "asset_id must be a positive GitHub identifier"
	case release != nil:
		return ""
	}
	return refuseAssetURL(asset, "/"+owner+"/"+repo+"/releases/download/"+tag+"/")
}

func refuseAssetURL(asset, prefix string) string {
	u, err := url.Parse(asset)
	switch {
	case err != nil && errors.As(err, new(*url.Error)) && strings.Contains(err.Error(), "port"):
		return "asset_url has an invalid port"
	case err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "github.com") || u.User != nil || u.Fragment != "":
		return "asset_url must be an HTTPS GitHub release asset URL"
	case !strings.HasPrefix(u.Path, prefix):
		return "asset_url does not match the requested GitHub release"
	case strings.HasSuffix(u.Path, "/"):
		return "asset_url must identify a GitHub release asset"
	}
	return ""
}

const notFoundOnGitHub = "404"

// onGitHub finds a file, or says why it cannot be had.
func (st *state) onGitHub(fits func(gitHubFile) bool) (file gitHubFile, why string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	i := slices.IndexFunc(st.github, fits)
	switch {
	case i >= 0:
		return st.github[i], ""
	case len(st.github) == 0:
		return file, notResolved
	}
	return file, notFoundOnGitHub
}

var repoURL = regexp.MustCompile(`^(?:https?://)?github\.com/([^/]+)/([^/]+?)(?:\.git)?/?$`)

func (s *Server) gitHubReleases(c *call) answer {
	fields, refused := s.object(c)
	if refused != nil {
		return *refused
	}
	m := repoURL.FindStringSubmatch(text(fields["repo_url"]))
	if m == nil {
		return refusal(400, -1, "Invalid GitHub repository URL")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	releases, seen := []any{}, []int64{}
	for _, f := range slices.Backward(s.state.github) {
		if f.owner == m[1] && f.repo == m[2] && !slices.Contains(seen, f.release) {
			seen = append(seen, f.release)
			releases = append(releases, map[string]any{"id": f.release, "tag_name": f.tag, "name": f.tag,
				"published_at": f.published.UTC().Format(time.RFC3339), "prerelease": false, "draft": false})
		}
	}
	if len(releases) == 0 {
		return s.gitHubFailure(c, "Failed to fetch releases: ")
	}
	found := map[string]any{"releases": releases, "owner": m[1], "repo": m[2]}
	if s.profile.has(marketplaceByHost) {
		found["source_subdir"] = ""
	}
	return ok(found)
}

// gitHubFailure answers what GitHub does not have, or GitHub that cannot be reached.
func (s *Server) gitHubFailure(c *call, what string) answer {
	switch {
	case s.profile.has(errorCodes):
		return s.failure(c, "")
	case len(s.state.github) == 0:
		return refusal(500, -1, what+notResolved)
	}
	return s.failure(c, "Client error '404 Not Found' for url 'https://api.github.com/…'")
}

func (s *Server) gitHubReleaseAssets(c *call) answer {
	fields, refused := s.object(c)
	if refused != nil {
		return *refused
	}
	owner, repo, id := text(fields["owner"]), text(fields["repo"]), positive(fields["release_id"])
	if owner == "" || repo == "" || fields["release_id"] == nil || id == 0 {
		return refusal(400, -1, "Missing required parameters")
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	var assets []any
	for _, f := range s.state.github {
		if f.owner == owner && f.repo == repo && f.release == id {
			assets = append(assets, map[string]any{"id": f.asset, "name": f.name, "size": len(f.data), "content_type": "application/zip", "download_url": f.url()})
		}
	}
	if assets == nil {
		return s.gitHubFailure(c, "Failed to fetch release assets: ")
	}
	return ok(map[string]any{"assets": assets})
}
