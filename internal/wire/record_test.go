// Package wire holds what real releases of LangBot answered, byte by byte, and how it was recorded: raw requests over
// every route that a client of plugins may ask. The recordings judge the client's reading of answers, and the reference
// server. To record a release anew:
//
//	go test ./internal/wire -run '^TestRecord$' -real 4.11.2 -record
package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot/internal/lab"
)

var (
	real   = flag.String("real", "", "releases of LangBot to record, separated by commas, each started from the Python index")
	record = flag.Bool("record", false, "write the recordings into testdata")
)

// TestRecord asks each release the scenario twice, each time on a new server, and writes what it answered. What differs
// between the two is marked.
func TestRecord(t *testing.T) {
	if *real == "" {
		t.Skip("run with -real VERSION,… to start real servers")
	}
	for release := range strings.SplitSeq(*real, ",") {
		t.Run(release, func(t *testing.T) {
			one, secrets := ask(t, release)
			two, more := ask(t, release)
			merged := merge(t, one, two)
			exchanges, differ := 0, 0
			for _, s := range merged.Sections {
				for _, x := range s.Exchanges {
					exchanges++
					if x.Unstable != nil {
						differ++
					}
				}
			}
			t.Logf("LangBot %s: %d exchanges in %d sections, %d of them differ between two runs", release, exchanges, len(merged.Sections), differ)
			if *record {
				write(t, merged, append(secrets, more...))
			}
		})
	}
}

// ask starts a release and asks it the scenario. The credentials that it used are returned too.
func ask(t *testing.T, release string) (transcript, []string) {
	space := lab.NewSpace()
	defer space.Close()
	space.Add("acme/mk", "0.1.0", demo("acme", "mk", "0.1.0", "pass"))
	space.Add("acme/mk", "0.2.0", demo("acme", "mk", "0.2.0", "pass"))
	srv, err := lab.Start(t.Context(), release, t.TempDir(), space.Settings()...)
	require.NoError(t, err)
	defer srv.Close()
	r := &run{t: t, server: started{srv, space, t}, client: newClient(nil), every: 20 * time.Millisecond, base: srv.URL, release: release,
		norm: newNormaliser(srv.URL), genuine: true}
	info := r.send("GET", "/api/v1/system/info", request{as: "none"})
	version, _ := info.data("version").(string)
	require.Equal(t, "v"+release, version)
	r.log.Release, r.log.Server = release, "LangBot "+version
	scenario(r)
	return r.log, []string{r.token, r.key}
}

// started is a real server.
type started struct {
	*lab.Server
	space *lab.Space
	t     *testing.T
}

func (s started) StartsBadly(string) {}

func (s started) SlowMarketplace(author string, delay time.Duration) { s.space.Delay(author, delay) }

func (s started) Restart(settings ...string) error {
	s.KillHost()
	s.Configure(settings...)
	return s.StartHost(s.t.Context())
}

func write(t *testing.T, x transcript, secrets []string) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	require.NoError(t, encoder.Encode(x))
	for _, secret := range append(secrets, "lab-global-key", password) {
		require.NotContains(t, out.String(), secret)
	}
	require.NoError(t, os.WriteFile(filepath.Join("testdata", x.Release+".json"), out.Bytes(), 0o644))
}
