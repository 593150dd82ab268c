package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/internal/lab"
)

const (
	user     = "admin@example.test"
	password = "correct horse battery"
	plugins  = "/api/v1/plugins"
	tasks    = "/api/v1/system/tasks"
)

// scenario asks a server without users or plugins everything that a client of plugins may come to ask.
func scenario(r *run) {
	r.users()
	r.keys()
	r.system()
	r.authentication()
	r.missing()
	r.install()
	r.read()
	r.config()
	r.versions()
	r.taskRoutes()
	r.bodies()
	r.packages()
	r.sources()
	r.paths()
	r.requestIDs()
	r.removal()
	r.cancelled()
	r.capacity()
	r.runtimeDown()
	r.restart()
}

// demo is a plugin with everything that there are routes for.
func demo(author, name, version, code string) []byte {
	manifest := strings.Replace(archives.Manifest(author, name, strconv.Quote(version)), "spec:\n  config: []\n  components: {}\n",
		"  icon: assets/icon.svg\nspec:\n  config:\n    - {name: api_key, type: string, label: {en_US: Key}, required: false, default: \"\"}\n"+
			"    - {name: greeting, type: string, label: {en_US: Greeting}, required: false, default: hi}\n"+
			"  components:\n    Tool: {fromDirs: [{path: components/tools/, maxDepth: 1}]}\n", 1)
	return archives.Zip(
		archives.File{Name: "manifest.yaml", Content: manifest},
		archives.File{Name: "main.py", Content: archives.Code(code)},
		archives.File{Name: "README.md", Content: "# Demo\n\u00e9\n"},
		archives.File{Name: "readme/README_zh_Hans.md", Content: "# \u6f14\u793a\n"},
		archives.File{Name: "assets/icon.svg", Content: `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>`},
		archives.File{Name: "assets/sub/data.txt", Content: "hello asset\n"},
		archives.File{Name: "assets/page.html", Content: "<p>page</p>\n"},
		archives.File{Name: "components/__init__.py"}, archives.File{Name: "components/tools/__init__.py"},
		archives.File{Name: "components/tools/echo.py", Content: "from langbot_plugin.api.definition.components.tool.tool import Tool\n\n\n" +
			"class Echo(Tool):\n    async def call(self, params, *args, **kwargs):\n        return params.get('text', '')\n"},
		archives.File{Name: "components/tools/echo.yaml", Content: "apiVersion: v1\nkind: Tool\nmetadata:\n  name: echo\n  label: {en_US: Echo}\n" +
			"  description: {en_US: Echoes}\nspec:\n  parameters: {type: object, properties: {text: {type: string}, token: {type: string}}}\n" +
			"  llm_prompt: Echo\nexecution:\n  python: {path: echo.py, attr: Echo}\n"},
	)
}

func (r *run) upload(data []byte, what string, opts ...option) answer {
	r.t.Helper()
	return r.ask("POST", plugins+"/install/local", append([]option{form("file", "demo.lbpkg", data, what)}, opts...)...)
}

// since reports whether the release is as new as another.
func (r *run) since(other string) bool { return !lab.Older(r.release, other) }

func (r *run) users() {
	const init, auth = "/api/v1/user/init", "/api/v1/user/auth"
	account := map[string]string{"user": user, "password": password}
	r.section("users")
	r.ask("GET", plugins, as("none"))
	r.ask("GET", init, as("none"))
	r.ask("GET", "/api/v1/user/account-info", as("none"))
	r.ask("POST", auth, as("none"), asJSON(account))
	r.ask("POST", init, as("none"), asJSON(map[string]string{"user": user}))
	r.ask("POST", init, as("none"), asJSON(account))
	r.ask("POST", init, as("none"), asJSON(account))
	r.ask("GET", init, as("none"))
	r.ask("GET", "/api/v1/user/account-info", as("none"))
	login := r.ask("POST", auth, as("none"), asJSON(account))
	r.token, _ = login.data("token").(string)
	require.NotEmpty(r.t, r.token)
	r.ask("POST", auth, as("none"), asJSON(map[string]string{"user": user, "password": "wrong"}))
	r.ask("POST", auth, as("none"), asJSON(map[string]string{"user": "nobody@example.test", "password": "wrong"}))
	r.ask("POST", auth, as("none"), asJSON(map[string]string{"user": user}))
	r.ask("POST", auth, as("none"), text("application/json", "{"))
	for _, who := range []string{"none", "token", "bad", "token-bare"} {
		r.ask("GET", "/api/v1/user/check-token", as(who))
	}
	r.ask("GET", "/api/v1/user/info", as("token"))
}

func (r *run) keys() {
	const keys = "/api/v1/apikeys"
	r.section("keys")
	r.ask("GET", keys, as("none"))
	r.ask("GET", keys, as("token"))
	r.ask("POST", keys, as("token"), asJSON(map[string]any{"description": "without a name"}))
	first := r.ask("POST", keys, as("token"), asJSON(map[string]any{"name": "first", "description": ""}))
	r.key, _ = first.data("key", "key").(string)
	require.NotEmpty(r.t, r.key)
	r.ask("GET", keys, as("key"))
	r.ask("GET", keys, as("token"))
	r.ask("GET", keys+"/1", as("token"))
	second := r.ask("POST", keys, as("token"), asJSON(map[string]any{"name": "second", "description": ""}))
	r.made, _ = second.data("key", "key").(string)
	r.ask("GET", plugins, as("made-key"))
	r.ask("DELETE", fmt.Sprintf("%s/%v", keys, second.data("key", "id")), as("token"))
	r.ask("GET", plugins, as("made-key"))
	r.ask("DELETE", keys+"/99999", as("token"))
	r.ask("GET", keys+"/99999", as("token"))

	r.section("scopes")
	for _, scopes := range []any{[]string{"resource.view"}, []string{"resource.manage"}, []string{}, []string{"nope"}, "resource.view"} {
		made := r.ask("POST", keys, as("token"), asJSON(map[string]any{"name": "scoped", "description": "", "scopes": scopes}))
		if r.made, _ = made.data("key", "key").(string); r.made == "" {
			continue
		}
		for _, path := range []string{plugins, plugins + "/no/such", plugins + "/no/such/logs", tasks, tasks + "/99999", "/api/v1/system/context"} {
			r.ask("GET", path, as("made-key"))
		}
		r.follow(r.ask("DELETE", plugins+"/no/such", as("made-key")))
	}
}

func (r *run) system() {
	r.section("system")
	for _, who := range []string{"none", "key", "token"} {
		for _, path := range []string{"/api/v1/system/info", "/healthz", "/api/v1/system/context", "/api/v1/system/capabilities", "/api/v1/system/status/plugin-system"} {
			r.ask("GET", path, as(who))
		}
	}
	r.ask("GET", plugins+"/debug-info", as("key"))
	r.ask("GET", "/api/v1/extensions", as("key"))
}

func (r *run) authentication() {
	r.section("authentication")
	marketplace := asJSON(map[string]string{"plugin_author": "nobody", "plugin_name": "nothing", "plugin_version": "0.1.0"})
	for _, who := range []string{"none", "token", "key", "key-in-header", "bad", "bad-key-in-header", "bad-made-key", "both", "token+bad-key",
		"key+bad-bearer", "token-bare", "bearer-small", "bearer-empty", "key-empty", "basic"} {
		r.ask("GET", plugins, as(who))
		r.ask("GET", plugins+"/no/such", as(who))
		r.ask("GET", tasks, as(who))
		r.ask("GET", tasks+"/99999", as(who))
		r.follow(r.ask("DELETE", plugins+"/no/such", as(who)))
		r.follow(r.ask("POST", plugins+"/install/marketplace", as(who), marketplace))
	}
}

func (r *run) missing() {
	r.section("missing plugin")
	const missing = plugins + "/no/such"
	r.ask("GET", plugins)
	for _, who := range []string{"key", "token"} {
		r.ask("GET", missing, as(who))
		r.follow(r.ask("DELETE", missing, as(who)))
		r.follow(r.ask("POST", missing+"/upgrade", as(who)))
	}
	r.ask("GET", missing+"/config")
	r.ask("PUT", missing+"/config", asJSON(map[string]any{"a": 1}))
	for _, path := range []string{"readme", "icon", "authenticated-icon", "assets/icon.svg", "authenticated-assets/icon.svg", "logs", "nosuchroute"} {
		r.ask("GET", missing+"/"+path)
	}
	r.ask("POST", missing+"/page-api", asJSON(map[string]any{"page_id": "x", "endpoint": "/y"}))
	r.ask("GET", missing+"/icon", as("none"))
}

func (r *run) install() {
	r.section("install")
	r.follow(r.upload(demo("acme", "demo", "0.1.0", "pass"), "acme/demo 0.1.0"))
	r.ready("acme/demo", 20*time.Second)
	for _, who := range []string{"key", "token"} {
		r.ask("GET", plugins, as(who))
		r.ask("GET", plugins+"/acme/demo", as(who))
	}
	r.ask("GET", plugins+"/Acme/Demo")
	r.ask("GET", "/api/v1/extensions")
}

func (r *run) read() {
	r.section("read")
	for _, query := range []string{"", "?language=zh_Hans", "?language=en", "?language=xx"} {
		r.ask("GET", plugins+"/acme/demo/readme"+query)
	}
	for _, path := range []string{"icon", "authenticated-icon", "assets/icon.svg", "assets/sub/data.txt", "assets/page.html", "assets/nope.txt",
		"assets/..%2f..%2fmain.py", "authenticated-assets/icon.svg", "authenticated-assets/nope.txt"} {
		r.ask("GET", plugins+"/acme/demo/"+path)
	}
	r.ask("GET", plugins+"/_sdk/page-sdk.js", as("none"))
	r.ask("GET", plugins+"/acme/demo/icon", as("none"))
	r.ask("GET", plugins+"/acme/demo/authenticated-icon", as("none"))
	for _, query := range []string{"", "?limit=1", "?limit=abc", "?level=ERROR"} {
		r.ask("GET", plugins+"/acme/demo/logs"+query)
	}
	for _, body := range []any{map[string]any{"page_id": "nope", "endpoint": "/x", "method": "POST"}, map[string]any{}, []any{}, map[string]any{"page_id": "nope", "endpoint": "x"}} {
		r.ask("POST", plugins+"/acme/demo/page-api", asJSON(body))
	}
	for _, who := range []string{"token", "key"} {
		file := r.ask("POST", plugins+"/config-files", as(who), form("file", "a.txt", []byte("hello"), "a text"))
		if name, ok := file.data("file_key").(string); ok {
			r.ask("DELETE", plugins+"/config-files/"+name, as(who))
		}
	}
	r.ask("DELETE", plugins+"/config-files/nope", as("token"))
}

func (r *run) config() {
	r.section("config")
	const config = plugins + "/acme/demo/config"
	put := func(v any) {
		r.ask("PUT", config, asJSON(v))
		r.ready("acme/demo", 20*time.Second)
		r.ask("GET", config)
	}
	r.ask("GET", config)
	put(map[string]any{"greeting": "x", "big": 9007199254740993, "float": 1.50})
	put(map[string]any{"greeting": "y", "api_key": "sssh", "token_count": 5, "nested": map[string]any{"password": true, "n": 1}})
	put(map[string]any{"greeting": "z", "api_key": "***"})
	put(map[string]any{"greeting": "z", "secret_new": "***"})
	r.ask("GET", plugins+"/acme/demo")
	put(map[string]any{"greeting": "x"})

	r.section("config that is no object") // on plugins of their own: it can make them unusable
	for name, body := range map[string]string{"list": "[1,2]"} {
		r.follow(r.upload(demo("odd", name, "0.1.0", "pass"), "odd/"+name))
		r.ready("odd/"+name, 20*time.Second)
		r.ask("PUT", plugins+"/odd/"+name+"/config", text("application/json", body))
		time.Sleep(3 * time.Second)
		r.ask("GET", plugins+"/odd/"+name)
		r.follow(r.ask("DELETE", plugins+"/odd/"+name+"?delete_data=true"))
	}
}

func (r *run) versions() {
	r.section("versions")
	for _, version := range []string{"0.1.0", "0.2.0", "0.1.5"} {
		r.follow(r.upload(demo("acme", "demo", version, "pass"), "acme/demo "+version+" over what is there"))
		r.ready("acme/demo", 20*time.Second)
		r.ask("GET", plugins+"/acme/demo")
		r.ask("GET", plugins+"/acme/demo/config")
	}
	r.follow(r.ask("POST", plugins+"/acme/demo/upgrade"))
}

func (r *run) taskRoutes() {
	r.section("tasks")
	for _, who := range []string{"none", "token", "key"} {
		for _, query := range []string{"?type=system", "?type=nope", "?kind=nope", "?type=nope&kind=plugin-operation"} {
			r.ask("GET", tasks+query, as(who))
		}
		for _, id := range []string{"99999", "-1", "abc", "1.0", "%20", "1e3", "99999999999999999999"} {
			r.ask("GET", tasks+"/"+id, as(who))
		}
	}
}

func (r *run) bodies() {
	r.section("bodies")
	good := demo("bad", "good", "0.1.0", "pass")
	local := plugins + "/install/local"
	r.ask("POST", local, form("other", "x.lbpkg", good, "a package in a part of another name"))
	r.ask("POST", local, form("file", "-", []byte("plain"), "a plain field"))
	r.ask("POST", local)
	r.ask("POST", local, asJSON(map[string]string{"file": "x"}))
	r.ask("POST", local, func(q *request) { q.kind, q.body, q.sent = "application/zip", good, "a package without a form" })
	for _, path := range []string{"/install/marketplace", "/install/github", "/github/releases", "/github/release-assets"} {
		for _, body := range [][2]string{{"application/json", "{bad"}, {"text/plain", "{}"}, {"application/json", ""}, {"application/json", "[]"}, {"application/json", "null"}, {"application/json", "{}"}} {
			r.follow(r.ask("POST", plugins+path, text(body[0], body[1])))
		}
	}
	const limit = 10 << 20
	for _, size := range []int{limit - 300, limit + 1} {
		r.follow(r.upload(make([]byte, size), fmt.Sprintf("%d bytes of zeros", size)))
	}
}

func (r *run) packages() {
	r.section("packages")
	bad := map[string][]byte{}
	order := []string{}
	add := func(name string, data []byte) { order, bad[name] = append(order, name), data }
	manifest := archives.Manifest("bad", "omitted", `"1"`)
	file := func(content string) []byte {
		return archives.Zip(archives.File{Name: "manifest.yaml", Content: content}, archives.File{Name: "main.py", Content: archives.Code("pass")})
	}
	add("empty file", nil)
	add("no zip", []byte("this is not a zip"))
	add("no manifest", archives.Zip(archives.File{Name: "main.py", Content: archives.Code("pass")}))
	add("broken YAML", file("a: [1\n"))
	add("no author", file(strings.Replace(manifest, "  author: bad\n", "", 1)))
	add("no name", file(strings.Replace(manifest, "  name: omitted\n", "", 1)))
	if !r.since("4.10.7") || r.since("4.11.2") { // between them these make every later plugin request fail
		add("no version", file(strings.Replace(manifest, "  version: \"1\"\n", "", 1)))
		add("path that escapes", archives.Zip(append(archives.Plugin("bad", "escapes", `"1"`), archives.File{Name: "../evil.txt", Content: "x"})...))
	}
	for _, name := range order {
		r.follow(r.upload(bad[name], name))
	}
	if _, sent := bad["no version"]; sent { // it must go, or the next restart of 4.11.2 never finds its runtime again
		r.follow(r.ask("DELETE", plugins+"/bad/omitted"))
		r.follow(r.upload(demo("bad", "omitted", "1", "pass"), "a good one in its place"))
		r.ready("bad/omitted", 20*time.Second)
		r.follow(r.ask("DELETE", plugins+"/bad/omitted"))
	}
	for _, name := range append(order, "good") {
		data, known := bad[name]
		if !known {
			data = demo("acme", "demo", "0.1.0", "pass")
		}
		r.ask("POST", plugins+"/install/local/preview", form("file", "demo.lbpkg", data, name))
	}
	r.ask("POST", plugins+"/install/local/preview", as("none"), form("file", "demo.lbpkg", bad["no zip"], "no zip"))
	r.ask("POST", plugins+"/install/local/preview", asJSON(map[string]any{}))

	r.section("plugin that does not start")
	r.server.StartsBadly("bad/raises")
	r.follow(r.upload(demo("bad", "raises", "0.1.0", `raise RuntimeError("no")`), "a plugin that raises"))
	r.server.StartsBadly("")
	r.ask("GET", plugins+"/bad/raises")
	r.follow(r.ask("DELETE", plugins+"/bad/raises"))
}

func (r *run) sources() {
	r.section("GitHub")
	full := map[string]any{"owner": "acme", "repo": "demo", "release_tag": "v1", "asset_url": "https://github.com/acme/demo/releases/download/v1/demo.lbpkg"}
	changed := func(changes map[string]any) map[string]any {
		body := map[string]any{}
		for k, v := range full {
			body[k] = v
		}
		for k, v := range changes {
			if body[k] = v; v == nil {
				delete(body, k)
			}
		}
		return body
	}
	for _, changes := range []map[string]any{{}, {"owner": nil}, {"repo": nil}, {"release_tag": nil}, {"asset_url": nil}, {"owner": "a b"},
		{"asset_url": "https://example.invalid/x.lbpkg"}, {"asset_url": "http://github.com/acme/demo/releases/download/v1/demo.lbpkg"},
		{"asset_url": "https://github.com/other/demo/releases/download/v1/demo.lbpkg"}, {"release_tag": "V1"}, {"release_id": 1},
		{"release_id": "x", "asset_id": "y"}, {"release_id": 1, "asset_id": 2}} {
		r.follow(r.ask("POST", plugins+"/install/github", asJSON(changed(changes))))
	}
	r.ask("POST", plugins+"/github/releases", asJSON(map[string]any{"repo_url": "https://github.com/acme/demo"}))
	r.ask("POST", plugins+"/github/releases", asJSON(map[string]any{"repo_url": "nonsense"}))
	r.ask("POST", plugins+"/github/release-assets", asJSON(map[string]any{"owner": "acme", "repo": "demo", "release_id": 7}))

	r.section("marketplace")
	for _, body := range []map[string]any{
		{"plugin_id": "acme/mk"}, {"author": "acme", "name": "mk", "version": "0.1.0"}, {"plugin_author": "nobody", "plugin_name": "nothing"},
		{"plugin_author": "nobody", "plugin_name": "nothing", "plugin_version": "0.1.0"}, {"plugin_author": "acme", "plugin_name": "mk", "plugin_version": "../x y"},
		{"plugin_author": 1, "plugin_name": 2, "plugin_version": 3}, {"plugin_author": "acme", "plugin_name": "mk", "plugin_version": "0.1.0", "plugin_id": "acme/mk"}} {
		r.follow(r.ask("POST", plugins+"/install/marketplace", asJSON(body)))
	}
	r.ready("acme/mk", 20*time.Second)
	r.ask("GET", plugins+"/acme/mk")
	r.follow(r.ask("POST", plugins+"/acme/mk/upgrade"))
	r.ready("acme/mk", 20*time.Second)
	r.ask("GET", plugins+"/acme/mk")
	r.follow(r.ask("DELETE", plugins+"/acme/mk"))
}

func (r *run) paths() {
	r.section("paths and methods")
	for _, path := range []string{plugins + "/", plugins + "/acme/demo/", "/api/v1/nope", "/nope/deep", "/", "/langbot/api/v1/plugins",
		plugins + "/acme%2Fdemo", plugins + "/acme/de%2Fmo", plugins + "/a%20b/c%20d", plugins + "/%E6%BC%94/%E7%A4%BA", plugins + "/a%25b/c%2525",
		plugins + "/a+b/c+d", plugins + "/%2e%2e/x", plugins + "/%ff/%fe", plugins + "/a;b/c", "//api/v1/plugins", plugins + "//demo",
		plugins + "/acme/demo%3Fx", plugins + "/install/local", plugins + "/acme", "/API/v1/plugins", plugins + "?x=1&x=2"} {
		r.ask("GET", path)
	}
	for _, ask := range [][2]string{{"POST", "/api/v1/nope"}, {"DELETE", "/api/v1/nope"}, {"POST", "/nope/deep"}, {"POST", "/langbot/api/v1/plugins/install/local"},
		{"POST", plugins}, {"PUT", plugins}, {"PATCH", plugins}, {"POST", plugins + "/acme/demo"}, {"DELETE", tasks + "/1"}, {"DELETE", plugins + "/no%2Fsuch/x"},
		{"HEAD", plugins}, {"HEAD", plugins + "/acme/demo"}} {
		r.follow(r.ask(ask[0], ask[1]))
	}
	r.ask("OPTIONS", plugins, as("none"), with("Origin", "http://example.test"), with("Access-Control-Request-Method", "POST"),
		with("Access-Control-Request-Headers", "x-api-key,content-type"))
	r.ask("OPTIONS", plugins, as("none"))
	r.ask("GET", plugins, as("none"), with("Origin", "http://example.test"))
	for _, workspace := range []string{"00000000-0000-0000-0000-000000000000", "nope"} {
		r.ask("GET", plugins, as("token"), with("X-Workspace-Id", workspace))
		r.ask("GET", plugins, as("key"), with("X-Workspace-Id", workspace))
	}
}

func (r *run) requestIDs() {
	r.section("request ids")
	for _, id := range []string{"my-id-1", strings.Repeat("x", 128), strings.Repeat("x", 129), "sp ace"} {
		r.ask("POST", plugins+"/install/marketplace", text("application/json", "{bad"), with("X-Request-Id", id))
	}
	r.ask("GET", plugins, with("X-Request-Id", "my-id-2"))
	r.ask("GET", plugins, as("none"), with("X-Request-Id", "my-id-3"))
	r.ask("GET", tasks+"/99999", as("token"), with("X-Request-Id", "my-id-4"))
}

func (r *run) removal() {
	r.section("removal")
	const one = plugins + "/acme/demo"
	for _, query := range []string{"", "?delete_data=1", "?delete_data=TRUE", ""} {
		r.ask("GET", one+"/config")
		r.follow(r.ask("DELETE", one+query))
		r.ask("GET", plugins)
		r.ask("GET", one)
		r.follow(r.upload(demo("acme", "demo", "0.2.0", "pass"), "acme/demo 0.2.0"))
		r.ready("acme/demo", 20*time.Second)
		r.ask("GET", one+"/config")
		r.ask("PUT", one+"/config", asJSON(map[string]any{"greeting": "kept?"}))
		r.ready("acme/demo", 20*time.Second)
	}
	r.follow(r.ask("DELETE", one))
	r.follow(r.ask("DELETE", one))
}

// cancelled makes the one task that can be cancelled over HTTP: that of a bot that is switched off.
func (r *run) cancelled() {
	r.section("cancelled task")
	bot := func(enable bool) map[string]any {
		return map[string]any{"name": "b", "description": "d", "adapter": "aiocqhttp", "enable": enable,
			"adapter_config": map[string]any{"host": "127.0.0.1", "port": 2280, "access-token": ""}}
	}
	const bots = "/api/v1/platform/bots"
	id, _ := r.ask("POST", bots, as("token"), asJSON(bot(false))).data("uuid").(string)
	r.ask("PUT", bots+"/"+id, as("token"), asJSON(bot(true)))
	task := -1
	for range 50 {
		if task = r.adapter(); task >= 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.GreaterOrEqual(r.t, task, 0, "the bot has no task")
	r.ask("PUT", bots+"/"+id, as("token"), asJSON(bot(false)))
	time.Sleep(time.Second)
	for _, who := range []string{"token", "key"} {
		r.ask("GET", fmt.Sprintf("%s/%d", tasks, task), as(who))
		r.ask("GET", tasks+"?type=system", as(who))
		r.ask("GET", tasks+"?kind=nope", as(who))
	}
	r.ask("DELETE", bots+"/"+id, as("token"))
}

// adapter finds the task of the bot, -1 if it does not run.
func (r *run) adapter() int {
	list, _ := r.send("GET", tasks+"?type=system", request{as: "token"}).data("tasks").([]any)
	for _, item := range list {
		one, _ := item.(map[string]any)
		name, _ := one["name"].(string)
		id, _ := one["id"].(float64)
		if strings.HasPrefix(name, "platform-adapter-") && !strings.Contains(name, "WebSocket") {
			return int(id)
		}
	}
	return -1
}

// capacity starts more operations than newer releases run at a time.
func (r *run) capacity() {
	r.section("capacity")
	r.server.SlowMarketplace("slow", 5*time.Second)
	var accepted []answer
	for i := range 10 {
		accepted = append(accepted, r.ask("POST", plugins+"/install/marketplace",
			asJSON(map[string]string{"plugin_author": "slow", "plugin_name": fmt.Sprint("p", i), "plugin_version": "0.1.0"})))
	}
	refused := r.ask("DELETE", plugins+"/no/such")
	r.ask("GET", plugins)
	for _, a := range append(accepted, refused) {
		r.follow(a)
	}
}

// runtimeDown asks a server whose plugin runtime has died, and one whose runtime is back.
func (r *run) runtimeDown() {
	r.section("runtime down")
	r.follow(r.upload(demo("acme", "demo", "0.3.0", "pass"), "acme/demo 0.3.0"))
	r.ready("acme/demo", 20*time.Second)
	r.server.KillRuntime()
	time.Sleep(3 * time.Second) // until the host has noticed
	for _, path := range []string{plugins, plugins + "/acme/demo", plugins + "/no/such", plugins + "/acme/demo/config", plugins + "/acme/demo/readme",
		plugins + "/acme/demo/icon", plugins + "/acme/demo/logs", "/api/v1/extensions", "/api/v1/system/info", "/healthz", tasks + "?type=nope"} {
		r.ask("GET", path)
	}
	r.ask("GET", "/api/v1/system/status/plugin-system", as("token"))
	r.ask("PUT", plugins+"/acme/demo/config", asJSON(map[string]any{"greeting": "x"}))
	r.follow(r.upload(demo("acme", "demo", "0.4.0", "pass"), "acme/demo 0.4.0"))
	r.follow(r.ask("DELETE", plugins+"/acme/demo"))
	r.follow(r.ask("POST", plugins+"/acme/demo/upgrade"))
	require.NoError(r.t, r.server.StartRuntime())
	r.ready("acme/demo", 60*time.Second)
	r.ask("GET", "/healthz")
	r.ask("GET", plugins+"/acme/demo")
}

// restart restarts the host, with a quota of extensions that is used up from then on.
func (r *run) restart() {
	r.section("restart")
	require.NoError(r.t, r.server.Restart("SYSTEM__LIMITATION__MAX_EXTENSIONS=0"))
	r.ready("acme/demo", 60*time.Second)
	for _, who := range []string{"token", "key"} {
		r.ask("GET", "/api/v1/system/info", as(who))
		r.ask("GET", plugins+"/acme/demo", as(who))
		r.ask("GET", tasks+"?type=user", as(who))
		for _, id := range []string{"0", "1", "60"} {
			r.ask("GET", tasks+"/"+id, as(who))
		}
	}

	r.section("extension limit")
	r.upload(demo("acme", "demo", "0.4.0", "pass"), "acme/demo 0.4.0")
	r.upload(nil, "nothing")
	r.ask("POST", plugins+"/install/marketplace", asJSON(map[string]string{"plugin_author": "acme", "plugin_name": "mk", "plugin_version": "0.1.0"}))
	r.ask("POST", plugins+"/install/marketplace", text("application/json", "{bad"))
	r.ask("POST", plugins+"/install/github", asJSON(map[string]string{}))
	r.ask("POST", plugins+"/install/marketplace", as("none"), text("application/json", "{}"))
	r.ask("POST", plugins+"/install/local/preview", form("file", "demo.lbpkg", demo("acme", "demo", "0.4.0", "pass"), "acme/demo 0.4.0"))
}
