package langbot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

const opDelete = "DELETE /api/v1/plugins/{author}/{name}"

var releases = []string{"4.6.0", "4.9.4", "4.9.7", "4.10.0", "4.10.6", "4.10.8", "4.10.9", "4.10.11", "4.11.0", "4.11.2"}

// A bench is a reference server and a client in virtual time.
type bench struct {
	*testing.T
	srv    *langbottest.Server
	client *langbot.Client
}

// onBench runs a test on a release, by a kind of credential.
func onBench(t *testing.T, version, credential string, test func(b bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.Version(version), langbottest.InMemory())
		with := langbot.WithUserToken(srv.UserToken)
		if credential == "key" {
			with = langbot.WithAPIKey(srv.APIKey)
		}
		client, err := langbot.New(srv.URL, with, langbot.WithHTTPClient(srv.Client()))
		require.NoError(t, err)
		test(bench{t, srv, client})
	})
}

func (b bench) pkg(version string) *lbpkg.Package {
	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "demo", version))
	require.NoError(b, err)
	return pkg
}

// installs are the requests that asked for an installation.
func (b bench) installs() int { return len(b.srv.Calls(langbottest.AnyInstall)) }

func (b bench) runs(version string) {
	b.Helper()
	p, err := b.client.Plugins.Get(b.Context(), demo)
	require.NoError(b, err)
	require.Equal(b, langbot.PluginInitialized, p.Status)
	require.Equal(b, version, p.Version)
}

// states are what Ensure may find, and what it has to do to have version 1.1.0 run.
var states = map[string]struct {
	prepare func(b bench)
	actions []string
	why     string
}{
	"absent": {func(bench) {}, []string{"install"}, "it does not run"},
	"right":  {func(b bench) { b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.1.0")) }, nil, ""},
	"older":  {func(b bench) { b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0")) }, []string{"replace"}, "it runs in version 1.0.0, not in 1.1.0"},
	"newer":  {func(b bench) { b.srv.AddPlugin(langbottest.Archive("acme", "demo", "2.0.0")) }, []string{"replace"}, "it runs in version 2.0.0, not in 1.1.0"},
	"left behind by a first installation that failed": {func(b bench) {
		b.srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.FailToStart})
		op, err := b.client.Plugins.InstallLocal(b.Context(), b.pkg("1.1.0"))
		require.NoError(b, err)
		_, err = op.Wait(b.Context())
		require.Error(b, err)
		b.srv.On(langbottest.AnyInstall, langbottest.Script{})
	}, []string{"install"}, "it does not run"},
	"being installed": {func(b bench) {
		b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: 20 * time.Second}}})
		_, err := b.client.Plugins.InstallLocal(b.Context(), b.pkg("1.1.0"))
		require.NoError(b, err)
		b.srv.On(langbottest.AnyInstall, langbottest.Script{})
	}, nil, ""},
}

// TestEnsure: whatever the state, on every release and by each kind of credential, with one installation at most and no removal.
func TestEnsure(t *testing.T) {
	for _, version := range releases {
		for _, credential := range []string{"key", "token"} {
			for name, state := range states {
				hidden := credential == "key" && slices.Index(releases, version) < slices.Index(releases, "4.10.11")
				if hidden && name == "being installed" {
					continue // nobody could know
				}
				t.Run(version+" by "+credential+" "+name, func(t *testing.T) {
					onBench(t, version, credential, func(b bench) {
						state.prepare(b)
						before := b.installs()
						spec := langbot.Spec{Package: b.pkg("1.1.0"), DryRun: true}
						dry, err := b.client.Plugins.Ensure(b.Context(), spec)
						require.NoError(b, err)
						require.Equal(b, state.actions, dry.Actions)
						require.Equal(b, before, b.installs(), "a dry run does nothing")

						spec.DryRun = false
						done, err := b.client.Plugins.Ensure(b.Context(), spec)
						require.NoError(b, err)
						require.Equal(b, state.actions, done.Actions)
						require.Equal(b, state.why, done.Why)
						require.Equal(b, "1.1.0", done.Plugin.Version)
						require.Equal(b, len(state.actions), b.installs()-before)
						if !hidden {
							require.Len(b, done.Tasks, len(state.actions))
						}
						b.runs("1.1.0")

						again, err := b.client.Plugins.Ensure(b.Context(), spec)
						require.NoError(b, err)
						require.Empty(b, again.Actions)
						require.Empty(b, again.Tasks)
						require.Equal(b, len(state.actions), b.installs()-before)
						require.Empty(b, b.srv.Calls(opDelete))
					})
				})
			}
		}
	}
}

// TestEnsureConfig: by top-level key, only what differs, and kept over versions.
func TestEnsureConfig(t *testing.T) {
	const opConfig = "PUT /api/v1/plugins/{author}/{name}/config"
	for _, version := range releases {
		t.Run(version, func(t *testing.T) {
			onBench(t, version, "token", func(b bench) {
				ensure := func(version string, config map[string]any) (langbot.EnsureResult, error) {
					return b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg(version), Config: config})
				}
				if version == "4.9.7" {
					_, err := ensure("1.0.0", map[string]any{"a": 1})
					require.ErrorIs(b, err, langbot.ErrInvalid)
					require.Zero(b, b.installs(), "refused before anything is done")
					return
				}
				done, err := ensure("1.0.0", map[string]any{"a": 1, "b": map[string]any{"x": 1, "y": 2}})
				require.NoError(b, err)
				require.Equal(b, []string{"install", "configure"}, done.Actions)
				for _, tt := range []struct {
					version string
					config  map[string]any
					actions []string
					want    string
				}{
					{"1.0.0", map[string]any{"a": 1.0}, nil, `{"a":1,"b":{"x":1,"y":2}}`},
					{"1.0.0", map[string]any{"b": map[string]any{"x": 1}}, []string{"configure"}, `{"a":1,"b":{"x":1}}`},
					{"1.1.0", nil, []string{"replace"}, `{"a":1,"b":{"x":1}}`},
					{"1.2.0", map[string]any{"c": json.Number("9007199254740993")}, []string{"replace", "configure"}, `{"a":1,"b":{"x":1},"c":9007199254740993}`},
					{"1.2.0", map[string]any{}, nil, `{"a":1,"b":{"x":1},"c":9007199254740993}`},
				} {
					done, err := ensure(tt.version, tt.config)
					require.NoError(b, err)
					require.Equal(b, tt.actions, done.Actions)
					require.Equal(b, tt.version, done.Plugin.Version)
					require.Equal(b, langbot.PluginInitialized, done.Plugin.Status)
					config, err := b.client.Plugins.Config(b.Context(), demo)
					require.NoError(b, err)
					got, err := json.Marshal(config)
					require.NoError(b, err)
					require.Equal(b, tt.want, string(got))
				}
				require.Len(b, b.srv.Calls(opConfig), 3)

				dry, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.2.0"), Config: map[string]any{"a": 2}, DryRun: true})
				require.NoError(b, err)
				require.Equal(b, []string{"configure"}, dry.Actions)
				require.Equal(b, "its config differs", dry.Why)
				require.Len(b, b.srv.Calls(opConfig), 3)
			})
		})
	}
	t.Run("a secret", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			for i, want := range [][]string{{"install", "configure"}, {"configure"}} { // it cannot be compared
				done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0"), Config: map[string]any{"api_key": "secret-1"}})
				require.NoError(b, err)
				require.Equal(b, want, done.Actions, i)
			}
			done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0"), Config: map[string]any{"api_key": "***"}})
			require.NoError(b, err)
			require.Empty(b, done.Actions)
		})
	})
	t.Run("a write whose answer is lost", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.Fault(opConfig, langbottest.LoseAnswer(), langbottest.Nth(1))
			done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0"), Config: map[string]any{"a": 1}})
			require.NoError(b, err)
			require.Equal(b, []string{"install", "configure"}, done.Actions)
			require.Len(b, b.srv.Calls(opConfig), 1, "it was stored")
		})
	})
}

// TestEnsureVersions: compared for equality, and never ordered.
func TestEnsureVersions(t *testing.T) {
	for _, tt := range []struct {
		installed, wanted string
		same              bool
	}{
		{"1.9.0", "1.10.0", false}, {"1.10.0", "1.9.0", false}, {"v1.2.0", "1.2.0", true}, {"1.2.0", "v1.2.0", true},
		{"1.0.0-beta.9", "1.0.0-beta.10", false}, {"1.0.0-rc.1", "1.0.0", false}, {"1.0.0", "1.0.0+b7", true},
		{"2024.1", "2024.1.1", false}, {"main", "dev", false}, {"main", "main", true}, {"1.0.0", "1.0.0", true}, {"version", "ersion", false},
	} {
		t.Run(tt.installed+" "+tt.wanted, func(t *testing.T) {
			onBench(t, "4.11.2", "key", func(b bench) {
				b.srv.AddPlugin(langbottest.Archive("acme", "demo", tt.installed))
				done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg(tt.wanted)})
				require.NoError(b, err)
				if tt.same {
					require.Empty(b, done.Actions)
					b.runs(tt.installed)
					return
				}
				require.Equal(b, []string{"replace"}, done.Actions)
				b.runs(tt.wanted)
			})
		})
	}
}

// TestEnsureFromElsewhere: from the marketplace and from GitHub.
func TestEnsureFromElsewhere(t *testing.T) {
	t.Run("marketplace", func(t *testing.T) {
		onBench(t, "4.11.2", "key", func(b bench) {
			for _, version := range []string{"1.0.0", "1.1.0"} {
				b.srv.AddMarketplace(langbottest.Archive("acme", "demo", version))
			}
			for _, tt := range []struct {
				version string
				actions []string
				runs    string
			}{
				{"1.0.0", []string{"install"}, "1.0.0"}, {"1.0.0", nil, "1.0.0"}, {"", nil, "1.0.0"}, {"1.1.0", []string{"replace"}, "1.1.0"}, {"", nil, "1.1.0"},
			} {
				done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, Version: tt.version})
				require.NoError(b, err)
				require.Equal(b, tt.actions, done.Actions)
				b.runs(tt.runs)
			}
			_, err := b.client.Plugins.EnsureAbsent(b.Context(), langbot.AbsentSpec{ID: demo})
			require.NoError(b, err)
			done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo})
			require.NoError(b, err)
			require.Equal(b, "1.1.0", done.Plugin.Version, "the newest")
			before := b.installs()
			_, err = b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, Version: "9.9.9"})
			var failed *langbot.TaskError
			require.ErrorAs(b, err, &failed)
			require.ErrorContains(b, err, "it runs in version 1.1.0, not in 9.9.9")
			require.Equal(b, 1, b.installs()-before)
		})
	})
	t.Run("marketplace that installs the newest whatever is asked for", func(t *testing.T) {
		onBench(t, "4.10.8", "token", func(b bench) {
			for _, version := range []string{"1.0.0", "1.1.0"} {
				b.srv.AddMarketplace(langbottest.Archive("acme", "demo", version))
			}
			_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, Version: "1.0.0"})
			require.ErrorIs(b, err, langbot.ErrNoEffect)
			require.Equal(b, 1, b.installs())
		})
	})
	for _, version := range []string{"4.6.0", "4.10.6", "4.10.8", "4.11.2"} {
		for _, credential := range []string{"key", "token"} {
			t.Run("GitHub "+version+" by "+credential, func(t *testing.T) {
				onBench(t, version, credential, func(b bench) {
					b.srv.AddGitHub("octo", "repo", "v1.0.0", "demo.lbpkg", langbottest.Archive("acme", "demo", "1.0.0"))
					b.srv.AddGitHub("octo", "repo", "v1.1.0", "demo.lbpkg", langbottest.Archive("acme", "demo", "1.1.0"))
					for _, tt := range []struct {
						tag, version string
						actions      []string
						runs         string
					}{
						{"v1.0.0", "", []string{"install"}, "1.0.0"}, {"v1.0.0", "", nil, "1.0.0"}, {"v1.0.0", "1.0.0", nil, "1.0.0"},
						{"latest", "", []string{"replace"}, "1.1.0"}, {"latest", "", nil, "1.1.0"}, {"v1.0.0", "1.0.0", []string{"replace"}, "1.0.0"},
					} {
						spec := langbot.Spec{ID: demo, Version: tt.version, GitHub: langbot.GitHubAsset{Owner: "octo", Repo: "repo", ReleaseTag: tt.tag}}
						done, err := b.client.Plugins.Ensure(b.Context(), spec)
						require.NoError(b, err)
						require.Equal(b, tt.actions, done.Actions, tt.tag)
						b.runs(tt.runs)
					}
					_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, GitHub: langbot.GitHubAsset{Owner: "octo", Repo: "repo", ReleaseTag: "v9"}})
					require.ErrorIs(b, err, langbot.ErrNotFound)
				})
			})
		}
	}
	t.Run("a release that runs needs no GitHub, if its version is given", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
			b.srv.Fault("POST /api/v1/plugins/github/releases", langbottest.Status(500), langbottest.Optional())
			done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, Version: "1.0.0", GitHub: langbot.GitHubAsset{Owner: "octo", Repo: "repo", ReleaseTag: "v1.0.0"}})
			require.NoError(b, err)
			require.Empty(b, done.Actions)
		})
	})
	t.Run("a release that holds another version", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.AddGitHub("octo", "repo", "v1.0.0", "demo.lbpkg", langbottest.Archive("acme", "demo", "1.0.0"))
			_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, Version: "1.1.0", GitHub: langbot.GitHubAsset{Owner: "octo", Repo: "repo", ReleaseTag: "v1.0.0"}})
			require.ErrorIs(b, err, langbot.ErrNoEffect)
			require.ErrorContains(b, err, "what was installed is acme/demo 1.0.0")
			require.Equal(b, 1, b.installs())
		})
	})
	t.Run("a release that holds another plugin", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.AddGitHub("octo", "repo", "v1.0.0", "demo.lbpkg", langbottest.Archive("acme", "other", "1.0.0"))
			_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, GitHub: langbot.GitHubAsset{Owner: "octo", Repo: "repo", ReleaseTag: "v1.0.0"}})
			require.ErrorIs(b, err, langbot.ErrNoEffect)
			require.Equal(b, 1, b.installs())
		})
	})
}

// TestEnsureFails: a true error, and nothing is sent that cannot help.
func TestEnsureFails(t *testing.T) {
	for name, tt := range map[string]struct {
		version, credential string
		prepare             func(b bench)
		installs            int
		is                  error
		as                  bool // a *TaskError
		within              time.Duration
	}{
		"cannot start":         {"4.11.2", "token", ends(langbottest.FailToStart), 1, nil, true, time.Minute},
		"cannot start, by key": {"4.11.2", "key", ends(langbottest.FailToStart), 1, nil, true, time.Minute},
		"cannot start, old":    {"4.9.4", "token", ends(langbottest.FailToStart), 1, langbot.ErrNoEffect, false, 2 * time.Minute},
		"cannot start, hidden": {"4.10.6", "key", ends(langbottest.FailToStart), 1, langbot.ErrTasksHidden, false, 6 * time.Minute},
		"says it did":          {"4.11.2", "token", ends(langbottest.SucceedWithoutEffect), 1, langbot.ErrNoEffect, false, 2 * time.Minute},
		"says it did, by key":  {"4.11.2", "key", ends(langbottest.SucceedWithoutEffect), 1, langbot.ErrNoEffect, false, 2 * time.Minute},
		"is refused":           {"4.11.2", "token", ends(langbottest.Fail("no")), 1, nil, true, time.Minute},
		"quota":                {"4.11.2", "token", func(b bench) { b.srv.LimitExtensions(0) }, 1, langbot.ErrLimit, false, time.Minute},
		"runtime away":         {"4.11.2", "token", func(b bench) { b.srv.RuntimeDown() }, 0, langbot.ErrRuntimeAway, false, time.Minute},
		"runtime away, old":    {"4.10.6", "token", func(b bench) { b.srv.RuntimeDown() }, 0, langbot.ErrRuntimeAway, false, time.Minute},
		"answer lost, hidden":  {"4.10.6", "key", loses, 1, langbot.ErrOutcomeUnknown, false, 6 * time.Minute},
		"bad credential":       {"4.11.2", "token", func(b bench) { b.srv.RevokeTokens() }, 0, langbot.ErrUnauthorized, false, time.Minute},
		"gateway that is dead": {"4.11.2", "token", func(b bench) { b.srv.Fault("", langbottest.Page(http.StatusBadGateway)) }, 0, langbot.ErrServer, false, time.Minute},
		"others work on for ever": {"4.11.2", "key", func(b bench) {
			ends(langbottest.Hang)(b)
			_, err := b.client.Plugins.InstallLocal(b.Context(), b.pkg("1.0.0"))
			require.NoError(b, err)
		}, 1, langbot.ErrNoEffect, false, 6 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, tt.version, tt.credential, func(b bench) {
				tt.prepare(b)
				began := time.Now()
				done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
				require.ErrorContains(b, err, "ensuring acme/demo")
				if tt.is != nil {
					require.ErrorIs(b, err, tt.is)
				}
				var failed *langbot.TaskError
				require.Equal(b, tt.as, errors.As(err, &failed), "%v", err)
				require.Equal(b, tt.installs, b.installs())
				require.Empty(b, b.srv.Calls(opDelete))
				require.Less(b, time.Since(began), tt.within)
				require.NotEqual(b, langbot.PluginInitialized, done.Plugin.Status)
			})
		})
	}
}

func ends(end langbottest.End) func(bench) {
	return func(b bench) { b.srv.On(langbottest.AnyInstall, langbottest.Script{End: end}) }
}

// loses has the answer to an installation lost that comes to nothing.
func loses(b bench) {
	ends(langbottest.Fail("no"))(b)
	b.srv.Fault(langbottest.AnyInstall, langbottest.LoseAnswer(), langbottest.Nth(1))
}

// TestEnsureAfterUnknown: after a lost answer it looks, and sends again only if that came to nothing.
func TestEnsureAfterUnknown(t *testing.T) {
	for _, version := range []string{"4.6.0", "4.10.6", "4.10.8", "4.11.2"} {
		for _, credential := range []string{"key", "token"} {
			for name, tt := range map[string]struct {
				fault    langbottest.Effect
				installs int
			}{
				"it came":     {langbottest.LoseAnswer(), 1},
				"it was lost": {langbottest.Reset(), 2},
			} {
				t.Run(fmt.Sprint(version, " by ", credential, " ", name), func(t *testing.T) {
					onBench(t, version, credential, func(b bench) {
						b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: 20 * time.Second}}})
						b.srv.Fault(langbottest.AnyInstall, tt.fault, langbottest.Nth(1))
						done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
						if hidden := credential == "key" && version != "4.11.2"; hidden && tt.installs > 1 {
							require.ErrorIs(b, err, langbot.ErrOutcomeUnknown)
							require.Equal(b, 1, b.installs())
							return
						}
						require.NoError(b, err)
						require.Equal(b, []string{"install"}, done.Actions)
						require.Equal(b, tt.installs, b.installs())
						b.runs("1.0.0")
					})
				})
			}
		}
	}
	for _, version := range []string{"4.9.4", "4.10.6", "4.10.8", "4.11.2"} {
		t.Run("from GitHub, whose task names the repository, on "+version, func(t *testing.T) {
			onBench(t, version, "token", func(b bench) {
				b.srv.AddGitHub("octo", "repo", "v1.0.0", "demo.lbpkg", langbottest.Archive("acme", "demo", "1.0.0"))
				b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "downloading plugin package", For: time.Minute}}})
				b.srv.Fault(langbottest.AnyInstall, langbottest.LoseAnswer(), langbottest.Nth(1))
				_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo, GitHub: langbot.GitHubAsset{Owner: "octo", Repo: "repo", ReleaseTag: "v1.0.0"}})
				require.NoError(b, err)
				require.Equal(b, 1, b.installs())
				b.runs("1.0.0")
			})
		})
	}
	t.Run("the server goes away after it", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.Fault(langbottest.AnyInstall, langbottest.LoseAnswer(), langbottest.Nth(1))
			for _, op := range []string{"GET /api/v1/plugins", "GET /api/v1/system/tasks"} {
				b.srv.Fault(op, langbottest.Latency(0), langbottest.Nth(1))
				b.srv.Fault(op, langbottest.Page(http.StatusBadGateway), langbottest.Optional())
			}
			b.srv.AddPlugin(langbottest.Archive("acme", "demo", "0.9.0")) // so that it acts at once
			_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
			require.ErrorIs(b, err, langbot.ErrOutcomeUnknown, "that is what matters most")
			require.ErrorIs(b, err, langbot.ErrServer)
		})
	})
	t.Run("the plugin is restarted for its config meanwhile", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
			b.srv.On("PUT /api/v1/plugins/{author}/{name}/config", langbottest.Script{Steps: []langbottest.Step{{For: 8 * time.Second}}})
			require.NoError(b, b.client.Plugins.SetConfig(b.Context(), demo, map[string]any{"n": 1}))
			done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
			require.NoError(b, err)
			require.Empty(b, done.Actions, "it was only away")
		})
	})
	t.Run("the server restarts in the middle", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: 20 * time.Second}}})
			time.AfterFunc(20*time.Second, b.srv.Restart)
			done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
			require.NoError(b, err)
			require.Equal(b, "1.0.0", done.Plugin.Version)
			require.Equal(b, 2, b.installs())
		})
	})
}

// TestEnsureWaitsForOthers: however long their operation takes, what it leaves is looked at as long as anything else, and a
// read that fails then is got over.
func TestEnsureWaitsForOthers(t *testing.T) {
	onBench(t, "4.11.2", "token", func(b bench) {
		b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "installing or starting plugin", For: 6 * time.Minute}}})
		_, err := b.client.Plugins.InstallLocal(b.Context(), b.pkg("1.0.0"))
		require.NoError(b, err)
		time.AfterFunc(6*time.Minute-time.Second, func() {
			b.srv.Fault("GET /api/v1/system/tasks", langbottest.Page(http.StatusBadGateway), langbottest.First(1))
			missing := langbottest.Respond(http.StatusOK, map[string]any{"code": 0, "msg": "ok", "data": map[string]any{"plugins": []any{}}})
			b.srv.Fault("GET /api/v1/plugins", missing, langbottest.First(1)) // as lists do
		})
		done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
		require.NoError(b, err)
		require.Empty(b, done.Actions)
		require.Equal(b, 1, b.installs())
	})
	t.Run("a removal that a key cannot tell, on a server that reading may hang", func(t *testing.T) {
		onBench(t, "4.10.11", "key", func(b bench) {
			b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
			b.srv.On(opDelete, langbottest.Script{Steps: []langbottest.Step{{Action: "default", For: 20 * time.Second}}})
			_, err := b.client.Plugins.Delete(b.Context(), demo, langbot.DeleteOptions{})
			require.NoError(b, err)
			over := time.Now().Add(20 * time.Second)
			_, err = b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
			require.NoError(b, err)
			for _, call := range b.srv.Calls("GET /api/v1/plugins") {
				require.False(b, call.Time.Before(over), "read during the removal")
			}
			b.runs("1.0.0")
		})
	})
	t.Run("a runtime that is away while the list is empty", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.RuntimeDown()
			missing := langbottest.Respond(http.StatusOK, map[string]any{"code": 0, "msg": "ok", "data": map[string]any{"plugins": []any{}}})
			b.srv.Fault("GET /api/v1/plugins", missing)
			began := time.Now()
			_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
			require.ErrorIs(b, err, langbot.ErrRuntimeAway)
			require.Less(b, time.Since(began), time.Minute)
			require.Zero(b, b.installs())
		})
	})
}

// TestEnsureOvertaken: what another process does in the middle does not become this one's success.
func TestEnsureOvertaken(t *testing.T) {
	onBench(t, "4.11.2", "token", func(b bench) {
		b.srv.On("PUT /api/v1/plugins/{author}/{name}/config", langbottest.Script{Steps: []langbottest.Step{{For: 2 * time.Second}}})
		b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
		time.AfterFunc(time.Second, func() { b.srv.AddPlugin(langbottest.Archive("acme", "demo", "2.0.0")) })
		done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0"), Config: map[string]any{"n": 1}})
		require.NoError(b, err)
		require.Equal(b, []string{"configure", "replace"}, done.Actions)
		b.runs("1.0.0")
	})
}

// TestEnsureBusy: a server that is too busy has done nothing, so it is asked again, also where tasks are hidden.
func TestEnsureBusy(t *testing.T) {
	for _, version := range []string{"4.10.8", "4.11.2"} {
		onBench(t, version, "key", func(b bench) {
			b.srv.Fault(langbottest.AnyInstall, langbottest.Busy(0), langbottest.First(6))
			began := time.Now()
			_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
			require.NoError(b, err)
			require.Less(b, time.Since(began), 2*time.Minute)
		})
	}
}

// TestEnsureInTwoBubbles: servers in memory are told apart, though they are in one process.
func TestEnsureInTwoBubbles(t *testing.T) {
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			onBench(t, "4.11.2", "token", func(b bench) {
				_, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
				require.NoError(b, err)
			})
		})
	}
}

// TestEnsureTogether: ten callers want the same, and there is one task and one result.
func TestEnsureTogether(t *testing.T) {
	onBench(t, "4.11.2", "token", func(b bench) {
		b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: 5 * time.Second}}})
		results := make([]langbot.EnsureResult, 10)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() {
				var err error
				results[i], err = b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0"), Config: map[string]any{"n": 1}})
				assert.NoError(b, err)
			})
		}
		wg.Wait()
		for _, result := range results {
			require.Equal(b, results[0], result)
		}
		require.Equal(b, []string{"install", "configure"}, results[0].Actions)
		require.Equal(b, 1, b.installs())
		require.Len(b, b.srv.Tasks(), 1)
	})
	t.Run("who wants another waits, and has its way", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			var wg sync.WaitGroup
			for _, version := range []string{"1.0.0", "2.0.0"} {
				wg.Go(func() {
					done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg(version)})
					assert.NoError(b, err)
					assert.Equal(b, version, done.Plugin.Version)
				})
			}
			wg.Wait()
			require.Equal(b, 2, b.installs())
		})
	})
	t.Run("a caller that gives up takes nobody along", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{{Action: "waiting for plugin initialization", For: 20 * time.Second}}})
			first, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := b.client.Plugins.Ensure(first, langbot.Spec{Package: b.pkg("1.0.0")})
				assert.ErrorIs(b, err, context.Canceled)
			})
			time.Sleep(15 * time.Second)
			wg.Go(func() {
				done, err := b.client.Plugins.Ensure(b.Context(), langbot.Spec{Package: b.pkg("1.0.0")})
				assert.NoError(b, err)
				assert.Empty(b, done.Actions, "it waits for what the first has sent")
			})
			impatient, stop := context.WithTimeout(b.Context(), time.Second)
			defer stop()
			_, err := b.client.Plugins.Ensure(impatient, langbot.Spec{Package: b.pkg("1.0.0")})
			require.ErrorIs(b, err, context.DeadlineExceeded)
			cancel()
			wg.Wait()
			require.Equal(b, 1, b.installs())
		})
	})
	t.Run("another credential has its own verdict", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			b.srv.AddPlugin(langbottest.Archive("acme", "demo", "1.0.0"))
			stranger, err := b.client.With(langbot.WithAPIKey("lbk_not-a-key"))
			require.NoError(b, err)
			var wg sync.WaitGroup
			for _, client := range []*langbot.Client{b.client, stranger} {
				wg.Go(func() {
					_, err := client.Plugins.Ensure(b.Context(), langbot.Spec{ID: demo})
					assert.Equal(b, client == stranger, errors.Is(err, langbot.ErrUnauthorized), "%v", err)
				})
			}
			wg.Wait()
		})
	})
}

// TestEnsureRefuses: before anything is sent.
func TestEnsureRefuses(t *testing.T) {
	client, mock := mocked(t)
	pkg := memory{id: demo, data: []byte("x")}
	for name, spec := range map[string]langbot.Spec{
		"nothing":                  {},
		"a bad id":                 {ID: langbot.PluginID{Author: "a/b", Name: "c"}},
		"another id":               {ID: langbot.PluginID{Author: "a", Name: "b"}, Package: pkg},
		"another version":          {Version: "2.0.0", Package: pkg},
		"two sources":              {Package: pkg, GitHub: langbot.GitHubAsset{Owner: "a", Repo: "b", ReleaseTag: "v1"}},
		"GitHub without an id":     {GitHub: langbot.GitHubAsset{Owner: "a", Repo: "b", ReleaseTag: "v1"}},
		"GitHub without a tag":     {ID: demo, GitHub: langbot.GitHubAsset{Owner: "a", Repo: "b"}},
		"a config that is no JSON": {ID: demo, Config: map[string]any{"f": func() {}}},
	} {
		_, err := client.Plugins.Ensure(t.Context(), spec)
		require.ErrorIs(t, err, langbot.ErrInvalid, name)
	}
	_, err := client.Plugins.EnsureAbsent(t.Context(), langbot.AbsentSpec{})
	require.ErrorIs(t, err, langbot.ErrInvalid)
	require.Zero(t, mock.GetTotalCallCount())
}

// TestEnsureOfStrangers: an account without access to the workspace installs nothing, and does not log in again and again.
func TestEnsureOfStrangers(t *testing.T) {
	client, mock := mocked(t, langbot.WithLogin("a@b.c", "password-1"))
	mock.RegisterResponder("POST", "/api/v1/user/auth", answered(200, `{"code":0,"data":{"token":"`+userToken+`"}}`))
	mock.RegisterNoResponder(answered(404, `{"code":"resource_not_found","msg":"Resource not found"}`))
	_, err := client.Plugins.Ensure(t.Context(), langbot.Spec{Package: memory{id: demo, data: []byte("x")}})
	require.ErrorIs(t, err, langbot.ErrForbidden)
	_, err = client.Plugins.EnsureAbsent(t.Context(), langbot.AbsentSpec{ID: demo})
	require.ErrorIs(t, err, langbot.ErrForbidden)
	for call, n := range mock.GetCallCountInfo() {
		require.True(t, n == 0 || strings.HasPrefix(call, "GET ") || call == "POST /api/v1/user/auth" || call == "NO_RESPONDER", call)
	}
	require.Equal(t, 1, mock.GetCallCountInfo()["POST /api/v1/user/auth"])
}

// TestEnsureAbsent: whatever the state, on every release and by each kind of credential.
func TestEnsureAbsent(t *testing.T) {
	for _, version := range releases {
		for _, credential := range []string{"key", "token"} {
			for name, tt := range map[string]struct {
				prepare func(bench)
				actions []string
			}{
				"there":  {states["right"].prepare, []string{"remove"}},
				"absent": {states["absent"].prepare, nil},
				"left behind by a first installation that failed": {states["left behind by a first installation that failed"].prepare, nil},
			} {
				t.Run(version+" by "+credential+" "+name, func(t *testing.T) {
					onBench(t, version, credential, func(b bench) {
						tt.prepare(b)
						dry, err := b.client.Plugins.EnsureAbsent(b.Context(), langbot.AbsentSpec{ID: demo, DryRun: true})
						require.NoError(b, err)
						require.Equal(b, tt.actions, dry.Actions)
						require.Empty(b, b.srv.Calls(opDelete))
						done, err := b.client.Plugins.EnsureAbsent(b.Context(), langbot.AbsentSpec{ID: demo, Data: true})
						at := slices.Index(releases, version)
						if credential == "key" && at >= slices.Index(releases, "4.10.8") && at <= slices.Index(releases, "4.10.9") {
							require.ErrorIs(b, err, langbot.ErrTasksHidden)
							require.Empty(b, b.srv.Calls(opDelete), "nobody could see what becomes of it")
							return
						}
						require.NoError(b, err)
						if tt.actions != nil || name == "absent" {
							require.Equal(b, tt.actions, done.Actions)
						}
						require.Zero(b, done.Plugin)
						if at >= slices.Index(releases, "4.10.8") {
							require.Empty(b, b.srv.Plugins(), "nothing is left behind")
						}
						for _, call := range b.srv.Calls(opDelete) {
							require.Contains(b, call.Query, "delete_data=true")
						}
						again, err := b.client.Plugins.EnsureAbsent(b.Context(), langbot.AbsentSpec{ID: demo})
						require.NoError(b, err)
						require.Empty(b, again.Actions)
					})
				})
			}
		}
	}
}

// TestEnsureAbsentFails: a removal that fails is told, and one that was lost is sent again.
func TestEnsureAbsentFails(t *testing.T) {
	t.Run("it fails", func(t *testing.T) {
		onBench(t, "4.11.2", "token", func(b bench) {
			states["right"].prepare(b)
			b.srv.On(opDelete, langbottest.Script{End: langbottest.Fail("no")})
			_, err := b.client.Plugins.EnsureAbsent(b.Context(), langbot.AbsentSpec{ID: demo})
			var failed *langbot.TaskError
			require.ErrorAs(b, err, &failed)
			require.Len(b, b.srv.Calls(opDelete), 1)
			b.runs("1.1.0")
		})
	})
	for name, fault := range map[string]langbottest.Effect{"answer lost": langbottest.LoseAnswer(), "request lost": langbottest.Reset()} {
		for _, credential := range []string{"key", "token"} {
			t.Run(name+" by "+credential, func(t *testing.T) {
				onBench(t, "4.11.2", credential, func(b bench) {
					states["right"].prepare(b)
					b.srv.Fault(opDelete, fault, langbottest.Nth(1))
					_, err := b.client.Plugins.EnsureAbsent(b.Context(), langbot.AbsentSpec{ID: demo})
					require.NoError(b, err)
					require.Empty(b, b.srv.Plugins())
					require.LessOrEqual(b, len(b.srv.Calls(opDelete)), 2)
				})
			})
		}
	}
}
