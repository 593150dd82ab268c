package lbpkg_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/internal/race"
	"github.com/langbot-go/langbot/lbpkg"
)

var _ langbot.Package = (*lbpkg.Package)(nil)

// TestVerdicts holds the checker against the table of archives, whose verdicts are those of a real LangBot 4.11.2: the
// contract suite holds the server against the same table.
func TestVerdicts(t *testing.T) {
	good, bad := 0, 0
	for _, a := range archives.All() {
		t.Run(a.Name, func(t *testing.T) {
			pkg, err := lbpkg.Parse(a.Bytes)
			if a.Rule == "" {
				good++
				require.NoError(t, err)
				require.NotEmpty(t, pkg.Version())
				return
			}
			bad++
			var rule *lbpkg.Error
			require.ErrorAs(t, err, &rule)
			require.Equal(t, a.Rule, rule.Rule)
			require.Nil(t, pkg)
			require.NotEmpty(t, rule.Reason)
		})
	}
	require.GreaterOrEqual(t, good, 15)
	require.GreaterOrEqual(t, bad, 30)
}

// TestErrorsNameTheEntry: the error says which entry breaks which rule.
func TestErrorsNameTheEntry(t *testing.T) {
	for name, want := range map[string]string{
		"duplicate-case":           `entry "A.txt": duplicate:`,
		"symlink":                  `entry "link.py": symlink:`,
		"entry-17-mib":             `entry "big.bin": entry size:`,
		"kind-tool":                `entry "manifest.yaml": kind: it must be Plugin`,
		"version-float":            `entry "manifest.yaml": version: metadata.version must be a string: quote it`,
		"req-words":                `entry "requirements.txt": requirements: line 1:`,
		"utf-16":                   "UTF-16",
		"gbk":                      "GBK",
		"top-folder":               `manifest.yaml lies in the folder "top"`,
		"missing-component-folder": `entry "components/tools": component folder:`,
	} {
		for _, a := range archives.All() {
			if a.Name == name {
				_, err := lbpkg.Parse(a.Bytes)
				require.ErrorContains(t, err, want)
			}
		}
	}
}

// TestLooksLike: things that people take for a package are called by their name.
func TestLooksLike(t *testing.T) {
	var tarball bytes.Buffer
	w := gzip.NewWriter(&tarball)
	_, _ = w.Write([]byte("tar"))
	require.NoError(t, w.Close())
	good := archives.Zip(archives.Plugin("acme", "demo", `"1"`)...)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"page":            {[]byte("<!DOCTYPE html><title>Sign in"), "HTML page"},
		"gzip":            {tarball.Bytes(), "gzip"},
		"LFS":             {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "Git LFS pointer"},
		"empty":           {nil, "empty"},
		"API answer":      {[]byte(`{"message":"Not Found"}`), "JSON"},
		"double-wrapped":  {archives.Zip(archives.File{Name: "demo-1.0.0.lbpkg", Content: string(good)}), "holds a package"},
		"before 4.3":      {archives.Zip(archives.File{Name: "main.py", Content: "@register"}), "before 4.3"},
		"cut off":         {good[:len(good)-10], "cut off"},
		"more at the end": {append(bytes.Clone(good), "trailer"...), "after the end"},
		"nothing in it":   {archives.Zip(), "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.lbpkg")
			require.NoError(t, os.WriteFile(path, tt.data, 0o600))
			_, err := lbpkg.Open(path)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "x.lbpkg")
			_, err = lbpkg.Read(bytes.NewReader(tt.data))
			require.ErrorContains(t, err, tt.want)
		})
	}
	_, err := lbpkg.Open(t.TempDir())
	require.ErrorContains(t, err, "FromDir")
	_, err = lbpkg.Open(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestBomb: an archive that would unpack to 1 GiB is refused at next to no cost, also when its header lies.
func TestBomb(t *testing.T) {
	var chunk bytes.Buffer
	deflate, err := flate.NewWriter(&chunk, flate.BestCompression)
	require.NoError(t, err)
	_, err = io.CopyN(deflate, zeros{}, 16<<20)
	require.NoError(t, err)
	require.NoError(t, deflate.Flush())                       // not the end, so that chunks can follow one another
	stream := strings.Repeat(chunk.String(), 64) + "\x03\x00" // 1 GiB, and an empty last block
	bomb := func(size uint64) []byte {
		return archives.Zip(append(archives.Plugin("acme", "bomb", `"1"`), archives.File{Name: "bomb.bin", Content: stream, Raw: true, Header: func(h *zip.FileHeader) {
			h.Method, h.CompressedSize64, h.UncompressedSize64 = zip.Deflate, uint64(len(stream)), size
		}})...)
	}
	for name, data := range map[string][]byte{"honest": bomb(1 << 30), "lying": bomb(16 << 20)} {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, err := lbpkg.Parse(data)
		spent := time.Since(began)
		runtime.ReadMemStats(&after)
		require.Error(t, err, name)
		allocated := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %v, %d KiB allocated: %v", name, spent, allocated>>10, err)
		require.Less(t, allocated, uint64(32<<20), name)
		if !race.Enabled {
			require.Less(t, spent, 100*time.Millisecond, name)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestPackage(t *testing.T) {
	data := archives.Zip(append(archives.Plugin("acme", "demo", `"1.0.0"`), archives.File{Name: "requirements.txt", Content: "# x\nsix>=1\r\n"})...)
	pkg, err := lbpkg.Parse(data)
	require.NoError(t, err)
	data[0] = 'X' // the package has a copy
	require.Equal(t, "acme", pkg.Author())
	require.Equal(t, "demo", pkg.Name())
	require.Equal(t, "1.0.0", pkg.Version())
	require.Equal(t, "demo-1.0.0.lbpkg", pkg.FileName())
	require.Equal(t, []string{"six>=1"}, pkg.Requirements())
	require.JSONEq(t, `{"apiVersion":"v1","kind":"Plugin","metadata":{"author":"acme","name":"demo","version":"1.0.0","label":{"en_US":"Demo"},`+
		`"description":{"en_US":"Demo plugin"}},"spec":{"config":[],"components":{}},"execution":{"python":{"path":"main.py","attr":"Demo"}}}`, string(pkg.Manifest()))
	var out bytes.Buffer
	n, err := pkg.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, pkg.Size(), n)
	again, err := lbpkg.Parse(out.Bytes())
	require.NoError(t, err)
	require.Equal(t, pkg.Manifest(), again.Manifest())
	first, err := pkg.Open()
	require.NoError(t, err)
	second, err := pkg.Open()
	require.NoError(t, err)
	_, err = io.ReadAll(first)
	require.NoError(t, err)
	rest, err := io.ReadAll(second)
	require.NoError(t, err)
	require.Equal(t, out.Bytes(), rest, "readers are independent")

	path := filepath.Join(t.TempDir(), "hello.lbpkg")
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
	opened, err := lbpkg.Open(path)
	require.NoError(t, err)
	require.Equal(t, "hello.lbpkg", opened.FileName())
	require.Empty(t, opened.LeftOut())
}

// TestManifestScalars: YAML 1.1 in, JSON as LangBot's API has it out.
func TestManifestScalars(t *testing.T) {
	manifest := archives.Manifest("acme", "demo", `"1"`) + "extra:\n  a: yes\n  b: 1:30\n  c: 017\n  d: 0x1F\n  e: 1_000\n  f: 1.0\n  g: ~\n  h: 1e3\n  i: .inf\n" +
		"  j: 2024-01-01\n  k: !!str 5\n  l: \"7\"\n  m: -0b11\n  n: off\n  o: 1.5e+3\n  p: &x {q: 1}\n  r: *x\n  s: {<<: *x, t: 2}\n  u: {<<: [{q: 3}, *x], q: 4}\n  7: seven\n"
	pkg, err := lbpkg.Parse(archives.Zip(archives.File{Name: "manifest.yaml", Content: manifest}, archives.File{Name: "main.py", Content: archives.Code("pass")}))
	require.NoError(t, err)
	require.Contains(t, string(pkg.Manifest()), `"extra":{"7":"seven","a":true,"b":90,"c":15,"d":31,"e":1000,"f":1.0,"g":null,"h":"1e3","i":null,`+
		`"j":"2024-01-01","k":"5","l":"7","m":-3,"n":false,"o":1500.0,"p":{"q":1},"r":{"q":1},"s":{"q":1,"t":2},"u":{"q":4}}`)

	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for _, level := range []string{"ba", "cb", "dc", "ed", "fe"} {
		one := "*" + level[1:] + ","
		bomb += level[:1] + ": &" + level[:1] + " [" + strings.TrimSuffix(strings.Repeat(one, 10), ",") + "]\n"
	}
	_, err = lbpkg.Parse(archives.Zip(archives.File{Name: "manifest.yaml", Content: archives.Manifest("acme", "demo", `"1"`) + bomb}))
	require.ErrorContains(t, err, "100,000")
}

func plugin(more fstest.MapFS) fstest.MapFS {
	files := fstest.MapFS{}
	for _, f := range archives.Plugin("acme", "demo", `"1.0.0"`) {
		files[f.Name] = &fstest.MapFile{Data: []byte(f.Content)}
	}
	for name, f := range more {
		files[name] = f
	}
	return files
}

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

// TestBuildLeavesOut: what must not be in a package is not, and the caller can ask.
func TestBuildLeavesOut(t *testing.T) {
	pkg, err := lbpkg.FromFS(plugin(fstest.MapFS{
		".git/config": text("token = ghp_secret"), ".env": text("KEY=secret"), ".env.local": text("KEY=secret"), "__pycache__/x.pyc": text("x"),
		"lib/__pycache__/y.pyc": text("y"), "old.lbpkg": text("old"), "dist/built.txt": text("x"), "lib/dist/kept.txt": text("x"), "lib/z.pyc": text("z"),
		".gitignore": text("# comment\nsecret.txt\n/rooted.txt\nbuild/\n*.log\n!keep.log\nlib/hidden.txt\n"), "secret.txt": text("s"), "lib/secret.txt": text("s"),
		"rooted.txt": text("s"), "lib/rooted.txt": text("k"), "build/x.txt": text("s"), "a.log": text("s"), "keep.log": text("k"), "lib/hidden.txt": text("s"),
		".venv/bin/python": text("s"), ".venv/pyvenv.cfg": text("s"), "env/__init__.py": text("k"), ".envrc": text("s"), "_util.py": text("k"), "lib/__init__.py": text(""), ".env.example": text("k"), ".DS_Store": text("s"),
	}))
	require.NoError(t, err)
	require.Equal(t, []string{".env.example", "_util.py", "env/__init__.py", "keep.log", "lib/__init__.py", "lib/dist/kept.txt", "lib/rooted.txt", "main.py", "manifest.yaml"}, entries(t, pkg))
	reasons := map[string]string{}
	for _, l := range pkg.LeftOut() {
		reasons[l.Path] = l.Reason
	}
	require.Equal(t, map[string]string{".git": "version control", ".env": "may hold secrets", ".env.local": "may hold secrets", ".envrc": "may hold secrets", "__pycache__": "cache",
		"lib/__pycache__": "cache", "lib/z.pyc": "cache", "old.lbpkg": "another package", "dist": "build output", ".gitignore": "version control",
		"secret.txt": "named in .gitignore", "lib/secret.txt": "named in .gitignore", "rooted.txt": "named in .gitignore", "build": "named in .gitignore",
		"a.log": "named in .gitignore", "lib/hidden.txt": "named in .gitignore", ".venv": "virtual environment", ".DS_Store": "clutter of the desktop"}, reasons)
}

func entries(t *testing.T, pkg *lbpkg.Package) (names []string) {
	r, err := pkg.Open()
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	return names
}

// TestIgnorePatterns: as git reads them.
func TestIgnorePatterns(t *testing.T) {
	for pattern, want := range map[string][]string{ // what of the files below it leaves out
		"*.key":           {"a.key", "s/b.key", "s/t/c.key"},
		"/*.key":          {"a.key"},
		"s/*.key":         {"s/b.key"},
		"s/**/*.key":      {"s/b.key", "s/t/c.key"},
		"**/t/*.key":      {"s/t/c.key"},
		"s/**":            {"s/b.key", "s/p.ini", "s/t/c.key"},
		"[!p]*.ini":       {"x.ini"},
		"[p-q].ini":       {"s/p.ini"},
		"[^p]*.ini":       {"x.ini"},
		"\ufeff/*.key":    {"a.key"},
		"t/":              {"s/t/c.key"},
		"?.ini":           {"s/p.ini", "x.ini"},
		`\#x`:             {"#x"},
		"nothing\n!*.key": nil,
		"ü.txt":           {"ü.txt"},
	} {
		files := fstest.MapFS{".gitignore": text(pattern + "\n")}
		all := []string{"a.key", "s/b.key", "s/t/c.key", "x.ini", "s/p.ini", "#x", "ü.txt"}
		for _, name := range all {
			files[name] = text("x")
		}
		pkg, err := lbpkg.FromFS(plugin(files))
		require.NoError(t, err, pattern)
		packed := entries(t, pkg)
		var left []string
		for _, name := range all {
			if !slices.Contains(packed, name) {
				left = append(left, name)
			}
		}
		slices.Sort(left)
		require.Equal(t, want, left, pattern)
	}
	_, err := lbpkg.FromFS(plugin(fstest.MapFS{".gitignore": text("secret[.txt\n")}))
	require.ErrorContains(t, err, `"secret[.txt"`)
}

// TestCostlyManifests: a few hundred bytes that would cost hours, and a number of a mebibyte.
func TestCostlyManifests(t *testing.T) {
	merges := "a0: &a0 {x: 1}\n"
	for i := range 12 {
		ref := fmt.Sprintf("*a%d", i)
		merges += fmt.Sprintf("a%d: &a%d {<<: [%s]}\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(ref+",", 10), ","))
	}
	for name, manifest := range map[string]string{
		"merges of merges": merges,
		"sexagesimal":      archives.Manifest("acme", "demo", `"1"`) + "x: 1" + strings.Repeat(":1", 500_000) + "\n",
		"digits":           archives.Manifest("acme", "demo", `"1"`) + "x: " + strings.Repeat("1", 1_000_000) + "\n",
	} {
		began := time.Now()
		_, _ = lbpkg.Parse(archives.Zip(archives.File{Name: "manifest.yaml", Content: manifest}, archives.File{Name: "pad", Content: strings.Repeat("x", 9), Header: nil}))
		require.Less(t, time.Since(began), 3*time.Second, name)
	}
}

// TestHugeDirectory: an archive of very many entries is refused before its directory is read.
func TestHugeDirectory(t *testing.T) {
	data := archives.Zip(archives.Plugin("acme", "demo", `"1"`)...)
	end := data[len(data)-22:]
	binary.LittleEndian.PutUint32(end[12:], 1<<30)
	_, err := lbpkg.Parse(data)
	require.ErrorContains(t, err, "entries")
}

// TestTwoDirectories: an archive that shows Go one directory and Python another is refused: Python is who installs it.
func TestTwoDirectories(t *testing.T) {
	stored := func(kind string) []byte { // as long for one kind as for the other, so that the offsets of one fit the other
		store := func(h *zip.FileHeader) { h.Method = zip.Store }
		manifest := strings.Replace(archives.Manifest("acme", "demo", `"1"`), "kind: Plugin", "kind: "+kind, 1)
		return archives.Zip(archives.File{Name: "manifest.yaml", Content: manifest, Header: store},
			archives.File{Name: "main.py", Content: archives.Code("pass"), Header: store})
	}
	good, evil := stored("Plugin"), stored("Plague")
	const record = 22
	joined := append(bytes.Clone(good[:len(good)-record]), evil...)
	offset := binary.LittleEndian.Uint32(good[len(good)-record+16:])
	binary.LittleEndian.PutUint32(joined[len(joined)-record+16:], offset) // Go would follow it, to the good one
	archive, err := zip.NewReader(bytes.NewReader(joined), int64(len(joined)))
	require.NoError(t, err)
	manifest, err := fs.ReadFile(archive, "manifest.yaml")
	require.NoError(t, err)
	require.Contains(t, string(manifest), "kind: Plugin", "the trick works on archive/zip")
	_, err = lbpkg.Parse(joined)
	require.ErrorContains(t, err, "kind", "what Python sees is what is judged")

	lying := bytes.Clone(good)
	binary.LittleEndian.PutUint16(lying[len(lying)-record+10:], 1) // of two
	_, err = lbpkg.Parse(lying)
	require.Error(t, err)

	wide := append(bytes.Clone(good[:len(good)-record]), "PK\x06\x07"+strings.Repeat("\x00", 16)...)
	_, err = lbpkg.Parse(append(wide, good[len(good)-record:]...))
	require.ErrorContains(t, err, "64-bit")
}

func TestBuildIsDeterministic(t *testing.T) {
	build := func(fsys fs.FS) []byte {
		pkg, err := lbpkg.FromFS(fsys)
		require.NoError(t, err)
		var out bytes.Buffer
		_, err = pkg.WriteTo(&out)
		require.NoError(t, err)
		return out.Bytes()
	}
	files := plugin(fstest.MapFS{"z.txt": text("z"), "a/b.txt": text("b"), "zeros.bin": text(strings.Repeat("\x00", 1<<20))})
	want := build(files)
	require.Equal(t, want, build(files))
	dir := t.TempDir()
	for name, f := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, f.Data, 0o755))
		require.NoError(t, os.Chtimes(path, time.Now(), time.Unix(1e9, 0)))
	}
	require.Equal(t, want, build(os.DirFS(dir)), "times and modes do not matter")
	fromDir, err := lbpkg.FromDir(dir)
	require.NoError(t, err)
	require.EqualValues(t, len(want), fromDir.Size())
}

func TestBuildRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, f := range plugin(nil) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), f.Data, 0o600))
	}
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link.txt")))
	_, err := lbpkg.FromDir(dir)
	require.ErrorContains(t, err, `entry "link.txt": symlink`)
	require.ErrorContains(t, err, filepath.ToSlash(dir))
	_, err = lbpkg.FromDir(filepath.Join(dir, "main.py"))
	require.ErrorContains(t, err, "Open reads a package")
	_, err = lbpkg.FromDir(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = lbpkg.FromFS(fstest.MapFS{"main.py": text("")})
	require.ErrorContains(t, err, "manifest")

	withTools := func(more fstest.MapFS) error {
		files := plugin(more)
		files["manifest.yaml"] = text(strings.Replace(string(files["manifest.yaml"].Data), "components: {}", "components: {Tool: {fromDirs: [{path: components/tools/, maxDepth: 1}]}}", 1))
		_, err := lbpkg.FromFS(files)
		return err
	}
	require.NoError(t, withTools(fstest.MapFS{"components/tools/echo.py": text("")}))
	require.ErrorContains(t, withTools(nil), `entry "components/tools": component folder`)
	require.ErrorContains(t, withTools(fstest.MapFS{"components/tools/echo.yaml": text("kind: Tool")}), "no Python file")
}

func TestComponents(t *testing.T) {
	files := plugin(fstest.MapFS{"components/tools/echo.py": text(""), "components/tools/echo.yaml": text("kind: Tool\nmetadata: {name: echo}\n"),
		"components/tools/broken.yaml": text("a: [1\n"), "components/tools/deep/more.yaml": text("kind: Tool\n"), "other.yaml": text("kind: Tool\n")})
	files["manifest.yaml"] = text(strings.Replace(string(files["manifest.yaml"].Data), "components: {}", "components: {Tool: {fromDirs: [{path: ./components/tools}]}}", 1))
	pkg, err := lbpkg.FromFS(files)
	require.NoError(t, err)
	require.Len(t, pkg.Components(), 1)
	require.Equal(t, "components/tools/echo.yaml", pkg.Components()[0].Path)
	require.Equal(t, "Tool", pkg.Components()[0].Kind)
	require.JSONEq(t, `{"kind":"Tool","metadata":{"name":"echo"}}`, string(pkg.Components()[0].Manifest))
}

// FuzzParse: no archive panics, and one that is taken can be read back whole.
func FuzzParse(f *testing.F) {
	for _, a := range archives.All() {
		if len(a.Bytes) < 10_000 {
			f.Add(a.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pkg, err := lbpkg.Parse(data)
		if err != nil {
			return
		}
		if _, err := (langbot.PluginID{Author: pkg.Author(), Name: pkg.Name()}).MarshalText(); err != nil {
			t.Fatal(err)
		}
		if _, err := langbot.ParsePluginID(pkg.Author() + "/" + pkg.Name()); err != nil {
			t.Fatalf("a package that no URL reaches: %v", err)
		}
	})
}

// FuzzManifest: no manifest panics.
func FuzzManifest(f *testing.F) {
	f.Add(archives.Manifest("acme", "demo", "1.0"))
	f.Add("a: &a {<<: *a}\n")
	f.Add("kind: Plugin\nmetadata: !!map {author: [x]}\n")
	f.Fuzz(func(_ *testing.T, manifest string) {
		_, _ = lbpkg.Parse(archives.Zip(archives.File{Name: "manifest.yaml", Content: manifest}))
	})
}
