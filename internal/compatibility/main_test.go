package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func run(lines ...string) string {
	var out strings.Builder
	for _, line := range lines {
		fmt.Fprintln(&out, line)
	}
	return out.String()
}

func output(cell string) string {
	return fmt.Sprintf(`{"Action":"output","Test":"TestReal/x","Output":%q}`, "    contract_test.go:1: compatibility: "+cell+"\n")
}

const (
	pass = `{"Action":"pass","Package":"contract"}`
	fail = `{"Action":"fail","Test":"TestReal/4.10.6/servers/usual/delete/key"}`
)

func TestTable(t *testing.T) {
	cells, err := read(strings.NewReader(run("go: downloading",
		output(`{"index":2,"case":"upgrade","what":"Upgrade","by":"key","release":"4.10.9","result":"lacks","notes":["Slowly."]}`),
		output(`{"index":1,"case":"delete","what":"Remove","by":"token","release":"4.10.9","result":"works"}`),
		output(`{"index":1,"case":"delete","what":"Remove","by":"key","release":"4.10.9","result":"works","notes":["Slowly.","Oddly."]}`),
		output(`{"index":1,"case":"delete","what":"Remove","by":"key","release":"4.6.0","result":"lacks","notes":["Oddly."]}`),
		output(`{"index":1,"case":"delete","what":"Remove","by":"token","release":"4.6.0","result":"works"}`),
		output(`{"index":2,"case":"upgrade","what":"Upgrade","by":"key","release":"4.6.0","result":"works"}`),
		pass)), io.Discard)
	require.NoError(t, err)
	text := table(cells)
	require.Contains(t, text, "| | by | 4.6.0 | 4.10.9 |\n|---|---|---|---|\n"+
		"| Remove (`delete`) | key | –¹ | ✓¹˒² |\n| Remove (`delete`) | token | ✓ | ✓ |\n| Upgrade (`upgrade`) | key | ✓ | –³ |\n")
	require.Contains(t, text, "1. Oddly. (delete)\n2. Slowly. (delete)\n3. Slowly. (upgrade)\n")
}

func TestNoTable(t *testing.T) {
	cell := output(`{"case":"delete","what":"Remove","by":"key","release":"4.10.9","result":"works"}`)
	for name, input := range map[string]string{
		"a case failed":          run(cell, fail),
		"nothing ran":            run(pass),
		"a cell is damaged":      run(output(`{"case":`), pass),
		"the run was broken off": run(cell),
		"a case says it failed":  run(output(`{"case":"delete","what":"Remove","by":"key","release":"4.10.9","result":"fails"}`), pass),
		"a cell is missing":      run(cell, output(`{"case":"upgrade","what":"Upgrade","by":"key","release":"4.6.0","result":"works"}`), pass),
		"a cell came twice":      run(cell, cell, pass),
	} {
		_, err := read(strings.NewReader(input), io.Discard)
		require.Error(t, err, name)
	}
}
