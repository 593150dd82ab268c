package langbot_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parseDir returns the files of a package that are no tests.
func parseDir(t *testing.T, dir string) []*ast.File {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var files []*ast.File
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			f, err := parser.ParseFile(token.NewFileSet(), dir+"/"+e.Name(), nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, f)
		}
	}
	return files
}

// TestEveryExportedNameIsDocumented: with a comment that begins with the name, or explains a group.
func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, dir := range []string{".", "lbpkg", "langbottest"} {
		for _, file := range parseDir(t, dir) {
			for _, decl := range file.Decls {
				switch d := decl.(type) {
				case *ast.FuncDecl:
					if d.Name.IsExported() && d.Name.Name != "Error" && (d.Recv == nil || receiver(d) == "" || ast.IsExported(receiver(d))) {
						require.True(t, strings.HasPrefix(d.Doc.Text(), d.Name.Name+" "), "%s: %s.%s", dir, receiver(d), d.Name.Name)
					}
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						switch s := spec.(type) {
						case *ast.TypeSpec:
							if s.Name.IsExported() {
								require.Contains(t, d.Doc.Text()+s.Doc.Text(), s.Name.Name, dir)
							}
						case *ast.ValueSpec:
							if s.Names[0].IsExported() {
								require.NotEmpty(t, d.Doc.Text()+s.Doc.Text()+s.Comment.Text(), "%s: %s", dir, s.Names[0])
							}
						}
					}
				}
			}
		}
	}
}

// receiver is the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if name, ok := t.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

var (
	apiLine  = regexp.MustCompile(`(?m)^API: (.+?)\.?$`)
	apiRoute = regexp.MustCompile(`(GET|POST|PUT|DELETE) /[a-z0-9/{}-]+`)
)

// TestRoutesInComments: the API line of a method names routes of the table, every method of a service that makes a
// request has one, and every route of the table is named.
func TestRoutesInComments(t *testing.T) {
	table, named := map[string]bool{}, map[string]bool{}
	for _, file := range parseDir(t, ".") {
		ast.Inspect(file, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				key, isName := kv.Key.(*ast.Ident)
				value, isText := kv.Value.(*ast.BasicLit)
				if isName && isText && key.Name == "pattern" {
					table[strings.Trim(value.Value, `"`)] = true
				}
			}
			return true
		})
	}
	require.GreaterOrEqual(t, len(table), 12)
	for _, file := range parseDir(t, ".") {
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || !d.Name.IsExported() {
				continue
			}
			line := apiLine.FindStringSubmatch(d.Doc.Text())
			makesRequest := strings.HasSuffix(receiver(d), "Service") && d.Name.Name != "Resume"
			if line == nil {
				require.False(t, makesRequest, "%s.%s has no API line", receiver(d), d.Name.Name)
				continue
			}
			routes := apiRoute.FindAllString(line[1], -1)
			require.NotEmpty(t, routes, line[1])
			for _, route := range routes {
				require.True(t, table[route], "%s.%s: %s is not in the table", receiver(d), d.Name.Name, route)
				named[route] = true
			}
		}
	}
	for route := range table {
		require.True(t, named[route], "no comment names %s", route)
	}
}

// TestImports: who may import whom.
func TestImports(t *testing.T) {
	const module = "github.com/langbot-go/langbot"
	deps := func(pkg string) []string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
		require.NoError(t, err)
		return strings.Fields(string(out))
	}
	var thirdParty []string
	for _, dep := range deps(".") {
		switch {
		case strings.HasPrefix(dep, module+"/"):
			require.Contains(t, []string{module + "/internal/transport", module + "/internal/envelope", module + "/internal/upload"}, dep)
		case strings.Contains(strings.SplitN(dep, "/", 2)[0], "."):
			thirdParty = append(thirdParty, dep)
		}
	}
	slices.Sort(thirdParty)
	require.Equal(t, []string{module, "github.com/hashicorp/go-cleanhttp", "github.com/hashicorp/go-retryablehttp"}, append([]string{module}, slices.DeleteFunc(thirdParty, func(d string) bool { return d == module })...))
	for _, pkg := range []string{"./langbottest", "./lbpkg", "./internal/memnet"} {
		for _, dep := range deps(pkg) {
			require.NotEqual(t, module, dep, "%s imports the client", pkg)
			require.NotContains(t, dep, "testify", pkg)
			require.NotContains(t, dep, "httpmock", pkg)
			require.NotEqual(t, "testing", dep, pkg)
			require.False(t, pkg != "./langbottest" && strings.HasSuffix(dep, "langbottest"))
		}
	}
	for _, pkg := range []string{"./internal/transport", "./internal/envelope", "./internal/upload"} {
		for _, dep := range deps(pkg) {
			require.False(t, strings.HasPrefix(dep, module+"/") && !strings.HasSuffix(pkg, strings.TrimPrefix(dep, module+"/")), "%s imports %s", pkg, dep)
			require.False(t, strings.Contains(dep, "retryablehttp") && pkg != "./internal/transport", pkg)
		}
	}
}

// TestSurface: the root package is small, and stays so.
func TestSurface(t *testing.T) {
	names := 0
	for _, file := range parseDir(t, ".") {
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok {
				if f := decl.(*ast.FuncDecl); f.Recv == nil && f.Name.IsExported() {
					names++
				}
				continue
			}
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						names++
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						if name.IsExported() {
							names++
						}
					}
				}
			}
		}
	}
	t.Logf("%d exported types, functions, variables and constants", names)
	require.LessOrEqual(t, names, 75)
}
