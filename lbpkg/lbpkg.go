// Package lbpkg opens, checks and builds LangBot plugin archives (.lbpkg): zip archives with a manifest.yaml and Python
// code. The smallest one holds this manifest.yaml,
//
//	apiVersion: v1
//	kind: Plugin
//	metadata:
//	  author: acme
//	  name: hello
//	  version: "1.0.0"
//	  label: {en_US: Hello}
//	spec:
//	  config: []
//	  components: {}
//	execution:
//	  python: {path: main.py, attr: Hello}
//
// and this main.py:
//
//	from langbot_plugin.api.definition.plugin import BasePlugin
//
//	class Hello(BasePlugin):
//	    async def initialize(self):
//	        pass
//
// A package is checked by the rules that the newest LangBot, 4.11.2, applies between the upload and the start of the
// plugin: backslashes in names of entries are slashes, a byte order mark is allowed, YAML is that of version 1.1. (That a
// server takes 10 MiB of an upload is checked by the client.) This is more than comfort: one archive whose manifest is not
// of kind Plugin makes every later plugin request of LangBot 4.10.7 to 4.10.11 fail, its own removal included.
//
//	pkg, err := lbpkg.Open("hello.lbpkg")
//	…
//	op, err := client.Plugins.InstallLocal(ctx, pkg)
//
// A program can carry its plugin. Mind the all: before the folder: without it, go:embed leaves out files whose names
// begin with a dot or an underscore, such as __init__.py.
//
//	//go:embed all:plugin
//	var files embed.FS
//
//	plugin, err := fs.Sub(files, "plugin")
//	…
//	pkg, err := lbpkg.FromFS(plugin)
package lbpkg

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// maxArchive bounds what is read of an archive at all. LangBot takes 10 MiB by upload and 64 MiB from its marketplace.
const maxArchive = 128 << 20

// ErrChanged says that a file is not the one that was checked any more.
var ErrChanged = errors.New("package changed since it was checked")

// A Package is a checked plugin archive. It is safe for concurrent use, and fits the client's InstallLocal.
type Package struct {
	manifest     *manifest
	components   []Component
	requirements []string
	leftOut      []LeftOut
	fileName     string
	size         int64
	open         func() (io.ReadCloser, error)
}

// Author returns metadata.author of the manifest.
func (p *Package) Author() string {
	if p == nil || p.manifest == nil {
		return "" // which no server is asked to install
	}
	return p.manifest.author
}

// Name returns metadata.name of the manifest.
func (p *Package) Name() string {
	if p == nil || p.manifest == nil {
		return ""
	}
	return p.manifest.name
}

// Version returns metadata.version of the manifest.
func (p *Package) Version() string { return p.manifest.version }

// FileName returns the name of the file that was opened, or "name-version.lbpkg" for a package that was none.
func (p *Package) FileName() string {
	if p.fileName == "" {
		return p.Name() + "-" + p.Version() + ".lbpkg"
	}
	return p.fileName
}

// Size returns the archive's length in bytes.
func (p *Package) Size() int64 { return p.size }

// Open returns a reader of the archive from its beginning, independent of any other. If the package is a file that has
// changed since it was checked, Open or the last Read fails with [ErrChanged].
func (p *Package) Open() (io.ReadCloser, error) { return p.open() }

// Manifest returns manifest.yaml as JSON, as LangBot's API shows it.
func (p *Package) Manifest() json.RawMessage { return bytes.Clone(p.manifest.asJSON) }

// Components returns the manifests of the plugin's components, in the order of their paths.
func (p *Package) Components() []Component { return append([]Component(nil), p.components...) }

// Requirements returns the Python packages that requirements.txt asks for, a line each, in its order. It is nil if there is
// no such file.
func (p *Package) Requirements() []string { return slices.Clone(p.requirements) }

// LeftOut returns what [FromFS] and [FromDir] did not pack, and why. It is empty for a package that was opened.
func (p *Package) LeftOut() []LeftOut { return append([]LeftOut(nil), p.leftOut...) }

// WriteTo writes the archive to w, such as a file to keep.
func (p *Package) WriteTo(w io.Writer) (int64, error) {
	r, err := p.open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(w, r)
}

// Open checks the archive in the file at path. It reads the file once and keeps it neither open nor in memory; uploads
// read it again, and notice if it has changed.
//
// A file that breaks a rule is an [*Error]; one that cannot be read wraps an error of package fs, as fs.ErrNotExist.
func Open(path string) (*Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	if info.IsDir() {
		return nil, &Error{File: path, Rule: "zip", Reason: "is a folder: FromDir builds a package from one"}
	}
	if info.Size() > maxArchive {
		return nil, &Error{File: path, Rule: "size", Reason: fmt.Sprintf("has %d bytes, more than any server takes", info.Size())}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxArchive))
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	p, err := parse(data)
	if err != nil {
		return nil, inFile(err, path)
	}
	size, sum := p.size, sha256.Sum256(data) // of what was checked
	p.fileName = filepath.Base(path)
	p.open = func() (io.ReadCloser, error) { return reopen(path, size, sum) }
	return p, nil
}

// Read checks the archive that r holds, and keeps it in memory. It reads at most 128 MiB. An archive that breaks a rule, one
// that is larger among them, is an [*Error]; an error of r is wrapped.
func Read(r io.Reader) (*Package, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxArchive+1))
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	return parse(data)
}

// Parse checks the archive data, of 128 MiB at most. It keeps a copy. An archive that breaks a rule is an [*Error].
func Parse(data []byte) (*Package, error) { return parse(bytes.Clone(data)) }

func parse(data []byte) (*Package, error) {
	if len(data) > maxArchive {
		return nil, &Error{Rule: "size", Reason: "is larger than any server takes"}
	}
	p, err := check(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	p.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	return p, nil
}

// An Error is a rule that an archive or a folder breaks.
type Error struct {
	File  string // the archive's path; empty if it has none
	Entry string // the entry at fault; empty: the archive as a whole
	// Rule is what the rule is about: size, zip, entries, entry name, duplicate, entry size, total size, ratio, encryption,
	// compression, symlink, file type, encoding, manifest, kind, metadata, author, name, version, label, description,
	// apiVersion, spec, execution, component folder, requirements, folder, ignore.
	Rule   string
	Reason string // what is wrong, for people
}

func (e *Error) Error() string {
	text := "lbpkg: "
	if e.File != "" {
		text += e.File + ": "
	}
	if e.Entry != "" {
		text += fmt.Sprintf("entry %q: ", e.Entry)
	}
	return text + e.Rule + ": " + e.Reason
}

func inFile(err error, path string) error {
	var rule *Error
	if errors.As(err, &rule) {
		rule.File = path
	}
	return err
}

// reopen opens the file at path again and makes sure that it is still the one that was checked: by its length at once,
// by its digest when it has been read.
func reopen(path string, size int64, sum [sha256.Size]byte) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	info, err := f.Stat()
	if err != nil || info.Size() != size {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrChanged)
	}
	return &verified{file: f, path: path, sum: sha256.New(), want: sum[:]}, nil
}

type verified struct {
	file *os.File
	path string
	sum  hash.Hash
	want []byte
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.file.Read(p)
	v.sum.Write(p[:n])
	if err == io.EOF && !bytes.Equal(v.sum.Sum(nil), v.want) {
		return n, fmt.Errorf("%s: %w", v.path, ErrChanged)
	}
	return n, err
}

func (v *verified) Close() error { return v.file.Close() }
