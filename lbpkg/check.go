package lbpkg

import (
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"
)

// The limits of LangBot 4.10.7 to 4.11.2.
const (
	maxEntries  = 512
	maxEntry    = 16 << 20
	maxTotal    = 64 << 20
	maxRatio    = 100
	maxMetadata = 1 << 20 // of manifest.yaml and requirements.txt
)

const (
	manifestName     = "manifest.yaml"
	requirementsName = "requirements.txt"
)

// check applies every rule to the archive of size bytes in r.
func check(r io.ReaderAt, size int64) (*Package, error) {
	end, err := findEnd(r, size)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(io.NewSectionReader(r, end.base, size-end.base), size-end.base)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, &Error{Rule: "zip", Reason: "the archive is damaged: " + err.Error()}
	}
	if len(archive.File) != end.entries {
		return nil, &Error{Rule: "zip", Reason: fmt.Sprintf("its last record tells of %d entries, its directory has %d", end.entries, len(archive.File))}
	}
	archive.RegisterDecompressor(methodBzip2, func(r io.Reader) io.ReadCloser { return io.NopCloser(bzip2.NewReader(r)) })
	files, err := checkEntries(archive.File)
	if err != nil {
		return nil, err
	}
	p := &Package{size: size}
	if p.manifest, err = checkManifest(archive.File, files); err != nil {
		return nil, err
	}
	if p.requirements, err = checkRequirements(files[requirementsName]); err != nil {
		return nil, err
	}
	for _, f := range archive.File {
		if err := checkContent(f); err != nil {
			return nil, err
		}
	}
	p.components = readComponents(p.manifest.componentDirs, files)
	return p, nil
}

// endRecord is the length of the last record without the archive's comment.
const endRecord = 22

// An end is what the zip's last record says.
type end struct {
	base    int64 // where the archive begins in the file
	entries int
}

// findEnd reads the last record, which must end where the file ends, as servers from 4.11.0 on want it.
func findEnd(r io.ReaderAt, size int64) (end, error) {
	tail := make([]byte, min(size, endRecord+0xFFFF))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return end{}, fmt.Errorf("lbpkg: %w", err)
	}
	for until := len(tail); ; {
		i := bytes.LastIndex(tail[:until], []byte("PK\x05\x06"))
		if i < 0 {
			return end{}, notZip(r, size, tail)
		}
		if i+endRecord <= len(tail) && i+endRecord+int(binary.LittleEndian.Uint16(tail[i+20:])) == len(tail) {
			if bytes.HasPrefix(tail[max(i-zip64Locator, 0):], []byte("PK\x06\x07")) {
				return end{}, &Error{Rule: "zip", Reason: "it has a second, 64-bit last record, which readers weigh differently: pack it again"}
			}
			return readEnd(tail[i:], size-int64(len(tail)-i))
		}
		until = i + 3
	}
}

const zip64Locator = 20 // bytes of a record that lies before the last one, if there is one

// readEnd judges the directory by the last record, before it is read: it may be far larger than any that is allowed. The
// directory is taken to end at the record, as Python does; Go would look where the record says, and see another one.
func readEnd(record []byte, at int64) (end, error) {
	const most = 4 << 20 // bytes of a directory; 512 entries need some 50 KiB
	count := int(binary.LittleEndian.Uint16(record[10:]))
	size, offset := int64(binary.LittleEndian.Uint32(record[12:])), int64(binary.LittleEndian.Uint32(record[16:]))
	if count > maxEntries || size > most {
		return end{}, &Error{Rule: "entries", Reason: fmt.Sprintf("the archive has %d entries in a directory of %d bytes, at most %d are allowed", count, size, maxEntries)}
	}
	base := at - size - offset
	if base < 0 {
		return end{}, &Error{Rule: "zip", Reason: "the archive is damaged: its directory does not lie where the last record says"}
	}
	return end{base: base, entries: count}, nil
}

// notZip says what the thing is, if it is something that people take for a package.
func notZip(r io.ReaderAt, size int64, tail []byte) error {
	head := make([]byte, min(size, 512))
	_, _ = r.ReadAt(head, 0) // what is missing cannot be recognised
	text := strings.ToLower(string(bytes.TrimLeft(head, " \t\r\n\xef\xbb\xbf")))
	looks := "it is no zip archive"
	switch {
	case size == 0:
		looks = "the file is empty"
	case strings.HasPrefix(text, "<!doctype"), strings.HasPrefix(text, "<html"):
		looks = "it is an HTML page: was the download a login or error page?"
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		looks = "it is gzip (.tar.gz?): a package is a zip archive"
	case strings.HasPrefix(text, "version https://git-lfs"):
		looks = "it is a Git LFS pointer: fetch the file itself with git lfs pull"
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		looks = "it is JSON: was the download an API's answer?"
	case endsEarly(tail):
		looks = "there are bytes after the end of the zip archive"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		looks = "the zip archive is cut off: its end is missing"
	}
	return &Error{Rule: "zip", Reason: looks}
}

// endsEarly reports whether the last record is there, whole, and not at the end.
func endsEarly(tail []byte) bool {
	i := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	return i >= 0 && i+endRecord <= len(tail) && i+endRecord+int(binary.LittleEndian.Uint16(tail[i+20:])) < len(tail)
}

// checkEntries applies the rules on names, kinds and sizes, and returns the files by their portable names.
func checkEntries(entries []*zip.File) (map[string]*zip.File, error) {
	if len(entries) > maxEntries {
		return nil, &Error{Rule: "entries", Reason: fmt.Sprintf("the archive has %d entries, at most %d are allowed", len(entries), maxEntries)}
	}
	names := names{files: map[string]*zip.File{}, folded: map[string]bool{}, dirs: map[string]bool{}, parents: map[string]bool{}}
	var total, packed uint64
	for _, f := range entries {
		name, err := names.add(f)
		if err == nil {
			err = checkHeader(f, name)
		}
		if err != nil {
			return nil, err
		}
		if total += f.UncompressedSize64; total > maxTotal {
			return nil, &Error{Entry: name, Rule: "total size", Reason: fmt.Sprintf("with it the archive unpacks to more than %d MiB", maxTotal>>20)}
		}
		packed += f.CompressedSize64
	}
	if total > maxRatio*max(packed, 1) {
		return nil, &Error{Rule: "ratio", Reason: fmt.Sprintf("the archive unpacks to more than %d times its size", maxRatio)}
	}
	return names.files, nil
}

const (
	methodBzip2   = 12
	methodLZMA    = 14
	typeMask      = 0o170000
	typeDir       = 0o040000
	typeRegular   = 0o100000
	typeSymlink   = 0o120000
	flagEncrypted = 1 << 0
	flagUTF8      = 1 << 11
)

// checkHeader judges an entry by what the archive says of it.
func checkHeader(f *zip.File, name string) error {
	refuse := func(rule, format string, args ...any) error {
		return &Error{Entry: name, Rule: rule, Reason: fmt.Sprintf(format, args...)}
	}
	kind := f.ExternalAttrs >> 16 & typeMask
	switch {
	case f.Flags&flagEncrypted != 0:
		return refuse("encryption", "encrypted archives are not supported")
	case kind == typeSymlink:
		return refuse("symlink", "symbolic links are not allowed")
	case isDir(f) && f.UncompressedSize64 != 0:
		return refuse("file type", "it is a folder with content")
	case kind != 0 && kind != typeRegular && kind != typeDir, kind == typeDir && !isDir(f), kind == typeRegular && isDir(f):
		return refuse("file type", "it is neither a file nor a folder")
	case f.UncompressedSize64 > maxEntry:
		return refuse("entry size", "it unpacks to %d bytes, at most %d MiB are allowed", f.UncompressedSize64, maxEntry>>20)
	case f.UncompressedSize64 > maxRatio*max(f.CompressedSize64, 1):
		return refuse("ratio", "it unpacks to more than %d times its size", maxRatio)
	case f.Method != zip.Store && f.Method != zip.Deflate && f.Method != methodBzip2 && f.Method != methodLZMA:
		return refuse("compression", "method %d is unknown to LangBot", f.Method)
	}
	return nil
}

// names are the entries seen so far, as the paths they unpack to.
type names struct {
	files   map[string]*zip.File
	folded  map[string]bool // files, without regard to case
	dirs    map[string]bool // folders with an entry of their own
	parents map[string]bool // folders that something lies in
}

func isDir(f *zip.File) bool { return strings.HasSuffix(cut(f.Name), "/") }

// cut is the name as Python reads it: up to the first NUL.
func cut(name string) string {
	name, _, _ = strings.Cut(name, "\x00")
	return name
}

func (n *names) add(f *zip.File) (string, error) {
	shown := cut(f.Name)
	refuse := func(rule, reason string) (string, error) { return "", &Error{Entry: shown, Rule: rule, Reason: reason} }
	name, reason := portable(f)
	if reason != "" {
		return refuse("entry name", reason)
	}
	if n.files[name] != nil || n.dirs[name] || !isDir(f) && n.folded[strings.ToLower(name)] {
		return refuse("duplicate", "another entry has this name, perhaps in other letter case")
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if n.files[dir] != nil {
			return refuse("duplicate", fmt.Sprintf("%q is a file, and cannot hold it", dir))
		}
		n.parents[dir] = true
	}
	if isDir(f) {
		n.dirs[name] = true
		return name, nil
	}
	if n.parents[name] {
		return refuse("duplicate", "it is a file, and a folder of other entries")
	}
	n.files[name], n.folded[strings.ToLower(name)] = f, true
	return name, nil
}

// portable is the path that an entry unpacks to, or the reason why it has none. Backslashes are slashes to LangBot.
func portable(f *zip.File) (name, reason string) {
	raw := strings.ReplaceAll(cut(f.Name), `\`, "/")
	name = path.Clean(raw)
	switch {
	case raw == "":
		return "", "the name is empty"
	case f.Flags&flagUTF8 != 0 && !utf8.ValidString(f.Name):
		return "", "the name is not UTF-8, though marked as such"
	case strings.HasPrefix(raw, "/"):
		return "", "an absolute path escapes the archive"
	case name == "..", strings.HasPrefix(name, "../"), strings.Contains("/"+raw+"/", "/../"):
		return "", `".." escapes the archive`
	case name == ".":
		return "", "the name is the archive itself"
	case len(name) >= 2 && name[1] == ':', len(raw) >= 2 && raw[1] == ':':
		return "", "the name begins with a drive letter"
	}
	return name, ""
}

// checkContent unpacks an entry, to know that it can be, and that its header told the truth. LZMA, which the standard
// library cannot unpack, is left to the server.
func checkContent(f *zip.File) error {
	if isDir(f) || f.Method == methodLZMA {
		return nil
	}
	_, err := copyContent(io.Discard, f)
	return err
}

func copyContent(w io.Writer, f *zip.File) (int64, error) {
	damaged := func(err error) error {
		return &Error{Entry: cut(f.Name), Rule: "zip", Reason: "it cannot be unpacked: " + err.Error()}
	}
	r, err := f.Open()
	if err != nil {
		return 0, damaged(err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, int64(f.UncompressedSize64)+1))
	if err == nil && n != int64(f.UncompressedSize64) {
		err = fmt.Errorf("its size is not the %d bytes that its header tells", f.UncompressedSize64)
	}
	if err != nil {
		return n, damaged(err)
	}
	return n, nil
}

// readEntry returns a small file of the archive.
func readEntry(f *zip.File) ([]byte, error) {
	if f.UncompressedSize64 > maxMetadata {
		return nil, &Error{Entry: cut(f.Name), Rule: "entry size", Reason: "it may have 1 MiB at most"}
	}
	if f.Method == methodLZMA {
		return nil, &Error{Entry: cut(f.Name), Rule: "compression", Reason: "LZMA cannot be checked here: pack it stored or deflated"}
	}
	var data bytes.Buffer
	_, err := copyContent(&data, f)
	return data.Bytes(), err
}
