// Package archives makes plugin archives, good, odd and bad, and says what a real LangBot 4.11.2 makes of each: the
// checker of packages and the servers are judged by the same table.
package archives

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// An Archive is one case. Its plugin is called author "odd" and has the name of the case, unless the case is about that.
type Archive struct {
	Name  string
	Bytes []byte
	Rule  string // the rule it breaks; empty: it installs
	Local bool   // refused here though LangBot installs it: the plugin could not be addressed afterwards
}

// A File is one entry of an archive.
type File struct {
	Name    string
	Content string
	Header  func(*zip.FileHeader) // changes what the archive says of it; may be nil
	Raw     bool                  // Content is written as it is, whatever the header says
}

// Zip packs files in the given order. Names, duplicates and headers are not judged.
func Zip(files ...File) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, CreatorVersion: 3 << 8, ExternalAttrs: 0o100644 << 16}
		if strings.HasSuffix(f.Name, "/") {
			h.Method, h.ExternalAttrs = zip.Store, 0o40755<<16
		}
		if f.Header != nil {
			f.Header(h)
		}
		create := w.CreateHeader
		if f.Raw {
			create = w.CreateRaw
		}
		entry, err := create(h)
		if err != nil {
			panic(fmt.Sprintf("archives: %s: %v", f.Name, err))
		}
		if _, err := entry.Write([]byte(f.Content)); err != nil {
			panic(fmt.Sprintf("archives: %s: %v", f.Name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("archives: %v", err))
	}
	return out.Bytes()
}

// Plugin is the manifest and code of a plugin that installs.
func Plugin(author, name, version string) []File {
	return []File{{Name: "manifest.yaml", Content: Manifest(author, name, version)}, {Name: "main.py", Content: Code("pass")}}
}

// Manifest is a complete manifest. Its arguments are put in as YAML, so quote what must be quoted.
func Manifest(author, name, version string) string {
	return "apiVersion: v1\nkind: Plugin\nmetadata:\n  author: " + author + "\n  name: " + name + "\n  version: " + version +
		"\n  label: {en_US: Demo}\n  description: {en_US: Demo plugin}\nspec:\n  config: []\n  components: {}\n" +
		"execution:\n  python: {path: main.py, attr: Demo}\n"
}

// Code is a main.py whose plugin runs the statement body when it is initialized.
func Code(body string) string {
	return "import asyncio\nfrom langbot_plugin.api.definition.plugin import BasePlugin\n\n\nclass Demo(BasePlugin):\n" +
		"    async def initialize(self):\n        " + body + "\n"
}

// All returns every case, made once. Names of cases are unique and usable as names of plugins.
var All = sync.OnceValue(all)

func all() []Archive {
	cases := append(zipCases(), nameCases()...)
	cases = append(cases, manifestCases()...)
	return append(append(cases, scalarCases()...), requirementCases()...)
}

// with is a good plugin called after the case, with more files.
func with(name string, more ...File) []byte {
	return Zip(append(Plugin("odd", name, `"1.0.0"`), more...)...)
}

// manifest is a plugin whose manifest is the good one with old replaced by new.
func manifest(name, old, new string) []byte {
	good := Manifest("odd", name, `"1.0.0"`)
	if !strings.Contains(good, old) {
		panic("archives: the manifest of " + name + " has no " + old)
	}
	return Zip(File{Name: "manifest.yaml", Content: strings.Replace(good, old, new, 1)}, File{Name: "main.py", Content: Code("pass")})
}

func mode(bits uint32) func(*zip.FileHeader) {
	return func(h *zip.FileHeader) { h.ExternalAttrs = bits << 16 }
}

func stored(h *zip.FileHeader) { h.Method = zip.Store }

func zipCases() []Archive {
	many := make([]File, 511)
	for i := range many {
		many[i] = File{Name: fmt.Sprintf("assets/%d.txt", i), Content: "x"}
	}
	commented := with("comment")
	commented = append(commented[:len(commented)-2], 3, 0, 'a', 'b', 'c')
	return []Archive{
		{Name: "empty-file", Bytes: nil, Rule: "zip"},
		{Name: "not-a-zip", Bytes: []byte("this is not a zip"), Rule: "zip"},
		{Name: "trailing-bytes", Bytes: append(with("trailing-bytes"), "more"...), Rule: "zip"},
		{Name: "cut-off", Bytes: with("cut-off")[:200], Rule: "zip"},
		{Name: "comment", Bytes: commented},
		{Name: "leading-bytes", Bytes: append([]byte("#!/bin/sh\n"), with("leading-bytes")...)},
		{Name: "entries-512", Bytes: with("entries-512", many[:510]...)},
		{Name: "entries-513", Bytes: with("entries-513", many...), Rule: "entries"},
		{Name: "entry-17-mib", Bytes: with("entry-17-mib", File{Name: "big.bin", Content: noise(17 << 20)}), Rule: "entry size"},
		{Name: "ratio", Bytes: with("ratio", File{Name: "zeros.bin", Content: strings.Repeat("\x00", 1<<20)}), Rule: "ratio"},
		{Name: "encrypted", Bytes: with("encrypted", File{Name: "secret.bin", Content: "x", Raw: true, Header: func(h *zip.FileHeader) {
			h.Method, h.Flags, h.UncompressedSize64, h.CompressedSize64 = zip.Store, 1, 1, 1
		}}), Rule: "encryption"},
		{Name: "bad-crc", Bytes: with("bad-crc", File{Name: "x.bin", Content: "x", Raw: true, Header: func(h *zip.FileHeader) {
			h.Method, h.CRC32, h.UncompressedSize64, h.CompressedSize64 = zip.Store, 7, 1, 1
		}}), Rule: "zip"},
		{Name: "stored", Bytes: Zip(File{Name: "manifest.yaml", Content: Manifest("odd", "stored", `"1.0.0"`), Header: stored},
			File{Name: "main.py", Content: Code("pass"), Header: stored})},
		{Name: "symlink", Bytes: with("symlink", File{Name: "link.py", Content: "main.py", Header: mode(0o120777)}), Rule: "symlink"},
		{Name: "fifo", Bytes: with("fifo", File{Name: "pipe", Content: "", Header: mode(0o010644)}), Rule: "file type"},
		{Name: "no-unix-mode", Bytes: with("no-unix-mode", File{Name: "x.txt", Content: "x", Header: func(h *zip.FileHeader) {
			h.ExternalAttrs, h.CreatorVersion = 0, 0
		}})},
	}
}

// noise is text that deflates to about a quarter.
func noise(n int) string {
	out, x := make([]byte, n), uint32(1)
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = 'a' + byte(x>>30)
	}
	return string(out)
}

func nameCases() []Archive {
	file := func(name string) File { return File{Name: name, Content: "x"} }
	return []Archive{
		{Name: "dotdot", Bytes: with("dotdot", file("../evil.txt")), Rule: "entry name"},
		{Name: "dotdot-inside", Bytes: with("dotdot-inside", file("a/../b.txt")), Rule: "entry name"},
		{Name: "dotdot-backslash", Bytes: with("dotdot-backslash", file(`..\evil.txt`)), Rule: "entry name"},
		{Name: "absolute", Bytes: with("absolute", file("/etc/evil.txt")), Rule: "entry name"},
		{Name: "drive-letter", Bytes: with("drive-letter", file("C:/evil.txt")), Rule: "entry name"},
		{Name: "dot-folder-entry", Bytes: with("dot-folder-entry", File{Name: "./"}), Rule: "entry name"},
		{Name: "duplicate", Bytes: with("duplicate", file("a.txt"), file("a.txt")), Rule: "duplicate"},
		{Name: "duplicate-case", Bytes: with("duplicate-case", file("a.txt"), file("A.txt")), Rule: "duplicate"},
		{Name: "duplicate-dot", Bytes: with("duplicate-dot", file("a.txt"), file("./a.txt")), Rule: "duplicate"},
		{Name: "file-and-folder", Bytes: with("file-and-folder", file("a"), file("a/b.txt")), Rule: "duplicate"},
		{Name: "folder-twice", Bytes: with("folder-twice", File{Name: "a/"}, File{Name: "a/"}), Rule: "duplicate"},
		{Name: "folder-entry", Bytes: with("folder-entry", File{Name: "assets/"}, file("assets/a.txt"))},
		{Name: "backslashes", Bytes: with("backslashes", file(`assets\a.txt`))},
		{Name: "dot-prefix", Bytes: with("dot-prefix", file("./assets/a.txt"))},
		{Name: "double-slash", Bytes: with("double-slash", file("assets//a.txt"))},
		{Name: "unicode-entry", Bytes: with("unicode-entry", file("assets/ü 文.txt"))},
		{Name: "top-folder", Bytes: Zip(File{Name: "top/manifest.yaml", Content: Manifest("odd", "top-folder", "1.0.0")},
			File{Name: "top/main.py", Content: Code("pass")}), Rule: "manifest"},
		{Name: "manifest-upper", Bytes: Zip(File{Name: "Manifest.YAML", Content: Manifest("odd", "manifest-upper", "1.0.0")},
			File{Name: "main.py", Content: Code("pass")}), Rule: "manifest"},
		{Name: "manifest-yml", Bytes: Zip(File{Name: "manifest.yml", Content: Manifest("odd", "manifest-yml", "1.0.0")},
			File{Name: "main.py", Content: Code("pass")}), Rule: "manifest"},
		{Name: "no-manifest", Bytes: Zip(File{Name: "main.py", Content: Code("pass")}), Rule: "manifest"},
	}
}

func manifestCases() []Archive {
	text := func(name, content string) []byte {
		return Zip(File{Name: "manifest.yaml", Content: content}, File{Name: "main.py", Content: Code("pass")})
	}
	good := func(name string) string { return Manifest("odd", name, `"1.0.0"`) }
	return []Archive{
		{Name: "kind-tool", Bytes: manifest("kind-tool", "kind: Plugin", "kind: Tool"), Rule: "kind"},
		{Name: "kind-lower", Bytes: manifest("kind-lower", "kind: Plugin", "kind: plugin"), Rule: "kind"},
		{Name: "kind-missing", Bytes: manifest("kind-missing", "kind: Plugin\n", ""), Rule: "kind"},
		{Name: "no-author", Bytes: manifest("no-author", "  author: odd\n", ""), Rule: "author"},
		{Name: "no-name", Bytes: manifest("no-name", "  name: no-name\n", ""), Rule: "name"},
		{Name: "no-version", Bytes: manifest("no-version", "  version: \"1.0.0\"\n", ""), Rule: "version"},
		{Name: "empty-author", Bytes: manifest("empty-author", "author: odd", `author: ""`), Rule: "author"},
		{Name: "no-label", Bytes: manifest("no-label", "  label: {en_US: Demo}\n", ""), Rule: "label"},
		{Name: "label-text", Bytes: manifest("label-text", "label: {en_US: Demo}", "label: Demo"), Rule: "label"},
		{Name: "label-chinese-only", Bytes: manifest("label-chinese-only", "en_US: Demo}", "zh_Hans: Demo}"), Rule: "label"},
		{Name: "no-description", Bytes: manifest("no-description", "  description: {en_US: Demo plugin}\n", "")},
		{Name: "no-api-version", Bytes: manifest("no-api-version", "apiVersion: v1\n", ""), Rule: "apiVersion"},
		{Name: "no-components", Bytes: manifest("no-components", "  components: {}\n", ""), Rule: "spec"},
		{Name: "no-execution", Bytes: manifest("no-execution", "execution:\n  python: {path: main.py, attr: Demo}\n", ""), Rule: "execution"},
		{Name: "no-config", Bytes: manifest("no-config", "  config: []\n", "")},
		{Name: "missing-component-folder", Bytes: manifest("missing-component-folder", "components: {}",
			"components: {Tool: {fromDirs: [{path: components/tools/}]}}"), Rule: "component folder"},
		{Name: "yaml-broken", Bytes: text("yaml-broken", "a: [1\n"), Rule: "manifest"},
		{Name: "yaml-tabs", Bytes: text("yaml-tabs", strings.ReplaceAll(good("yaml-tabs"), "\n  ", "\n\t")), Rule: "manifest"},
		{Name: "yaml-list", Bytes: text("yaml-list", "- a\n"), Rule: "manifest"},
		{Name: "yaml-empty", Bytes: text("yaml-empty", ""), Rule: "manifest"},
		{Name: "yaml-two-documents", Bytes: text("yaml-two-documents", good("yaml-two-documents")+"---\na: 1\n"), Rule: "manifest"},
		{Name: "yaml-tag", Bytes: text("yaml-tag", good("yaml-tag")+"x: !!python/name:os.system\n"), Rule: "manifest"},
		{Name: "yaml-own-tag", Bytes: text("yaml-own-tag", good("yaml-own-tag")+"x: !mine 1\n"), Rule: "manifest"},
		{Name: "utf-16", Bytes: text("utf-16", utf16("\ufeff"+good("utf-16"))), Rule: "encoding"},
		{Name: "gbk", Bytes: text("gbk", strings.Replace(good("gbk"), "Demo plugin", "\xd1\xdd\xca\xbe", 1)), Rule: "encoding"},
		{Name: "utf-8-bom", Bytes: text("utf-8-bom", "\ufeff"+good("utf-8-bom"))},
		{Name: "crlf", Bytes: text("crlf", strings.ReplaceAll(good("crlf"), "\n", "\r\n"))},
		{Name: "duplicate-keys", Bytes: text("duplicate-keys", strings.Replace(good("duplicate-keys"), "author: odd", "author: even\n  author: odd", 1))},
		{Name: "merge-key", Bytes: text("merge-key", "base: &b {author: odd, version: \"1.0.0\"}\n"+
			strings.Replace(strings.Replace(good("merge-key"), "  author: odd\n", "  <<: *b\n", 1), "  version: \"1.0.0\"\n", "", 1))},
		{Name: "document-end", Bytes: text("document-end", "---\n"+good("document-end")+"...\n")},
		{Name: "name-slash", Bytes: Zip(Plugin("odd", `"a/b"`, "1.0.0")...), Rule: "name", Local: true},
		{Name: "name-dotdot", Bytes: Zip(Plugin("odd", `".."`, "1.0.0")...), Rule: "name", Local: true},
		{Name: "name-unicode", Bytes: Zip(Plugin("odd", `"名 ü?#%2F"`, "1.0.0")...)},
	}
}

func utf16(s string) string {
	var out []byte
	for _, r := range s {
		out = append(out, byte(r), byte(r>>8))
	}
	return string(out)
}

// scalarCases are values that YAML 1.1 and 1.2 read differently, or that look like numbers.
func scalarCases() []Archive {
	version := func(name, value string) []byte { return manifest(name, `"1.0.0"`, value) }
	return []Archive{
		{Name: "version-float", Bytes: version("version-float", "1.10"), Rule: "version"},
		{Name: "version-int", Bytes: version("version-int", "3"), Rule: "version"},
		{Name: "version-date", Bytes: version("version-date", "2024-01-01"), Rule: "version"},
		{Name: "version-sexagesimal", Bytes: version("version-sexagesimal", "1:30"), Rule: "version"},
		{Name: "version-bool", Bytes: version("version-bool", "no"), Rule: "version"},
		{Name: "version-null", Bytes: version("version-null", "~"), Rule: "version"},
		{Name: "version-underscore", Bytes: version("version-underscore", "1_000"), Rule: "version"},
		{Name: "version-plain", Bytes: version("version-plain", "1.2.3")},
		{Name: "version-exponent", Bytes: version("version-exponent", "1e3")},
		{Name: "version-octal-1.2", Bytes: version("version-octal-1.2", "0o17")},
		{Name: "version-tagged", Bytes: version("version-tagged", "!!str 1.10")},
		{Name: "version-y", Bytes: version("version-y", "y")},
		{Name: "version-block", Bytes: version("version-block", "|-\n    1.0")},
		{Name: "name-number", Bytes: Zip(Plugin("odd", "12345", `"1.0.0"`)...), Rule: "name"},
		{Name: "author-yes", Bytes: Zip(Plugin("yes", "author-yes", `"1.0.0"`)...), Rule: "author"},
	}
}

func requirementCases() []Archive {
	req := func(name, text string) []byte { return with(name, File{Name: "requirements.txt", Content: text}) }
	return []Archive{
		{Name: "req-option", Bytes: req("req-option", "--index-url https://example.invalid\n"), Rule: "requirements"},
		{Name: "req-dash-r", Bytes: req("req-dash-r", "-r more.txt\n"), Rule: "requirements"},
		{Name: "req-single-equals", Bytes: req("req-single-equals", "six=1.16.0\n"), Rule: "requirements"},
		{Name: "req-words", Bytes: req("req-words", "six seven\n"), Rule: "requirements"},
		{Name: "req-comment-behind", Bytes: req("req-comment-behind", "six # a comment\n"), Rule: "requirements"},
		{Name: "req-latin1", Bytes: req("req-latin1", "# \xe9\n"), Rule: "encoding"},
		{Name: "req-bom", Bytes: req("req-bom", "\ufeffsix\n"), Rule: "encoding"},
		{Name: "req-empty", Bytes: req("req-empty", "\n# nothing\r\n\r\n")},
		{Name: "req-marker", Bytes: req("req-marker", "six (>=1.0,<99) ; python_version < '3'\n")},
		{Name: "req-trailing-comma", Bytes: req("req-trailing-comma", "six>=1.0, ; python_version < '3'\n")},
		{Name: "req-sdk", Bytes: req("req-sdk", "langbot-plugin\n")},
		{Name: "req-below", Bytes: with("req-below", File{Name: "assets/requirements.txt", Content: "--not read\n"})},
	}
}
