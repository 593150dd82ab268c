package langbot_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// server starts a reference server for an example, with a client of it.
func server(opts ...langbottest.Option) (*langbottest.Server, *langbot.Client) {
	srv, err := langbottest.Start(opts...)
	if err != nil {
		log.Fatal(err)
	}
	client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken), langbot.WithHTTPClient(srv.Client()),
		langbot.WithPolling(langbot.Polling{Interval: 10 * time.Millisecond}))
	if err != nil {
		log.Fatal(err)
	}
	return srv, client
}

// hello is the archive of a small plugin.
func hello(version string) []byte {
	return archives.Zip(archives.Plugin("acme", "hello", `"`+version+`"`)...)
}

func Example() {
	srv, client := server() // in a program: langbot.New("http://127.0.0.1:5300", langbot.WithAPIKey(key))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	pkg, err := lbpkg.Parse(hello("1.0.0")) // or lbpkg.Open("hello.lbpkg")
	if err != nil {
		log.Fatal(err)
	}
	op, err := client.Plugins.InstallLocal(ctx, pkg)
	if err != nil {
		log.Fatal(err)
	}
	done, err := op.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Plugin.ID, done.Plugin.Version, "is", done.Plugin.Status)
	// Output: acme/hello 1.0.0 is initialized
}

func ExampleNew() {
	_, err := langbot.New("http://user:password@127.0.0.1:5300", langbot.WithAPIKey("lbk_…"))
	fmt.Println(err)
	// Output: langbot: invalid request: the base URL holds credentials: pass them as an option
}

func ExampleClient_With() {
	srv, client := server()
	defer srv.Close()
	stranger, err := client.With(langbot.WithAPIKey("lbk_not-a-key")) // the same server and connections
	if err != nil {
		log.Fatal(err)
	}
	_, err = stranger.Plugins.List(context.Background())
	fmt.Println(errors.Is(err, langbot.ErrUnauthorized))
	// Output: true
}

func ExampleClient_Call() {
	srv, client := server()
	defer srv.Close()
	var out struct {
		Key struct {
			Name   string   `json:"name"`
			Scopes []string `json:"scopes"`
		} `json:"key"`
	}
	in := map[string]any{"name": "reader", "scopes": []string{"resource.view"}}
	if err := client.Call(context.Background(), "POST", "/api/v1/apikeys", in, &out); err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.Key.Name, out.Key.Scopes)
	// Output: reader [resource.view]
}

func ExampleParsePluginID() {
	id, err := langbot.ParsePluginID("acme/hello")
	fmt.Println(id.Author, id.Name, err)
	_, err = langbot.ParsePluginID("acme/hello/world")
	fmt.Println(err)
	// Output:
	// acme hello <nil>
	// langbot: invalid request: plugin id "acme/hello/world": a slash cannot be part of an author or name: no URL reaches such a plugin
}

func ExamplePluginsService_List() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	plugins, err := client.Plugins.List(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range plugins {
		fmt.Println(p.ID, p.Version, p.Status, p.Source, p.Label.In("en"))
	}
	// Output: acme/hello 1.0.0 initialized local Demo
}

func ExamplePluginsService_Get() {
	srv, client := server()
	defer srv.Close()
	p, err := client.Plugins.Get(context.Background(), langbot.PluginID{Author: "acme", Name: "hello"})
	switch {
	case errors.Is(err, langbot.ErrNotFound):
		fmt.Println("not running now")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println("running in version", p.Version)
	}
	// Output: not running now
}

func ExamplePluginsService_Delete() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	ctx := context.Background()
	for range 2 {
		op, err := client.Plugins.Delete(ctx, langbot.PluginID{Author: "acme", Name: "hello"}, langbot.DeleteOptions{Data: true})
		if err != nil {
			log.Fatal(err)
		}
		_, err = op.Wait(ctx)
		fmt.Println("removed:", err == nil, "was not there:", errors.Is(err, langbot.ErrNotFound))
	}
	// Output:
	// removed: true was not there: false
	// removed: false was not there: true
}

func ExamplePluginsService_InstallMarketplace() {
	srv, client := server()
	defer srv.Close()
	srv.AddMarketplace(hello("1.0.0"))
	srv.AddMarketplace(hello("1.1.0"))
	ctx := context.Background()
	op, err := client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: langbot.PluginID{Author: "acme", Name: "hello"}, Version: "1.0.0"})
	if err != nil {
		log.Fatal(err)
	}
	done, err := op.Wait(ctx)
	fmt.Println(done.Plugin.Version, err)
	// Output: 1.0.0 <nil>
}

func ExamplePluginsService_InstallGitHub() {
	srv, client := server()
	defer srv.Close()
	srv.AddGitHub("acme", "hello", "v2.0.0", "hello.lbpkg", hello("2.0.0"))
	ctx := context.Background()
	op, err := client.Plugins.InstallGitHub(ctx, langbot.GitHubAsset{Owner: "acme", Repo: "hello", ReleaseTag: "v2.0.0"})
	if err != nil {
		log.Fatal(err)
	}
	done, err := op.Wait(ctx)
	fmt.Println(done.Plugin.ID, done.Plugin.Version, err)
	// Output: acme/hello 2.0.0 <nil>
}

func ExamplePluginsService_WaitReady() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := client.Plugins.WaitReady(ctx, langbot.PluginID{Author: "acme", Name: "hello"}, "1.0.0")
	fmt.Println(p.Status, err)
	// Output: initialized <nil>
}

func ExampleOperation_Events() {
	srv, client := server()
	defer srv.Close()
	srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{
		{Action: "downloading plugin package", Percent: 15, For: 200 * time.Millisecond},
		{Action: "waiting for plugin initialization", Percent: 84, For: 200 * time.Millisecond},
	}})
	srv.AddMarketplace(hello("1.0.0"))
	ctx := context.Background()
	op, err := client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: langbot.PluginID{Author: "acme", Name: "hello"}})
	if err != nil {
		log.Fatal(err)
	}
	for task, err := range op.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %% %s: %s\n", task.Progress.Percent, task.Action, task.State)
	}
	_, err = op.Wait(ctx) // the task is over; its effect is there too
	fmt.Println(err)
	// Output:
	// 15 % downloading plugin package: running
	// 84 % waiting for plugin initialization: running
	// 100 % plugin installed: succeeded
	// <nil>
}

func ExampleOperation_Wait_failure() {
	srv, client := server()
	defer srv.Close()
	srv.On(langbottest.AnyInstall, langbottest.Script{End: langbottest.Fail("no space left on device")})
	ctx := context.Background()
	pkg, err := lbpkg.Parse(hello("1.0.0"))
	if err != nil {
		log.Fatal(err)
	}
	op, err := client.Plugins.InstallLocal(ctx, pkg)
	if err != nil {
		log.Fatal(err)
	}
	_, err = op.Wait(ctx)
	var failed *langbot.TaskError
	if errors.As(err, &failed) {
		fmt.Println(failed.Task.State, failed.Task.Message)
	}
	// Output: failed no space left on device
}

func ExampleTasksService_Resume() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	pkg, err := lbpkg.Parse(hello("1.0.0"))
	if err != nil {
		log.Fatal(err)
	}
	op, err := client.Plugins.InstallLocal(ctx, pkg)
	if err != nil {
		log.Fatal(err)
	}
	token := op.Token() // to a job queue, a file, a database

	op, err = client.Tasks.Resume(token) // in another process
	if err != nil {
		log.Fatal(err)
	}
	done, err := op.Wait(ctx)
	fmt.Println(done.Plugin.ID, err)
	// Output: acme/hello <nil>
}

func ExampleTasksService_List() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	op, err := client.Plugins.Delete(ctx, langbot.PluginID{Author: "acme", Name: "hello"}, langbot.DeleteOptions{})
	if err != nil {
		log.Fatal(err)
	}
	_, _ = op.Wait(ctx)
	tasks, err := client.Tasks.List(ctx, langbot.TaskFilter{Kind: "plugin-operation"})
	if err != nil {
		log.Fatal(err)
	}
	for _, task := range tasks {
		fmt.Println(task.Name, task.State, task.Message)
	}
	// Output: plugin-remove-hello failed Plugin acme/hello is not installed in this Workspace
}

func ExampleTasksService_Get() {
	srv, client := server()
	defer srv.Close()
	_, err := client.Tasks.Get(context.Background(), 999)
	fmt.Println(errors.Is(err, langbot.ErrNotFound))
	// Output: true
}

func ExampleSystemService_Info() {
	srv, client := server()
	defer srv.Close()
	info, err := client.System.Info(context.Background())
	fmt.Println(info.Version, info.Edition, info.Limits.Extensions, err)
	// Output: 4.11.2 community -1 <nil>
}

// A program that starts beside LangBot waits until plugins can be worked with.
func ExampleSystemService_WaitReady() {
	srv, client := server()
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := client.System.WaitReady(ctx); err != nil {
		fmt.Println(err) // errors.Is(err, langbot.ErrRuntimeAway): LangBot is there, its plugin runtime is not
		return
	}
	fmt.Println("ready")
	// Output: ready
}

func ExamplePluginsService_Config() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	srv.AddPlugin(hello("1.0.0"))
	id := langbot.PluginID{Author: "acme", Name: "hello"}

	if err := client.Plugins.SetConfig(ctx, id, map[string]any{"greeting": "hi", "limit": 9007199254740993}); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Plugins.WaitReady(ctx, id, ""); err != nil {
		log.Fatal(err)
	}
	config, err := client.Plugins.Config(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config["greeting"], config["limit"])
	// Output: hi 9007199254740993
}

func ExamplePluginsService_SetConfig() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	srv.AddPlugin(hello("1.0.0"))
	id := langbot.PluginID{Author: "acme", Name: "hello"}

	err := client.Plugins.SetConfig(ctx, id, []string{"hi"})
	fmt.Println(errors.Is(err, langbot.ErrInvalid)) // with that the plugin would never start again
	if err := client.Plugins.SetConfig(ctx, id, map[string]any{"greeting": "hi"}); err != nil {
		log.Fatal(err)
	}
	p, err := client.Plugins.WaitReady(ctx, id, "")
	fmt.Println(p.Status, err)
	// Output:
	// true
	// initialized <nil>
}

func ExamplePluginsService_UpdateConfig() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	srv.AddPlugin(hello("1.0.0"))
	id := langbot.PluginID{Author: "acme", Name: "hello"}

	err := client.Plugins.UpdateConfig(ctx, id, func(config map[string]any) error {
		config["greeting"] = "good morning"
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	config, err := client.Plugins.Config(ctx, id)
	fmt.Println(config, err)
	// Output: map[greeting:good morning] <nil>
}

func ExamplePluginsService_Readme() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(archives.Zip(append(archives.Plugin("acme", "hello", `"1.0.0"`), archives.File{Name: "README.md", Content: "# Hello"})...))
	text, err := client.Plugins.Readme(context.Background(), langbot.PluginID{Author: "acme", Name: "hello"}, "zh_Hans")
	fmt.Println(text, err) // there is none in Chinese
	// Output: # Hello <nil>
}

// An admin page passes the icon on.
func ExamplePluginsService_Icon() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	w := httptest.NewRecorder()

	icon, err := client.Plugins.Icon(context.Background(), langbot.PluginID{Author: "acme", Name: "hello"})
	if err != nil {
		http.Error(w, "no icon", http.StatusNotFound) // this plugin has none
	} else {
		defer icon.Close()
		w.Header().Set("Content-Type", icon.ContentType)
		_, _ = io.Copy(w, icon)
	}
	fmt.Println(w.Code, errors.Is(err, langbot.ErrServer))
	// Output: 404 true
}

func ExamplePluginsService_Logs() {
	srv, client := server(langbottest.Version("4.10.6"))
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	srv.Log("acme/hello", "ERROR", "no greeting is set")

	lines, err := client.Plugins.Logs(context.Background(), langbot.PluginID{Author: "acme", Name: "hello"}, langbot.LogFilter{Limit: 20, Level: "WARNING"})
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range lines {
		fmt.Println(line.Level, line.Text)
	}
	// Output: ERROR no greeting is set
}

func ExamplePluginsService_FollowLogs() {
	srv, client := server(langbottest.Version("4.10.6"))
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	srv.Log("acme/hello", "ERROR", "first")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	for line, err := range client.Plugins.FollowLogs(ctx, langbot.PluginID{Author: "acme", Name: "hello"}, langbot.LogFilter{Level: "ERROR"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line.Text)
		if line.Text == "second" {
			break
		}
		srv.Log("acme/hello", "ERROR", "second")
	}
	// Output:
	// first
	// second
}

func ExamplePluginsService_Upgrade() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	id := langbot.PluginID{Author: "acme", Name: "hello"}
	srv.AddMarketplace(hello("1.0.0"))
	op, err := client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: id})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := op.Wait(ctx); err != nil {
		log.Fatal(err)
	}

	srv.AddMarketplace(hello("1.1.0"))
	op, err = client.Plugins.Upgrade(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	done, err := op.Wait(ctx)
	fmt.Println(done.Plugin.ID, done.Plugin.Version, err)
	// Output: acme/hello 1.1.0 <nil>
}

func ExamplePluginsService_Preview() {
	srv, client := server()
	defer srv.Close()
	pkg, err := lbpkg.Parse(hello("1.0.0"))
	if err != nil {
		log.Fatal(err)
	}
	preview, err := client.Plugins.Preview(context.Background(), pkg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(preview.ID, preview.Version, preview.Label.In("en_US"), preview.Files)
	// Output: acme/hello 1.0.0 Demo 2
}

func ExamplePluginsService_GitHubReleaseAssets() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	srv.AddGitHub("acme", "hello", "v2.0.0", "hello.lbpkg", hello("2.0.0"))

	releases, err := client.Plugins.GitHubReleases(ctx, "acme", "hello")
	if err != nil {
		log.Fatal(err)
	}
	files, err := client.Plugins.GitHubReleaseAssets(ctx, releases[0])
	if err != nil {
		log.Fatal(err)
	}
	op, err := client.Plugins.InstallGitHub(ctx, files[0])
	if err != nil {
		log.Fatal(err)
	}
	done, err := op.Wait(ctx)
	fmt.Println(files[0].Name, done.Plugin.ID, done.Plugin.Version, err)
	// Output: hello.lbpkg acme/hello 2.0.0 <nil>
}

func ExamplePluginsService_GitHubReleases() {
	srv, client := server()
	defer srv.Close()
	ctx := context.Background()
	srv.AddGitHub("acme", "hello", "v2.0.0", "hello.lbpkg", hello("2.0.0"))

	releases, err := client.Plugins.GitHubReleases(ctx, "acme", "hello")
	if err != nil {
		log.Fatal(err)
	}
	for _, release := range releases {
		files, err := client.Plugins.GitHubReleaseAssets(ctx, release)
		if err != nil {
			log.Fatal(err)
		}
		for _, file := range files { // any of them could go to InstallGitHub
			fmt.Println(release.Tag, file.Name)
		}
	}
	// Output: v2.0.0 hello.lbpkg
}

func ExamplePluginsService_Ensure() {
	srv, client := server()
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	srv.AddPlugin(hello("1.0.0"))
	pkg, err := lbpkg.Parse(hello("1.1.0")) // or lbpkg.FromFS of an embed.FS
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		done, err := client.Plugins.Ensure(ctx, langbot.Spec{Package: pkg, Config: map[string]any{"greeting": "hello"}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(done.Actions, done.Plugin.Version, done.Why)
	}
	// Output:
	// [replace configure] 1.1.0 it runs in version 1.0.0, not in 1.1.0
	// [] 1.1.0
}

func ExamplePluginsService_Ensure_dryRun() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	id := langbot.PluginID{Author: "acme", Name: "hello"}
	plan, err := client.Plugins.Ensure(context.Background(), langbot.Spec{ID: id, Version: "2.0.0", DryRun: true})
	fmt.Println(plan.Actions, plan.Why, err)
	// Output: [replace] it runs in version 1.0.0, not in 2.0.0 <nil>
}

func ExamplePluginsService_EnsureAbsent() {
	srv, client := server()
	defer srv.Close()
	srv.AddPlugin(hello("1.0.0"))
	done, err := client.Plugins.EnsureAbsent(context.Background(), langbot.AbsentSpec{ID: langbot.PluginID{Author: "acme", Name: "hello"}, Data: true})
	fmt.Println(done.Actions, done.Why, err)
	// Output: [remove] it runs in version 1.0.0 <nil>
}
