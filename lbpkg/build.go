package lbpkg

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// LeftOut is a file or folder that was not packed.
type LeftOut struct {
	Path   string
	Reason string
}

// FromDir builds a package from the folder dir, as [FromFS] does. A symbolic link in it is an [*Error], wherever it
// points.
func FromDir(dir string) (*Package, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	if !info.IsDir() {
		return nil, &Error{File: dir, Rule: "folder", Reason: "is a file: Open reads a package from one"}
	}
	p, err := FromFS(os.DirFS(dir))
	if err != nil {
		return nil, inFile(err, filepath.ToSlash(dir))
	}
	return p, nil
}

// FromFS builds a package from the files of fsys, whose root holds manifest.yaml, and checks it. The same files give the
// same bytes, whatever their times and modes. Left out are version control, caches, virtual environments, .env files,
// other packages, a dist folder in the root, and what a .gitignore in the root names; [Package.LeftOut] tells. A pattern
// there that cannot be understood is an error, since what it names may be a secret.
//
// Folders that the manifest names for components must be there and hold Python files. That fails where a program embeds
// its plugin without all: (see the package's example), because go:embed then leaves out __init__.py and _helper.py.
//
// A folder that breaks a rule is an [*Error].
func FromFS(fsys fs.FS) (*Package, error) {
	paths, leftOut, err := collect(fsys)
	if err != nil {
		return nil, err
	}
	data, err := pack(fsys, paths)
	if err != nil {
		return nil, err
	}
	p, err := parse(data)
	if err != nil {
		return nil, err
	}
	if err := checkComponentDirs(p.manifest.componentDirs, paths); err != nil {
		return nil, err
	}
	p.leftOut = leftOut
	return p, nil
}

// collect walks fsys and decides what belongs into the package, in the order of names.
func collect(fsys fs.FS) (paths []string, leftOut []LeftOut, err error) {
	ignored, err := readIgnore(fsys)
	if err != nil {
		return nil, nil, err
	}
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		reason := unwanted(fsys, name, entry.IsDir())
		if reason == "" && ignored.match(name, entry.IsDir()) {
			reason = "named in .gitignore"
		}
		switch {
		case reason != "":
			leftOut = append(leftOut, LeftOut{name, reason})
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type()&fs.ModeSymlink != 0:
			return &Error{Entry: name, Rule: "symlink", Reason: "symbolic links are not allowed: copy what it points to"}
		case entry.Type().IsRegular():
			paths = append(paths, name)
		case !entry.IsDir():
			return &Error{Entry: name, Rule: "file type", Reason: "it is neither a file nor a folder"}
		}
		return nil
	})
	var rule *Error
	if err != nil && !errors.As(err, &rule) {
		err = fmt.Errorf("lbpkg: %w", err)
	}
	slices.Sort(paths)
	return paths, leftOut, err
}

// unwanted says why an entry is never part of a plugin, or nothing.
func unwanted(fsys fs.FS, name string, dir bool) string {
	if dir {
		return unwantedDir(fsys, name)
	}
	switch base := strings.ToLower(path.Base(name)); {
	case base == ".git", base == ".gitignore", base == ".gitattributes", base == ".gitmodules":
		return "version control"
	case base == ".env", base == ".envrc", strings.HasPrefix(base, ".env.") && base != ".env.example":
		return "may hold secrets"
	case strings.HasSuffix(base, ".pyc"), strings.HasSuffix(base, ".pyo"):
		return "cache"
	case strings.HasSuffix(base, ".lbpkg"):
		return "another package"
	case base == ".ds_store", base == "thumbs.db":
		return "clutter of the desktop"
	}
	return ""
}

func unwantedDir(fsys fs.FS, name string) string {
	switch strings.ToLower(path.Base(name)) {
	case ".git", ".hg", ".svn", ".bzr":
		return "version control"
	case "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".tox", "node_modules":
		return "cache"
	case ".idea", ".vscode":
		return "editor settings"
	case "dist":
		if path.Dir(name) == "." {
			return "build output"
		}
	}
	if _, err := fs.Stat(fsys, name+"/pyvenv.cfg"); err == nil {
		return "virtual environment"
	}
	return ""
}

// pack writes the files into an archive that depends on nothing but their names and bytes.
func pack(fsys fs.FS, paths []string) ([]byte, error) {
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	total := 0
	for _, name := range paths {
		data, err := readFile(fsys, name)
		if err != nil {
			return nil, err
		}
		if total += len(data); total > maxTotal {
			return nil, &Error{Entry: name, Rule: "total size", Reason: fmt.Sprintf("with it the package unpacks to more than %d MiB", maxTotal>>20)}
		}
		if err := add(archive, name, data); err != nil {
			return nil, fmt.Errorf("lbpkg: %s: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	return out.Bytes(), nil
}

// readFile reads a file that is not larger than servers take.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	if info.Size() > maxEntry {
		return nil, &Error{Entry: name, Rule: "entry size", Reason: fmt.Sprintf("it has %d bytes, at most %d MiB are allowed", info.Size(), maxEntry>>20)}
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("lbpkg: %w", err)
	}
	return data, nil
}

// add deflates a file, or stores one that deflates to less than a fiftieth: servers take that for a bomb at a hundredth.
func add(archive *zip.Writer, name string, data []byte) error {
	method := zip.Deflate
	if looksLikeBomb(data) {
		method = zip.Store
	}
	w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: method, ExternalAttrs: (typeRegular | 0o644) << 16, CreatorVersion: 3 << 8})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// looksLikeBomb reports whether data would deflate suspiciously well.
func looksLikeBomb(data []byte) bool {
	const suspicious = maxRatio / 2
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return false // only a bad level is an error
	}
	if _, err := w.Write(data); err != nil || w.Close() != nil {
		return false // a buffer takes everything
	}
	return len(data) > suspicious*packed.Len()
}

// checkComponentDirs wants every folder that the manifest names to hold a Python file.
func checkComponentDirs(dirs, paths []string) error {
	for _, dir := range dirs {
		if !slices.ContainsFunc(paths, func(name string) bool { return strings.HasPrefix(name, dir+"/") && strings.HasSuffix(name, ".py") }) {
			return &Error{Entry: dir, Rule: "component folder", Reason: "the manifest names it, and it holds no Python file"}
		}
	}
	return nil
}
