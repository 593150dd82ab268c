// Installing plugins: from an archive, from GitHub, from the marketplace.

package langbot

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/langbot-go/langbot/internal/upload"
)

// The API of this file, in the order of its methods.
var (
	installLocal        = endpoint{pattern: "POST /api/v1/plugins/install/local", effect: once, limited: always}
	installGitHub       = endpoint{pattern: "POST /api/v1/plugins/install/github", effect: once, limited: notAboutGitHub}
	githubReleases      = endpoint{pattern: "POST /api/v1/plugins/github/releases", effect: repeatable}
	githubReleaseAssets = endpoint{pattern: "POST /api/v1/plugins/github/release-assets", effect: repeatable}
	installMarketplace  = endpoint{pattern: "POST /api/v1/plugins/install/marketplace", effect: once, limited: always}
	upgradePlugin       = endpoint{pattern: "POST /api/v1/plugins/{author}/{name}/upgrade", effect: once}
)

// always: a server refuses our bodies for no other reason.
func always(string) bool { return true }

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

// A Package is a plugin archive to upload. The package lbpkg makes them, checked; an implementation of your own must
// check at least that the manifest's kind is Plugin: releases 4.10.7 to 4.10.11 are ruined by one that is not. To follow
// an upload, wrap a Package and count what Open's readers give.
type Package interface {
	Author() string               // as in the manifest
	Name() string                 // as in the manifest
	Version() string              // as in the manifest
	FileName() string             // shown in the task's label; empty: "name.lbpkg"
	Size() int64                  // of the archive, exact
	Open() (io.ReadCloser, error) // the archive from its beginning; each call gives an independent reader
}

// InstallLocal uploads a plugin archive and returns as soon as the server has queued its installation;
// [Operation.Wait] tells how it ended. An installed plugin of the same name is replaced and keeps its config; where it
// has the same version, releases up to 4.10.6 fail the task, and newer ones install it again. The upload streams, and is sent again only if the server
// did not take the first one. When the package's reader fails or gives another length than promised, nothing was
// installed, and the error is the reader's.
//
// Errors: [ErrTooLarge] and [ErrInvalid] before anything is sent, [ErrLimit], [ErrBusy] (8 operations run already),
// [ErrUnauthorized], [ErrForbidden], [ErrRuntimeAway], [ErrServer], [ErrUnreachable], [ErrOutcomeUnknown], [*ProtocolError].
//
// API: POST /api/v1/plugins/install/local, since LangBot 4.3.0; API keys since 4.6.0.
func (s *PluginsService) InstallLocal(ctx context.Context, p Package) (*Operation, error) {
	if p == nil {
		return nil, invalid("InstallLocal: no package")
	}
	id := PluginID{p.Author(), p.Name()}
	if err := id.check(); err != nil {
		return nil, err
	}
	if p.Size() < 0 {
		return nil, invalid("package %s: a size of %d bytes", id, p.Size())
	}
	fileName := path.Base(strings.ReplaceAll(p.FileName(), `\`, "/"))
	if p.FileName() == "" {
		fileName = id.Name + ".lbpkg" // without a file name, servers see no file
	}
	form := upload.New("file", fileName, p.Size(), p.Open)
	if most := s.client.settings.maxUpload; p.Size() > most || form.Len() > most {
		return nil, fmt.Errorf("langbot: package %s %s: %w: the upload has %d bytes, the server takes %d", id, p.Version(), ErrTooLarge, uint64(form.Len()), most)
	}
	r := installLocal.at().about(id, p.Version())
	return s.client.start(ctx, r, form, ticket{Kind: kindInstall, Plugin: id, Version: p.Version()})
}

// A GitHubAsset is one file of a GitHub release. Either ReleaseTag with Owner and Repo, or AssetURL, must be given; the
// rest is found out as far as the server needs it.
type GitHubAsset struct {
	Owner      string
	Repo       string
	ReleaseTag string // letter case counts
	AssetURL   string // the file's download address; a mirror only up to 4.10.6. Empty: the release's one .lbpkg file
	ReleaseID  int64  // GitHub's numbers of the release and the file: both or neither
	AssetID    int64
}

// InstallGitHub has the server download and install a file of a GitHub release. Releases from 4.10.7 on need GitHub's
// numbers of release and file: if they are not given, the server itself is asked for them, and the version of the server
// for whether it needs them. With all six fields given no such question is asked. Which plugin the file holds shows only
// once it is installed.
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
	from := source{Owner: a.Owner, Repo: a.Repo, Tag: a.ReleaseTag, URL: a.AssetURL, Asset: a.AssetID}
	return s.client.start(ctx, installGitHub.at(), a.body(), ticket{Kind: kindInstall, Source: from})
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
	}(a)
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
	case !gitHubOwner.MatchString(a.Owner):
		return invalid("GitHub asset: owner %q is no GitHub account", a.Owner)
	case !gitHubRepo.MatchString(a.Repo):
		return invalid("GitHub asset: repo %q is no GitHub repository", a.Repo)
	case a.ReleaseTag == "" || len(a.ReleaseTag) > 255 || strings.ContainsRune(a.ReleaseTag, 0) || !utf8.ValidString(a.ReleaseTag):
		return invalid("GitHub asset: the release tag must have 1 to 255 bytes")
	case a.AssetURL != "":
		return a.checkURL()
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
	if a.ReleaseID == 0 {
		if a.ReleaseID, err = s.releaseID(ctx, a); err != nil {
			return a, err
		}
	}
	asset, err := s.releaseAsset(ctx, a)
	if err != nil {
		return a, err
	}
	a.AssetID = asset.ID
	if a.AssetURL == "" {
		a.AssetURL = asset.URL
	}
	return a, nil
}

// releaseID asks the server for the number of a release.
func (s *PluginsService) releaseID(ctx context.Context, a GitHubAsset) (int64, error) {
	repo := a.Owner + "/" + a.Repo
	data, err := call[gitHubReleaseList](ctx, s.client, githubReleases.at(), map[string]string{"repo_url": "https://github.com/" + repo})
	if err != nil {
		return 0, fmt.Errorf("langbot: the server could not list the releases of %s: %w", repo, s.client.diagnosed(ctx, err))
	}
	for _, r := range data.Releases {
		if r.Tag == a.ReleaseTag && r.ID > 0 {
			return r.ID, nil
		}
	}
	return 0, fmt.Errorf("langbot: %s has no release %q among the newest %d, which is all the server lists; give ReleaseID and AssetID: %w",
		repo, a.ReleaseTag, len(data.Releases), ErrNotFound)
}

type gitHubReleaseList struct {
	Releases []struct {
		ID  int64  `json:"id"`
		Tag string `json:"tag_name"`
	} `json:"releases"`
}

func (l *gitHubReleaseList) missing() string {
	if l.Releases == nil {
		return "releases"
	}
	return ""
}

type releaseAssetList struct {
	Assets []releaseAsset `json:"assets"`
}

func (l *releaseAssetList) missing() string {
	if l.Assets == nil {
		return "assets"
	}
	return ""
}

type releaseAsset struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	URL  string `json:"download_url"`
}

// releaseAsset asks the server for the file of a release: the one with a's address, else the only .lbpkg file.
func (s *PluginsService) releaseAsset(ctx context.Context, a GitHubAsset) (releaseAsset, error) {
	repo := a.Owner + "/" + a.Repo
	data, err := call[releaseAssetList](ctx, s.client, githubReleaseAssets.at(), map[string]any{"owner": a.Owner, "repo": a.Repo, "release_id": a.ReleaseID})
	if err != nil {
		return releaseAsset{}, fmt.Errorf("langbot: the server could not list the files of %s %s: %w", repo, a.ReleaseTag, s.client.diagnosed(ctx, err))
	}
	var found []releaseAsset
	for _, asset := range data.Assets {
		if a.wants(asset) {
			found = append(found, asset)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case a.AssetURL != "":
		err = fmt.Errorf("the release has no file %s: %w", path.Base(a.AssetURL), ErrNotFound)
	case len(found) == 0:
		err = fmt.Errorf("the release has no .lbpkg file: %w", ErrNotFound)
	default:
		err = fmt.Errorf("the release has %d .lbpkg files, choose one by AssetURL: %w", len(found), ErrInvalid)
	}
	return releaseAsset{}, fmt.Errorf("langbot: %s %s: %w", repo, a.ReleaseTag, err)
}

func (a GitHubAsset) wants(asset releaseAsset) bool {
	switch {
	case asset.ID <= 0:
		return false
	case a.AssetID != 0:
		return asset.ID == a.AssetID
	case a.AssetURL == "":
		return strings.HasSuffix(strings.ToLower(asset.Name), ".lbpkg")
	}
	name, err := url.PathUnescape(path.Base(a.AssetURL))
	return asset.URL == a.AssetURL || err == nil && asset.Name == name
}

// A MarketplacePlugin is a plugin of LangBot's marketplace.
type MarketplacePlugin struct {
	ID      PluginID
	Version string // empty: the newest, which needs LangBot 4.10.7. 4.10.7 to 4.10.11 install the newest in any case
}

// InstallMarketplace has the server install a plugin from its marketplace. Servers look for it only in the task, so that
// it does not exist shows in [Operation.Wait]. Without a version the marketplace may have an MCP server or a skill of
// that name, which is installed instead; where another version was installed than asked for, Wait ends with
// [ErrNoEffect] and names both.
//
// Errors: those of [PluginsService.InstallLocal], except [ErrTooLarge].
//
// API: POST /api/v1/plugins/install/marketplace, since LangBot 4.3.0; API keys since 4.6.0.
func (s *PluginsService) InstallMarketplace(ctx context.Context, p MarketplacePlugin) (*Operation, error) {
	if err := p.ID.check(); err != nil {
		return nil, err
	}
	body := marketplaceBody{Author: p.ID.Author, Name: p.ID.Name, Version: p.Version, ID: p.ID.String()}
	r := installMarketplace.at().about(p.ID, p.Version)
	return s.client.start(ctx, r, body, ticket{Kind: kindInstall, Plugin: p.ID, Version: p.Version})
}

type marketplaceBody struct {
	Author  string `json:"plugin_author"`
	Name    string `json:"plugin_name"`
	Version string `json:"plugin_version,omitempty"`
	ID      string `json:"plugin_id"` // what the published description asks for, and no release reads
}

// Upgrade has the server install the newest version of a plugin that came from its marketplace, also over the same
// version, and returns as soon as that is queued; [Operation.Wait] ends once the plugin is initialized again, and tells
// in which version. The plugin is absent for seconds meanwhile and keeps its config. That it is not installed, or not from
// the marketplace (Plugin.Source tells beforehand), shows only in Wait, as a *TaskError that is [ErrNotFound] in the first
// case, if the credential is told reasons. From 4.10.7 on servers look for an MCP server or a skill of that name first, and install that instead: from 4.11.0
// on Wait ends with [ErrNoEffect] then, if the credential is told progress, and else cannot tell. With an API
// key before 4.10.11 Wait sees only an upgrade that changes the version; after Polling.Hidden it is [ErrTasksHidden].
//
// Errors: those of [PluginsService.Delete].
//
// API: POST /api/v1/plugins/{author}/{name}/upgrade, since LangBot 4.3.0; API keys since 4.6.0.
func (s *PluginsService) Upgrade(ctx context.Context, id PluginID) (*Operation, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	return s.client.start(ctx, upgradePlugin.at(id.Author, id.Name).about(id, ""), nil, ticket{Kind: kindUpgrade, Plugin: id})
}
