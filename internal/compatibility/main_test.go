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

const pass, fail = `{"Action":"pass","Test":"TestReal"}`, `{"Action":"fail","Test":"TestReal/4.10.6/servers/usual/delete/key"}`

func TestTable(t *testing.T) {
	cells, err := read(strings.NewReader(run("go: downloading", pass,
		output(`{"case":"delete","what":"Remove","by":"key","release":"4.10.9","result":"works","notes":["Slowly.","Oddly."]}`),
		output(`{"case":"delete","what":"Remove","by":"token","release":"4.10.9","result":"works"}`),
		output(`{"case":"upgrade","what":"Upgrade","by":"key","release":"4.10.9","result":"lacks","notes":["Slowly."]}`),
		output(`{"case":"delete","what":"Remove","by":"key","release":"4.6.0","result":"lacks","notes":["Oddly."]}`),
		output(`{"case":"delete","what":"Remove","by":"token","release":"4.6.0","result":"works"}`),
	)), io.Discard)
	require.NoError(t, err)
	text := table(cells)
	require.Contains(t, text, "| | by | 4.6.0 | 4.10.9 |\n|---|---|---|---|\n")
	require.Contains(t, text, "| Remove (`delete`) | key | –² | ✓¹˒² |\n| Remove (`delete`) | token | ✓ | ✓ |\n| ")
	require.Contains(t, text, "|  | –³ |\n", "what did not run stays empty")
	require.Contains(t, text, "1. Slowly. (delete)\n2. Oddly. (delete)\n3. Slowly. (upgrade)\n")
}

func TestNoTable(t *testing.T) {
	cell := output(`{"case":"delete","what":"Remove","by":"key","release":"4.10.9","result":"works"}`)
	for name, input := range map[string]string{
		"a case failed":     run(cell, fail),
		"nothing ran":       run(pass),
		"a cell is damaged": run(output(`{"case":`)),
	} {
		_, err := read(strings.NewReader(input), io.Discard)
		require.Error(t, err, name)
	}
}
