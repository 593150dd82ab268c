package lbpkg_test

import (
	"errors"
	"fmt"
	"log"
	"testing/fstest"

	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/lbpkg"
)

func ExampleParse() {
	archive := archives.Zip(archives.Plugin("acme", "hello", "1.0")...) // 1.0 without quotes is a number in YAML
	_, err := lbpkg.Parse(archive)
	var rule *lbpkg.Error
	if errors.As(err, &rule) {
		fmt.Println(rule.Entry, rule.Rule)
	}
	fmt.Println(err)
	// Output:
	// manifest.yaml version
	// lbpkg: entry "manifest.yaml": version: metadata.version must be a string: quote it
}

func ExampleFromFS() {
	// In a program: //go:embed all:plugin
	files := fstest.MapFS{
		"manifest.yaml": {Data: []byte(archives.Manifest("acme", "hello", `"1.0.0"`))},
		"main.py":       {Data: []byte(archives.Code("pass"))},
		"_helper.py":    {Data: []byte("x = 1\n")},
		".env":          {Data: []byte("TOKEN=secret\n")},
	}
	pkg, err := lbpkg.FromFS(files)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pkg.Author(), pkg.Name(), pkg.Version(), pkg.FileName())
	for _, l := range pkg.LeftOut() {
		fmt.Println("left out:", l.Path, "-", l.Reason)
	}
	// Output:
	// acme hello 1.0.0 hello-1.0.0.lbpkg
	// left out: .env - may hold secrets
}
