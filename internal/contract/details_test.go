package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/lbpkg"
)

const svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"/>\n"

// packWithFiles makes a package of the case's plugin with an icon and a README in two languages, which logs when it starts.
func (e *env) packWithFiles(version string) *lbpkg.Package {
	manifest := archives.Manifest(quote(e.id.Author), quote(e.id.Name), quote(version))
	manifest = strings.Replace(manifest, "metadata:\n", "metadata:\n  icon: assets/icon.svg\n", 1)
	pkg, err := lbpkg.Parse(archives.Zip(
		archives.File{Name: "manifest.yaml", Content: manifest},
		archives.File{Name: "main.py", Content: strings.Replace(archives.Code(`logging.getLogger("demo").warning("I start")`), "import asyncio", "import asyncio, logging", 1)},
		archives.File{Name: "README.md", Content: "# Demo\né\n"},
		archives.File{Name: "readme/README_zh_Hans.md", Content: "# 演示\n"},
		archives.File{Name: "assets/icon.svg", Content: svg},
	))
	require.NoError(e, err)
	return pkg
}

// configUntold reports whether the release tells no config, and wants the client to say so.
func (e *env) configUntold() bool {
	if e.since("4.10.0") || !e.since("4.9.7") {
		return false
	}
	e.note("This release tells every config as empty, and the client says so.")
	_, err := e.client.Plugins.Config(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrInvalid)
	return true
}

func readConfig(e *env) {
	_, err := e.client.Plugins.Config(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound)
	e.install(e.pack("1.0.0", "pass"))
	if e.configUntold() {
		return
	}
	config, err := e.client.Plugins.Config(e.ctx, e.id)
	require.NoError(e, err)
	require.Empty(e, config)
	require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, json.RawMessage(`{"big":9007199254740993,"f":1.5,"api_key":"secret-1"}`)))
	_, err = e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err)
	config, err = e.client.Plugins.Config(e.ctx, e.id)
	require.NoError(e, err)
	want := map[string]any{"big": json.Number("9007199254740993"), "f": json.Number("1.5"), "api_key": "***"}
	if !e.since("4.10.7") {
		e.note("Secrets are told.")
		want["api_key"] = "secret-1"
	}
	require.Equal(e, want, config)
}

func updateConfig(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	greet := func(config map[string]any) error {
		config["greeting"] = "hi"
		return nil
	}
	if e.configUntold() {
		require.ErrorIs(e, e.client.Plugins.UpdateConfig(e.ctx, e.id, greet), langbot.ErrInvalid)
		return
	}
	require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, json.RawMessage(`{"big":9007199254740993,"nested":{"password":"secret-1"}}`)))
	_, err := e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err)
	require.NoError(e, e.client.Plugins.UpdateConfig(e.ctx, e.id, greet))
	p, err := e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err)
	require.Equal(e, langbot.PluginInitialized, p.Status, "it is back")
	config, err := e.client.Plugins.Config(e.ctx, e.id)
	require.NoError(e, err)
	secret := "***"
	if !e.since("4.10.7") {
		secret = "secret-1"
	}
	require.Equal(e, map[string]any{"big": json.Number("9007199254740993"), "greeting": "hi", "nested": map[string]any{"password": secret}}, config)
	require.NoError(e, e.client.Plugins.UpdateConfig(e.ctx, e.id, func(map[string]any) error { return nil }))
	_, err = e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err, "nothing was changed, so it was not restarted")
}

func readme(e *env) {
	_, err := e.client.Plugins.Readme(e.ctx, langbot.PluginID{Author: "no", Name: "such"}, "")
	require.ErrorIs(e, err, langbot.ErrNotFound)
	e.install(e.packWithFiles("1.0.0"))
	for lang, want := range map[string]string{"": "# Demo\né\n", "zh_Hans": "# 演示\n", "xx": "# Demo\né\n"} {
		got, err := e.client.Plugins.Readme(e.ctx, e.id, lang)
		require.NoError(e, err)
		require.Equal(e, want, got, lang)
	}
	bare := langbot.PluginID{Author: e.id.Author, Name: e.id.Name + "-bare"}
	e.install(e.packAs(bare, "1.0.0", "pass"))
	got, err := e.client.Plugins.Readme(e.ctx, bare, "")
	require.NoError(e, err)
	require.Empty(e, got)
}

func icon(e *env) {
	_, err := e.client.Plugins.Icon(e.ctx, langbot.PluginID{Author: "no", Name: "such"})
	require.ErrorIs(e, err, langbot.ErrNotFound)
	e.install(e.packWithFiles("1.0.0"))
	icon, err := e.client.Plugins.Icon(e.ctx, e.id)
	require.NoError(e, err)
	defer icon.Close()
	var got bytes.Buffer
	_, err = io.Copy(&got, icon)
	require.NoError(e, err)
	require.Equal(e, svg, got.String())
	require.True(e, strings.HasPrefix(icon.ContentType, "image/svg+xml"), icon.ContentType)
}

func iconMissing(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	_, err := e.client.Plugins.Icon(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrServer)
	require.ErrorContains(e, err, "names no icon")
	p, err := e.client.Plugins.Get(e.ctx, e.id)
	require.NoError(e, err)
	require.Equal(e, langbot.PluginInitialized, p.Status)
}

func logs(e *env) {
	_, err := e.client.Plugins.Logs(e.ctx, e.id, langbot.LogFilter{})
	require.ErrorIs(e, err, langbot.ErrNotFound)
	e.install(e.packWithFiles("1.0.0"))
	lines, err := e.client.Plugins.Logs(e.ctx, e.id, langbot.LogFilter{Level: "WARNING"})
	require.NoError(e, err)
	if e.since("4.10.7") {
		e.note("The answer is always empty.")
		require.Empty(e, lines)
		return
	}
	require.Len(e, lines, 1)
	require.Contains(e, lines[0].Text, "I start")
	require.WithinDuration(e, time.Now(), lines[0].Time, time.Minute)
	all, err := e.client.Plugins.Logs(e.ctx, e.id, langbot.LogFilter{})
	require.NoError(e, err)
	require.Greater(e, len(all), 3)
	last, err := e.client.Plugins.Logs(e.ctx, e.id, langbot.LogFilter{Limit: 1})
	require.NoError(e, err)
	require.Equal(e, all[len(all)-1:], last)
}

func noLogs(e *env) {
	e.install(e.pack("1.0.0", "pass"))
	_, err := e.client.Plugins.Logs(e.ctx, e.id, langbot.LogFilter{})
	var page *langbot.ProtocolError
	require.ErrorAs(e, err, &page)
}

// followLogs reads on when the plugin is replaced.
func followLogs(e *env) {
	e.install(e.packWithFiles("1.0.0"))
	var starts int
	for line, err := range e.client.Plugins.FollowLogs(e.ctx, e.id, langbot.LogFilter{Level: "WARNING"}) {
		require.NoError(e, err)
		require.Contains(e, line.Text, "I start")
		if starts++; starts == 2 {
			return
		}
		e.install(e.packWithFiles("1.1.0"))
	}
}

// nothingToFollow is what a release does that has no logs, or none in them.
func nothingToFollow(e *env) {
	e.install(e.packWithFiles("1.0.0"))
	ctx, cancel := context.WithTimeout(e.ctx, e.scaled(4*time.Second))
	defer cancel()
	ended := 0
	for _, err := range e.client.Plugins.FollowLogs(ctx, e.id, langbot.LogFilter{}) {
		require.Error(e, err)
		require.Equal(e, e.since("4.10.2"), errors.Is(err, context.DeadlineExceeded), "%v", err)
		ended++
	}
	require.Equal(e, 1, ended)
}

func preview(e *env) {
	pkg := e.packWithFiles("1.0.0")
	got, err := e.client.Plugins.Preview(e.ctx, pkg)
	require.NoError(e, err)
	require.Equal(e, e.id, got.ID)
	require.Equal(e, "1.0.0", got.Version)
	require.Equal(e, "Demo", got.Label.In("en"))
	require.Equal(e, 5, got.Files)
	require.Equal(e, pkg.Size(), got.Size)
	require.Contains(e, string(got.Manifest), "assets/icon.svg")
	_, err = e.client.Plugins.Get(e.ctx, e.id)
	require.ErrorIs(e, err, langbot.ErrNotFound, "nothing was installed")
}

func noPreview(e *env) {
	_, err := e.client.Plugins.Preview(e.ctx, e.pack("1.0.0", "pass"))
	var page *langbot.ProtocolError
	require.ErrorAs(e, err, &page)
}

func gitHubListing(e *env) {
	a := e.released()
	releases, err := e.client.Plugins.GitHubReleases(e.ctx, a.Owner, a.Repo)
	require.NoError(e, err)
	require.Len(e, releases, 1)
	require.Equal(e, a.ReleaseTag, releases[0].Tag)
	require.Equal(e, a.ReleaseID, releases[0].ID)
	require.False(e, releases[0].Published.IsZero())
	files, err := e.client.Plugins.GitHubReleaseAssets(e.ctx, releases[0])
	require.NoError(e, err)
	require.Len(e, files, 1)
	require.Positive(e, files[0].Size)
	require.Equal(e, "plugin.lbpkg", files[0].Name)
	files[0].Name, files[0].Size = "", 0
	require.Equal(e, a, files[0])
}

func gitHubLatest(e *env) {
	a := e.released()
	e.fromGitHub(langbot.GitHubAsset{Owner: a.Owner, Repo: a.Repo, ReleaseTag: "latest"})
}
