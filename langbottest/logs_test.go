package langbottest_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
)

// TestGreeting: what a plugin says first is read in its code. The lines are those of a real LangBot 4.10.6.
func TestGreeting(t *testing.T) {
	const code = `import logging, sys
print("at import", file=sys.stderr)


class Demo(BasePlugin):
    async def initialize(self):
        logging.getLogger("demo").warning("a warning")
        logging.getLogger("demo").info("an info")
        logging.getLogger("demo").error('an error')
        logging.critical("critical")
        print("a line", file=sys.stderr, flush=True)
        print("another", file=sys.stderr)
        self.greeting = "what follows is not constant"
        print("not read", file=sys.stderr)
`
	srv := langbottest.New(t, langbottest.Version("4.10.6"))
	srv.AddPlugin(archives.Zip(archives.File{Name: "manifest.yaml", Content: archives.Manifest("acme", "demo", "1.0.0")},
		archives.File{Name: "main.py", Content: code}))
	var got [][2]string
	stamp := regexp.MustCompile(`^\[\d\d-\d\d [0-9:.]+\] `)
	for _, line := range data(t, ask(t, srv, "GET", "/api/v1/plugins/acme/demo/logs", srv.APIKey, "", nil))["logs"].([]any) {
		line := line.(map[string]any)
		got = append(got, [2]string{line["level"].(string), stamp.ReplaceAllString(line["text"].(string), "")})
	}
	require.Equal(t, [][2]string{
		{"INFO", "controller.py (98) - [INFO] : Mounting plugin acme/demo..."},
		{"INFO", "controller.py (216) - [INFO] : Plugin acme/demo mounted"},
		{"INFO", "controller.py (247) - [INFO] : Initializing plugin acme/demo..."},
		{"WARNING", "main.py (7) - [WARNING] : a warning"},
		{"INFO", "main.py (8) - [INFO] : an info"},
		{"ERROR", "main.py (9) - [ERROR] : an error"},
		{"CRITICAL", "main.py (10) - [CRITICAL] : critical"},
		{"WARNING", "a line"},
		{"WARNING", "another"},
		{"INFO", "controller.py (287) - [INFO] : Plugin acme/demo initialized"},
		{"INFO", "handler.py (149) - [INFO] : [Action] initialize_plugin"},
		{"INFO", "handler.py (149) - [INFO] : [Action] get_plugin_container"},
	}, got)
}
