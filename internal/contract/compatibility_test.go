package contract

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompatibility wants the table to be whole: a row for every case by each of its credentials, a column for every
// release that is run, and no cell that is empty.
func TestCompatibility(t *testing.T) {
	releases := releases(t)
	text, err := os.ReadFile("../../COMPATIBILITY.md")
	require.NoError(t, err)
	require.Contains(t, string(text), "| by | "+strings.Join(releases, " | ")+" |\n")
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if name := regexp.MustCompile("\\(`([a-z0-9-]+)`\\) \\|").FindStringSubmatch(line); name != nil {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			rows[name[1]+" by "+strings.TrimSpace(cells[1])] = cells[2:]
		}
	}
	wanted := 0
	for _, c := range cases {
		for _, credential := range c.credentials() {
			wanted++
			cells := rows[c.name+" by "+credential]
			require.Len(t, cells, len(releases), "%s by %s", c.name, credential)
			for i, cell := range cells {
				mark := []rune(strings.TrimSpace(cell))
				require.NotEmpty(t, mark, "%s by %s on %s", c.name, credential, releases[i])
				want := '–'
				if c.offered(releases[i], credential) {
					want = '✓'
				}
				require.Equal(t, string(want), string(mark[0]), "%s by %s on %s", c.name, credential, releases[i])
			}
		}
	}
	require.Len(t, rows, wanted, "a row without a case")
}
