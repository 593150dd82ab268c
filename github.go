// GitHub: releases of a repository and their files, and the installation of one.

package langbot

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/langbot-go/langbot/internal/envelope"
)

// The API of this file, in the order of its methods.
var (
	installGitHub       = endpoint{pattern: "POST /api/v1/plugins/install/github", effect: once, limited: notAboutGitHub}
	gitHubReleases      = endpoint{pattern: "POST /api/v1/plugins/github/releases", effect: repeatable}
	gitHubReleaseAssets = endpoint{pattern: "POST /api/v1/plugins/github/release-assets", effect: repeatable}
)

// latest is the tag that stands for the newest release.
const latest = "latest"

// notAboutGitHub tells the extension limit, whose text is in the server's language from 4.11.1 on, from a refusal of the
// body, whose text is English in every release.
func notAboutGitHub(message string) bool {
	for _, field := range []string{"owner ", "repo ", "release_", "asset_", "Missing asset_url"} {
		if strings.HasPrefix(message, field) {
			return false
		}
	}
	return true
}

// A GitHubAsset is one file of a GitHub release. Either ReleaseTag with Owner and Repo, or AssetURL, must be given; the
// rest is found out as far as the server needs it.
type GitHubAsset struct {
	Owner      string
	Repo       string
	ReleaseTag string // letter case counts; "latest": the release with that tag, or else the newest one that is neither a draft nor a pre-release
	AssetURL   string // the file's download address; a mirror only up to 4.10.6. Empty: the release's one .lbpkg file
	ReleaseID  int64  // GitHub's numbers of the release and the file: both or neither
	AssetID    int64

	Name string // of the file, and its bytes: told by GitHubReleaseAssets, not needed to install it
	Size int64
}

// InstallGitHub has the server download and install a file of a GitHub release. Releases from 4.10.7 on need GitHub's
// numbers of release and file: if they are not given, the server itself is asked for them, and for its version, to know
// whether it needs them. So a tag alone will do, or "latest", if the release has one .lbpkg file. With Owner, Repo,
// ReleaseTag, AssetURL and both numbers given no such question is asked. Which plugin the file holds shows only once it is
// installed; so with an API key before 4.10.11 Wait ends with [ErrTasksHidden] at once, and [PluginsService.Ensure], which
// is told the plugin, is of use there.
//
// Errors: [ErrInvalid] and [ErrNotFound] (no such release or file) before anything is installed, and those of
// [PluginsService.InstallLocal] except [ErrTooLarge].
//
// API: POST /api/v1/plugins/install/github, since LangBot 4.4.0; API keys since 4.6.0.
func (s *PluginsService) InstallGitHub(ctx context.Context, a GitHubAsset) (*Operation, error) {
	a, err := a.fromURL()
	if err == nil {
		err = a.check()
	}
	if err != nil {
		return nil, err
	}
	if a.ReleaseID == 0 || a.AssetURL == "" {
		if a, err = s.completed(ctx, a); err != nil {
			return nil, err
		}
	}
	return s.client.start(ctx, installGitHub.at(), a.body(), ticket{Kind: kindInstall, Source: a.source()})
}

// source is how a plugin that was installed from a is recognised.
func (a GitHubAsset) source() source {
	return source{Owner: a.Owner, Repo: a.Repo, Tag: a.ReleaseTag, URL: a.AssetURL, Asset: a.AssetID}
}

// body is what every release since 4.4.0 can read: the older ones take the URL, the newer ones the numbers.
func (a GitHubAsset) body() any {
	return struct {
		Owner      string `json:"owner"`
		Repo       string `json:"repo"`
		ReleaseTag string `json:"release_tag"`
		AssetURL   string `json:"asset_url,omitempty"`
		ReleaseID  int64  `json:"release_id,omitempty"`
		AssetID    int64  `json:"asset_id,omitempty"`
	}{a.Owner, a.Repo, a.ReleaseTag, a.AssetURL, a.ReleaseID, a.AssetID}
}

// fromURL fills what the download address of a release's file tells: /owner/repo/releases/download/tag/file. Fields that
// say otherwise are an error: old servers would install the one file, new ones another.
func (a GitHubAsset) fromURL() (GitHubAsset, error) {
	u, err := url.Parse(a.AssetURL)
	if err != nil || !strings.EqualFold(u.Hostname(), "github.com") {
		return a, nil
	}
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	if len(parts) != 6 || parts[2] != "releases" || parts[3] != "download" {
		return a, nil
	}
	tag, err := url.PathUnescape(parts[4])
	if err != nil {
		return a, nil
	}
	for _, f := range []struct {
		name, told string
		field      *string
		same       func(string, string) bool
	}{
		{"Owner", parts[0], &a.Owner, strings.EqualFold},
		{"Repo", parts[1], &a.Repo, strings.EqualFold},
		{"ReleaseTag", tag, &a.ReleaseTag, func(x, y string) bool { return x == y }},
	} {
		if *f.field == "" {
			*f.field = f.told
		} else if !f.same(*f.field, f.told) {
			return a, invalid("GitHub asset: %s is %q, and AssetURL says %q", f.name, *f.field, f.told)
		}
	}
	return a, nil
}

var (
	gitHubOwner = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}$`)
	gitHubRepo  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

// check refuses what every server would.
func (a GitHubAsset) check() error {
	named := a.Owner != "" || a.Repo != "" || a.ReleaseTag != ""
	switch {
	case (a.ReleaseID == 0) != (a.AssetID == 0) || a.ReleaseID < 0 || a.AssetID < 0:
		return invalid("GitHub asset: ReleaseID and AssetID must be given together, and be positive")
	case !named && a.AssetURL == "":
		return invalid("GitHub asset: give Owner, Repo and ReleaseTag, or AssetURL")
	case !named:
		return a.checkURL()
	case checkRepo(a.Owner, a.Repo) != nil:
		return checkRepo(a.Owner, a.Repo)
	case a.ReleaseTag == "" || len(a.ReleaseTag) > 255 || strings.ContainsRune(a.ReleaseTag, 0) || !utf8.ValidString(a.ReleaseTag):
		return invalid("GitHub asset: the release tag must have 1 to 255 bytes")
	case a.AssetURL != "":
		return a.checkURL()
	}
	return nil
}

func checkRepo(owner, repo string) error {
	switch {
	case !gitHubOwner.MatchString(owner):
		return invalid("GitHub: owner %q is no GitHub account", owner)
	case !gitHubRepo.MatchString(repo):
		return invalid("GitHub: repo %q is no GitHub repository", repo)
	}
	return nil
}

func (a GitHubAsset) checkURL() error {
	u, err := url.Parse(a.AssetURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return invalid("GitHub asset: AssetURL must be an http or https address without credentials")
	}
	return nil
}

// completed adds what this server needs and a lacks.
func (s *PluginsService) completed(ctx context.Context, a GitHubAsset) (GitHubAsset, error) {
	r, known, err := s.client.release(ctx)
	if err != nil {
		return a, err
	}
	byNumber := !known || gitHubByNumber.holds(r)
	if byNumber && a.ReleaseID != 0 || !byNumber && a.AssetURL != "" {
		return a, nil
	}
	if a.Owner == "" {
		return a, invalid("GitHub asset: LangBot %s installs from GitHub itself only: give Owner, Repo and ReleaseTag", r)
	}
	release := GitHubRelease{Owner: a.Owner, Repo: a.Repo, Tag: a.ReleaseTag, ID: a.ReleaseID}
	if a.ReleaseID == 0 {
		if release, err = s.gitHubRelease(ctx, a); err != nil {
			return a, err
		}
	}
	asset, err := s.gitHubFile(ctx, release, a)
	if err == nil && a.AssetURL != "" {
		asset.AssetURL = a.AssetURL
	}
	return asset, err
}

// gitHubRelease finds the release that a names.
func (s *PluginsService) gitHubRelease(ctx context.Context, a GitHubAsset) (GitHubRelease, error) {
	releases, err := s.GitHubReleases(ctx, a.Owner, a.Repo)
	if err != nil {
		return GitHubRelease{}, err
	}
	for _, wanted := range []func(GitHubRelease) bool{
		func(r GitHubRelease) bool { return r.Tag == a.ReleaseTag },
		func(r GitHubRelease) bool { return a.ReleaseTag == latest && !r.Draft && !r.Prerelease },
	} {
		if i := slices.IndexFunc(releases, wanted); i >= 0 {
			return releases[i], nil
		}
	}
	return GitHubRelease{}, fmt.Errorf("langbot: %s/%s has no release %q among the newest %d, which is all the server lists; give ReleaseID and AssetID: %w",
		a.Owner, a.Repo, a.ReleaseTag, len(releases), ErrNotFound)
}

// gitHubFile finds the file of a release: the one with a's address or number, else the only .lbpkg file.
func (s *PluginsService) gitHubFile(ctx context.Context, r GitHubRelease, a GitHubAsset) (GitHubAsset, error) {
	found, err := s.GitHubReleaseAssets(ctx, r)
	if err != nil {
		return a, err
	}
	found = slices.DeleteFunc(found, func(file GitHubAsset) bool { return !a.wants(file) })
	switch {
	case len(found) == 1:
		return found[0], nil
	case a.AssetID != 0:
		err = fmt.Errorf("the release has no file of number %d: %w", a.AssetID, ErrNotFound)
	case a.AssetURL != "":
		err = fmt.Errorf("the release has no file %s: %w", path.Base(a.AssetURL), ErrNotFound)
	case len(found) == 0:
		err = fmt.Errorf("the release has no .lbpkg file: %w", ErrNotFound)
	default:
		err = fmt.Errorf("the release has %d .lbpkg files, choose one by AssetURL: %w", len(found), ErrInvalid)
	}
	return a, fmt.Errorf("langbot: %s/%s %s: %w", r.Owner, r.Repo, r.Tag, err)
}

func (a GitHubAsset) wants(file GitHubAsset) bool {
	switch {
	case a.AssetID != 0:
		return file.AssetID == a.AssetID
	case a.AssetURL == "":
		return strings.HasSuffix(strings.ToLower(file.Name), ".lbpkg")
	}
	name, err := url.PathUnescape(path.Base(a.AssetURL))
	return file.AssetURL == a.AssetURL || err == nil && file.Name == name
}

// A GitHubRelease is a release of a repository.
type GitHubRelease struct {
	Owner      string
	Repo       string
	ID         int64 // GitHub's number
	Tag        string
	Name       string // its title
	Published  time.Time
	Prerelease bool
	Draft      bool
}

// GitHubReleases has the server ask GitHub for the releases of a repository, newest first. It gets no more than GitHub
// tells at once.
//
// Errors: [ErrInvalid] (no names of GitHub's, before anything is sent), [ErrServer] (the server could not ask GitHub, or
// there is no such repository), [ErrUnauthorized], [ErrForbidden], [ErrUnreachable], [*ProtocolError].
//
// API: POST /api/v1/plugins/github/releases, since LangBot 4.4.0; API keys since 4.6.0.
func (s *PluginsService) GitHubReleases(ctx context.Context, owner, repo string) ([]GitHubRelease, error) {
	if err := checkRepo(owner, repo); err != nil {
		return nil, err
	}
	data, err := call[wireReleases](ctx, s.client, gitHubReleases.at(), map[string]string{"repo_url": "https://github.com/" + owner + "/" + repo})
	if err != nil {
		return nil, fmt.Errorf("langbot: the server could not list the releases of %s/%s: %w", owner, repo, s.client.diagnosed(ctx, err))
	}
	var releases []GitHubRelease
	for _, r := range data.Releases {
		if r.ID > 0 {
			published, _ := time.Parse(time.RFC3339, string(r.Published)) // a draft has none
			releases = append(releases, GitHubRelease{owner, repo, r.ID, string(r.Tag), string(r.Name), published, r.Prerelease, r.Draft})
		}
	}
	return releases, nil
}

type wireReleases struct {
	Releases []struct {
		ID         int64          `json:"id"`
		Tag        envelope.Loose `json:"tag_name"`
		Name       envelope.Loose `json:"name"`
		Published  envelope.Loose `json:"published_at"`
		Prerelease bool           `json:"prerelease"`
		Draft      bool           `json:"draft"`
	} `json:"releases"`
}

func (w *wireReleases) missing() string {
	if w.Releases == nil {
		return "releases"
	}
	return ""
}

// GitHubReleaseAssets has the server ask GitHub for the files of a release, of which Owner, Repo, Tag and ID count. Each
// of them can be given to [PluginsService.InstallGitHub] as it is; only those whose Name ends in ".lbpkg" are plugins.
//
// Errors: those of [PluginsService.GitHubReleases].
//
// API: POST /api/v1/plugins/github/release-assets, since LangBot 4.4.0; API keys since 4.6.0.
func (s *PluginsService) GitHubReleaseAssets(ctx context.Context, r GitHubRelease) ([]GitHubAsset, error) {
	if err := checkRepo(r.Owner, r.Repo); err != nil {
		return nil, err
	}
	if r.ID <= 0 {
		return nil, invalid("GitHub release: ID %d is no number of GitHub's", r.ID)
	}
	data, err := call[wireAssets](ctx, s.client, gitHubReleaseAssets.at(), map[string]any{"owner": r.Owner, "repo": r.Repo, "release_id": r.ID})
	if err != nil {
		return nil, fmt.Errorf("langbot: the server could not list the files of %s/%s %s: %w", r.Owner, r.Repo, r.Tag, s.client.diagnosed(ctx, err))
	}
	var files []GitHubAsset
	for _, file := range data.Assets {
		if file.ID > 0 {
			files = append(files, GitHubAsset{Owner: r.Owner, Repo: r.Repo, ReleaseTag: r.Tag, ReleaseID: r.ID,
				AssetID: file.ID, AssetURL: file.URL, Name: file.Name, Size: file.Size})
		}
	}
	return files, nil
}

type wireAssets struct {
	Assets []struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
		Size int64  `json:"size"`
		URL  string `json:"download_url"`
	} `json:"assets"`
}

func (w *wireAssets) missing() string {
	if w.Assets == nil {
		return "assets"
	}
	return ""
}
