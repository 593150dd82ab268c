package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// ensure wants Ensure to do what is said and nothing else, and a second time nothing.
func (e *env) ensure(spec langbot.Spec, actions ...string) langbot.EnsureResult {
	before := e.tasks()
	done, err := e.client.Plugins.Ensure(e.ctx, spec)
	require.NoError(e, err)
	require.Equal(e, actions, done.Actions)
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
	require.Equal(e, e.id, done.Plugin.ID)
	started := 0
	for _, action := range actions {
		if action != "configure" {
			started++
		}
	}
	require.Equal(e, before+started, e.tasks())
	again, err := e.client.Plugins.Ensure(e.ctx, spec)
	require.NoError(e, err)
	require.Empty(e, again.Actions)
	require.Equal(e, before+started, e.tasks(), "it was right, so nothing was done")
	return done
}

func ensureLocal(e *env) {
	dry, err := e.client.Plugins.Ensure(e.ctx, langbot.Spec{Package: e.pack("1.0.0", "pass"), DryRun: true})
	require.NoError(e, err)
	require.Equal(e, []string{"install"}, dry.Actions)
	e.ensure(langbot.Spec{Package: e.pack("1.0.0", "pass")}, "install")
	require.NoError(e, e.client.Plugins.SetConfig(e.ctx, e.id, map[string]any{"greeting": "kept"}))
	_, err = e.client.Plugins.WaitReady(e.ctx, e.id, "1.0.0")
	require.NoError(e, err)
	for _, version := range []string{"1.10.0", "1.9.0"} { // up, and down again
		done := e.ensure(langbot.Spec{Package: e.pack(version, "pass")}, "replace")
		require.Equal(e, version, done.Plugin.Version)
	}
	if !e.configUntold() {
		require.Equal(e, map[string]any{"greeting": "kept"}, e.config())
	}
}

// ensureBroken has a first installation fail, which may leave something behind, and then a good one of the same version.
func ensureBroken(e *env) {
	e.onReference(langbottest.Script{End: langbottest.FailToStart})
	impatient := e.connect(e.polling(langbot.Polling{Settle: 8 * time.Second}))
	_, err := impatient.Plugins.Ensure(e.ctx, langbot.Spec{Package: e.pack("1.0.0", `raise RuntimeError("no")`)})
	var failed *langbot.TaskError
	switch {
	case e.since("4.9.7"):
		require.ErrorAs(e, err, &failed)
	default:
		require.ErrorIs(e, err, langbot.ErrNoEffect)
	}
	require.ErrorContains(e, err, "ensuring "+e.id.String())
	e.onReference(langbottest.Script{})
	done, err := e.client.Plugins.Ensure(e.ctx, langbot.Spec{Package: e.pack("1.0.0", "pass")})
	require.NoError(e, err)
	require.Equal(e, "1.0.0", done.Plugin.Version)
	require.Equal(e, langbot.PluginInitialized, done.Plugin.Status)
}

func ensureConfig(e *env) {
	spec := langbot.Spec{Package: e.pack("1.0.0", "pass"), Config: map[string]any{"n": json.Number("9007199254740993"), "of": map[string]any{"x": 1}}}
	if e.since("4.9.7") && !e.since("4.10.0") {
		e.note("This release tells every config as empty, and the client says so before anything is done.")
		_, err := e.client.Plugins.Ensure(e.ctx, spec)
		require.ErrorIs(e, err, langbot.ErrInvalid)
		return
	}
	e.ensure(spec, "install", "configure")
	spec.Config = map[string]any{"of": map[string]any{"y": 2}}
	e.ensure(spec, "configure")
	spec.Package, spec.Config = e.pack("1.1.0", "pass"), map[string]any{"more": true}
	e.ensure(spec, "replace", "configure")
	config, err := e.client.Plugins.Config(e.ctx, e.id)
	require.NoError(e, err)
	require.Equal(e, map[string]any{"n": json.Number("9007199254740993"), "of": map[string]any{"y": json.Number("2")}, "more": true}, config)
}

func ensureMarketplace(e *env) {
	e.target.space.Add(e.id.String(), "0.1.0", packed(e.id, "0.1.0", "pass"))
	e.ensure(langbot.Spec{ID: e.id, Version: "0.1.0"}, "install")
	e.target.space.Add(e.id.String(), "0.2.0", packed(e.id, "0.2.0", "pass"))
	e.ensure(langbot.Spec{ID: e.id, Version: "0.2.0"}, "replace")
	e.ensure(langbot.Spec{ID: e.id})
}

func ensureGitHub(e *env) {
	a := e.released()
	spec := langbot.Spec{ID: e.id, GitHub: langbot.GitHubAsset{Owner: a.Owner, Repo: a.Repo, ReleaseTag: a.ReleaseTag}}
	e.ensure(spec, "install")
	spec.GitHub.ReleaseTag = "latest"
	e.ensure(spec)
}

func ensureAbsent(e *env) {
	absent := func(spec langbot.AbsentSpec, actions ...string) {
		done, err := e.client.Plugins.EnsureAbsent(e.ctx, spec)
		if e.credential == key && e.since("4.10.7") && e.hidden() {
			e.note("The end of a removal cannot be seen by the key, and reading plugins meanwhile can hang the server: ErrTasksHidden.")
			require.ErrorIs(e, err, langbot.ErrTasksHidden)
			e.clean()
			return
		}
		require.NoError(e, err)
		require.Equal(e, actions, done.Actions)
		require.Zero(e, done.Plugin)
	}
	e.install(e.pack("1.0.0", "pass"))
	dry, err := e.client.Plugins.EnsureAbsent(e.ctx, langbot.AbsentSpec{ID: e.id, DryRun: true})
	require.NoError(e, err)
	require.Equal(e, []string{"remove"}, dry.Actions)
	absent(langbot.AbsentSpec{ID: e.id, Data: true}, "remove")
	absent(langbot.AbsentSpec{ID: e.id})
}

// The environment by which a test process knows that it is one of ten.
const (
	ofTenURL    = "LANGBOT_CONTRACT_URL"
	ofTenToken  = "LANGBOT_CONTRACT_TOKEN"
	ofTenName   = "LANGBOT_CONTRACT_NAME"
	ofTenConfig = "LANGBOT_CONTRACT_CONFIG" // set: the plugin is to have one
)

// TestOneOfTen is what each of ten processes does; by itself it does nothing.
func TestOneOfTen(t *testing.T) {
	if os.Getenv(ofTenURL) == "" {
		t.Skip("it is run by ensureByTen")
	}
	client, err := langbot.New(os.Getenv(ofTenURL), langbot.WithUserToken(os.Getenv(ofTenToken)))
	require.NoError(t, err)
	pkg, err := lbpkg.Parse(packed(langbot.PluginID{Author: "contract", Name: os.Getenv(ofTenName)}, "1.0.0", "pass"))
	require.NoError(t, err)
	spec := langbot.Spec{Package: pkg}
	if os.Getenv(ofTenConfig) != "" {
		spec.Config = map[string]any{"greeting": "of ten"}
	}
	done, err := client.Plugins.Ensure(t.Context(), spec)
	require.NoError(t, err)
	fmt.Printf("runs %s %s %s\n", done.Plugin.ID, done.Plugin.Version, done.Plugin.Status)
}

// ensureByTen has ten processes want the same plugin at once. Each ends with it.
func ensureByTen(e *env) {
	program, err := os.Executable()
	require.NoError(e, err)
	untold := e.since("4.9.7") && !e.since("4.10.0")
	outputs := make([]string, 10)
	var all sync.WaitGroup
	for i := range outputs {
		all.Go(func() {
			one := exec.CommandContext(e.ctx, program, "-test.run=^TestOneOfTen$", "-test.v")
			one.Env = append(os.Environ(), ofTenURL+"="+e.target.url, ofTenToken+"="+e.target.token, ofTenName+"="+e.id.Name)
			if !untold {
				one.Env = append(one.Env, ofTenConfig+"=yes")
			}
			out, err := one.CombinedOutput()
			if outputs[i] = string(out); err != nil {
				outputs[i] += err.Error()
			}
		})
	}
	all.Wait()
	for _, out := range outputs {
		require.Contains(e, out, fmt.Sprintf("runs %s 1.0.0 initialized\n", e.id))
	}
	spec := langbot.Spec{Package: e.pack("1.0.0", "pass")}
	if !untold {
		spec.Config = map[string]any{"greeting": "of ten"}
	}
	done, err := e.client.Plugins.Ensure(e.ctx, spec)
	require.NoError(e, err)
	require.Empty(e, done.Actions, "it is right, and stays so")
}
