package main

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
)

// against has the program talk to srv as it would to a LangBot.
func against(t *testing.T, srv *langbottest.Server) {
	lookFor = 10 * time.Millisecond
	t.Setenv("LANGBOT_URL", srv.URL)
	t.Setenv("LANGBOT_API_KEY", srv.APIKey)
}

func archive(t *testing.T, name, version string) string {
	path := filepath.Join(t.TempDir(), name+".lbpkg")
	require.NoError(t, os.WriteFile(path, archives.Zip(archives.Plugin("acme", name, `"`+version+`"`)...), 0o600))
	return path
}

func TestEmbedded(t *testing.T) {
	for _, name := range []string{"LANGBOT_URL", "LANGBOT_API_KEY", "LANGBOT_EMAIL", "LANGBOT_PASSWORD"} {
		t.Setenv(name, "")
	}
	stepTime, lookFor = 10*time.Millisecond, 10*time.Millisecond
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, "", ""))
	require.Contains(t, out.String(), "langbot-go/quickstart 1.0.0 is initialized")
	require.Contains(t, out.String(), "langbot-go/quickstart  1.0.0    initialized  local   Quickstart")
	require.Contains(t, out.String(), "langbot-go/quickstart is removed")

	out.Reset()
	require.NoError(t, run(t.Context(), &out, archive(t, "other", "2.0.0"), ""))
	require.Contains(t, out.String(), "acme/other  2.0.0    initialized")
}

// TestArchive: the files that go:embed leaves out without all: are in the package.
func TestArchive(t *testing.T) {
	pkg, err := open("")
	require.NoError(t, err)
	r, err := pkg.Open()
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	content, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range content.File {
		names[f.Name] = true
	}
	require.True(t, names["components/tools/_words.py"])
	require.True(t, names["components/__init__.py"])
	require.Len(t, pkg.Components(), 1)
}

// TestOnlyItsOwn: a plugin that was there before stays.
func TestOnlyItsOwn(t *testing.T) {
	srv := langbottest.New(t)
	against(t, srv)
	srv.AddPlugin(archives.Zip(archives.Plugin("acme", "mine", `"1.0.0"`)...))
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, archive(t, "mine", "1.1.0"), ""))
	require.Contains(t, out.String(), "was there before")
	require.Equal(t, []langbottest.Plugin{{ID: "acme/mine", Version: "1.1.0", Running: true}}, srv.Plugins())
}

func TestFailures(t *testing.T) {
	srv := langbottest.New(t)
	against(t, srv)
	srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.FailToStart})
	var out bytes.Buffer
	err := run(t.Context(), &out, archive(t, "broken", "1.0.0"), "")
	require.ErrorContains(t, err, "failed")
	require.Contains(t, explain(err), "An API key is not told why")
	require.Empty(t, srv.Plugins(), "what a failed first installation leaves behind is removed")

	t.Setenv("LANGBOT_API_KEY", "")
	require.ErrorContains(t, run(t.Context(), &out, "", ""), "LANGBOT_EMAIL")
	t.Setenv("LANGBOT_EMAIL", srv.Email)
	t.Setenv("LANGBOT_PASSWORD", srv.Password)
	err = run(t.Context(), &out, archive(t, "broken", "1.0.0"), "")
	require.Contains(t, explain(err), "acme/broken failed to start after installation")

	t.Setenv("LANGBOT_PASSWORD", "wrong")
	require.Contains(t, explain(run(t.Context(), &out, "", "")), "Check LANGBOT_API_KEY")

	bad := filepath.Join(t.TempDir(), "bad.lbpkg")
	require.NoError(t, os.WriteFile(bad, []byte("<html>"), 0o600))
	require.Contains(t, explain(run(t.Context(), &out, bad, "")), "HTML page")
}

// TestInterruptAndResume: a wait that is interrupted says how to go on, and that works.
func TestInterruptAndResume(t *testing.T) {
	srv := langbottest.New(t)
	against(t, srv)
	srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting", For: 2 * time.Second}}})
	ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	text := explain(run(ctx, &out, archive(t, "slow", "1.0.0"), ""))
	_, token, found := strings.Cut(text, "-resume ")
	require.True(t, found, text)
	out.Reset()
	require.NoError(t, run(t.Context(), &out, "", token))
	require.Contains(t, out.String(), "acme/slow 1.0.0 is initialized")
	require.ErrorIs(t, run(t.Context(), &out, "", "nonsense"), langbot.ErrInvalid)
}

// TestProgressOnATerminal: one line that updates itself.
func TestProgressOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out, terminal: true}
	p.show(langbot.Task{Action: "storing plugin package", Progress: langbot.Progress{Percent: 45}})
	p.show(langbot.Task{State: langbot.TaskRunning})
	p.line("done")
	require.Equal(t, "\r\x1b[K[#########...........]  45 % storing plugin package\r\x1b[Krunning\ndone\n", out.String())
}
