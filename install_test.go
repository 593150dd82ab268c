package langbot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/internal/archives"
	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// An uploadServer reads forms as a server does. Its first answers may be others than success.
type uploadServer struct {
	*httptest.Server
	mu       sync.Mutex
	accepted [][]byte // whole forms
	raw      [][]byte // bodies as they came
	first    []int    // statuses of the first answers
	forms    int
}

func newUploadServer(t *testing.T, first ...int) (*uploadServer, *langbot.Client) {
	s := &uploadServer{first: first}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	client, err := langbot.New(s.URL, langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}))
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return s, client
}

func (s *uploadServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == "GET" {
		writeJSON(w, 404, `{"code":-1,"msg":"plugin not found"}`)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client broke off
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw = append(s.raw, raw)
	if s.forms++; s.forms <= len(s.first) {
		writeJSON(w, s.first[s.forms-1], `{"code":"task_capacity_exceeded","msg":"later"}`)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	file, header, err := r.FormFile("file")
	if err != nil || header.Filename == "" {
		writeJSON(w, 400, `{"code":-1,"msg":"file is required"}`)
		return
	}
	data, _ := io.ReadAll(file)
	s.accepted = append(s.accepted, data)
	writeJSON(w, 200, `{"code":0,"msg":"ok","data":{"task_id":1}}`)
}

// readers of odd manners.
type (
	byteByByte  struct{ r io.Reader }
	dataWithEOF struct{ data []byte }
	stalls      struct{}
)

func (b byteByByte) Read(p []byte) (int, error) { return b.r.Read(p[:min(len(p), 1)]) }

func (d *dataWithEOF) Read(p []byte) (int, error) {
	n := copy(p, d.data)
	d.data = d.data[n:]
	if len(d.data) == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (stalls) Read([]byte) (int, error) { return 0, nil }

// TestUploadReaders: whatever a package's reader does, both attempts are the same bytes, or no server gets a whole form.
func TestUploadReaders(t *testing.T) {
	data := bytes.Repeat([]byte("package "), 5000)
	boom := errors.New("disk on fire")
	once := bytes.NewReader(data)
	for name, tt := range map[string]struct {
		open func() io.Reader
		size int64
		err  error
		text string
	}{
		"whole":                 {open: func() io.Reader { return bytes.NewReader(data) }},
		"a byte at a time":      {open: func() io.Reader { return byteByByte{bytes.NewReader(data)} }},
		"data with the end":     {open: func() io.Reader { return &dataWithEOF{data} }},
		"too short":             {open: func() io.Reader { return bytes.NewReader(data[1:]) }, err: io.ErrUnexpectedEOF, text: "1 bytes early"},
		"too long":              {open: func() io.Reader { return bytes.NewReader(append(data[:len(data):len(data)], 'x')) }, text: "longer than"},
		"an error on the way":   {open: func() io.Reader { return io.MultiReader(bytes.NewReader(data[:9000]), errReader{boom}) }, err: boom},
		"an error at the end":   {open: func() io.Reader { return io.MultiReader(bytes.NewReader(data), errReader{boom}) }, err: boom},
		"the same reader twice": {open: func() io.Reader { return once }, err: io.ErrUnexpectedEOF},
		"nothing, for ever":     {open: func() io.Reader { return stalls{} }, err: io.ErrNoProgress},
		"empty":                 {open: func() io.Reader { return bytes.NewReader(nil) }, err: io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			srv, client := newUploadServer(t, 429)
			pkg := memory{id: demo, size: int64(len(data)), open: func() (io.ReadCloser, error) { return io.NopCloser(tt.open()), nil }}
			_, err := client.Plugins.InstallLocal(t.Context(), pkg)
			if tt.err == nil && tt.text == "" {
				require.NoError(t, err)
				require.Equal(t, [][]byte{data}, srv.accepted)
				require.Len(t, srv.raw, 2)
				require.Equal(t, srv.raw[0], srv.raw[1])
				return
			}
			require.Error(t, err)
			require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown, "no server took it for complete")
			require.ErrorContains(t, err, "package acme/demo")
			require.ErrorContains(t, err, tt.text)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
			require.Empty(t, srv.accepted)
		})
	}
	t.Run("cannot be opened", func(t *testing.T) {
		srv, client := newUploadServer(t)
		_, err := client.Plugins.InstallLocal(t.Context(), memory{id: demo, size: 5, open: func() (io.ReadCloser, error) { return nil, boom }})
		require.ErrorIs(t, err, boom)
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
		require.Empty(t, srv.accepted)
	})
}

// TestPackageFileChanges: what was checked is what is uploaded, or nothing is.
func TestPackageFileChanges(t *testing.T) {
	content := archives.Zip(append(archives.Plugin("acme", "demo", `"1.0.0"`), archives.File{Name: "pad.bin", Content: strings.Repeat("pad ", 20)})...)
	other := bytes.Clone(content)
	other[len(other)/2] ^= 1
	for name, change := range map[string]func(path string) error{
		"grows":    func(path string) error { return os.WriteFile(path, append(bytes.Clone(content), 0), 0o600) },
		"shrinks":  func(path string) error { return os.WriteFile(path, content[:len(content)-1], 0o600) },
		"replaced": func(path string) error { return os.WriteFile(path, other, 0o600) },
		"removed":  os.Remove,
	} {
		for _, when := range []string{"before", "between the attempts"} {
			t.Run(name+" "+when, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "demo.lbpkg")
				require.NoError(t, os.WriteFile(path, content, 0o600))
				pkg, err := lbpkg.Open(path)
				require.NoError(t, err)
				srv, client := newUploadServer(t, 429)
				var once sync.Once
				if when == "before" {
					require.NoError(t, change(path))
				} else {
					srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						srv.ServeHTTP(w, r)
						once.Do(func() {
							if err := change(path); err != nil {
								t.Error(err)
							}
						})
					})
				}
				_, err = client.Plugins.InstallLocal(t.Context(), pkg)
				require.ErrorIs(t, err, lbpkg.ErrChanged)
				require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
				require.Empty(t, srv.accepted)
			})
		}
	}
	path := filepath.Join(t.TempDir(), "demo.lbpkg")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	pkg, err := lbpkg.Open(path)
	require.NoError(t, err)
	srv, client := newUploadServer(t, 429)
	_, err = client.Plugins.InstallLocal(t.Context(), pkg)
	require.NoError(t, err)
	require.Equal(t, [][]byte{content}, srv.accepted)
}

func TestUploadLimit(t *testing.T) {
	srv, client := newUploadServer(t)
	_, err := client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: make([]byte, 10<<20)})
	require.ErrorIs(t, err, langbot.ErrTooLarge)
	require.ErrorContains(t, err, "acme/demo")
	require.Empty(t, srv.raw)
	_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: make([]byte, 10<<20-300)})
	require.NoError(t, err)
	require.LessOrEqual(t, len(srv.raw[0]), 10<<20)
	small, err := client.With(langbot.WithMaxUploadBytes(1000))
	require.NoError(t, err)
	_, err = small.Plugins.InstallLocal(t.Context(), memory{id: demo, data: make([]byte, 1000)})
	require.ErrorIs(t, err, langbot.ErrTooLarge)
	_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, size: math.MaxInt64})
	require.ErrorIs(t, err, langbot.ErrTooLarge)
	for _, bad := range []langbot.Package{nil, (*lbpkg.Package)(nil), &lbpkg.Package{}, memory{id: langbot.PluginID{Author: "a/b", Name: "c"}}} {
		_, err := client.Plugins.InstallLocal(t.Context(), bad)
		require.ErrorIs(t, err, langbot.ErrInvalid)
	}
}

// TestEarlyRefusalOfUpload: a server that refuses the credential before it has read the body, and the answer that gets
// lost with the connection.
func TestEarlyRefusalOfUpload(t *testing.T) {
	for _, status := range []int{401, 403} { // that it may not read says nothing of whether it may install
		var posts int
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				posts++
				reset(w)
				return
			}
			writeJSON(w, status, `{"code":"invalid_authentication","msg":"no"}`)
		}))
		client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
		require.NoError(t, err)
		_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: make([]byte, 5<<20)})
		require.ErrorIs(t, err, map[int]error{401: langbot.ErrUnauthorized, 403: langbot.ErrOutcomeUnknown}[status])
		require.Equal(t, status == 403, errors.Is(err, langbot.ErrOutcomeUnknown))
		require.Equal(t, 1, posts)
		_, err = client.Plugins.Preview(t.Context(), memory{id: demo, data: make([]byte, 5<<20)}) // which may be sent again
		require.ErrorIs(t, err, map[int]error{401: langbot.ErrUnauthorized, 403: langbot.ErrUnreachable}[status])
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
		client.CloseIdleConnections()
		srv.Close()
	}
}

// TestLostAnswerIsNoRefusal: a server that took the whole form and lost its answer may have run it, even if it refuses the
// token a moment later. Nothing is sent again.
func TestLostAnswerIsNoRefusal(t *testing.T) {
	var posts atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			_, _ = io.Copy(io.Discard, r.Body)
			posts.Add(1)
			reset(w)
			return
		}
		writeJSON(w, 401, `{"code":"invalid_authentication","msg":"expired"}`)
	}))
	defer srv.Close()
	for name, credential := range map[string]langbot.Option{
		"a token": langbot.WithUserToken(userToken),
		"a source": langbot.WithTokenSource(func(_ context.Context, refused string) (string, error) {
			if refused != "" {
				return userToken + "2", nil
			}
			return userToken, nil
		}),
	} {
		posts.Store(0)
		client, err := langbot.New(srv.URL, credential)
		require.NoError(t, err)
		_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: make([]byte, 600)})
		require.ErrorIs(t, err, langbot.ErrOutcomeUnknown, name)
		require.NotErrorIs(t, err, langbot.ErrUnauthorized, name)
		require.EqualValues(t, 1, posts.Load(), name)
		client.CloseIdleConnections()
	}
}

func TestInstallMarketplace(t *testing.T) {
	client, mock := mocked(t)
	var body map[string]any
	mock.RegisterResponder("POST", "/api/v1/plugins/install/marketplace", func(r *http.Request) (*http.Response, error) {
		body = nil
		require.NoError(t, json.NewDecoder(r.Body).Decode(&body))
		return answered(200, `{"code":0,"data":{"task_id":0}}`)(r)
	})
	op, err := client.Plugins.InstallMarketplace(t.Context(), langbot.MarketplacePlugin{ID: demo, Version: "1.0.0"})
	require.NoError(t, err)
	require.NotNil(t, op)
	require.Equal(t, map[string]any{"plugin_author": "acme", "plugin_name": "demo", "plugin_version": "1.0.0", "plugin_id": "acme/demo"}, body)
	_, err = client.Plugins.InstallMarketplace(t.Context(), langbot.MarketplacePlugin{ID: demo})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"plugin_author": "acme", "plugin_name": "demo", "plugin_id": "acme/demo"}, body)
	_, err = client.Plugins.InstallMarketplace(t.Context(), langbot.MarketplacePlugin{})
	require.ErrorIs(t, err, langbot.ErrInvalid)
	require.Equal(t, 2, mock.GetTotalCallCount())
}

// TestLimit: the quota is found without its text, and other refusals are not taken for it.
func TestLimit(t *testing.T) {
	six := langbot.GitHubAsset{Owner: "a", Repo: "b", ReleaseTag: "v1", ReleaseID: 1, AssetID: 2, AssetURL: "https://github.com/a/b/releases/download/v1/x.lbpkg"}
	for message, want := range map[string]error{
		"Maximum number of extensions (20) reached":             langbot.ErrLimit,
		"已达到扩展数量上限":                                             langbot.ErrLimit,
		"owner must be a valid GitHub repository owner":         langbot.ErrInvalid,
		"release_id and asset_id must be provided together":     langbot.ErrInvalid,
		"asset_url does not match the requested GitHub release": langbot.ErrInvalid,
		"Missing asset_url parameter":                           langbot.ErrInvalid,
		"repo must be a valid GitHub repository name":           langbot.ErrInvalid,
		"release_tag must identify a GitHub release":            langbot.ErrInvalid,
	} {
		client, mock := mocked(t)
		mock.RegisterNoResponder(answered(400, `{"code":-1,"msg":"`+message+`"}`))
		_, err := client.Plugins.InstallGitHub(t.Context(), six)
		require.ErrorIs(t, err, want, message)
		_, err = client.Plugins.InstallMarketplace(t.Context(), langbot.MarketplacePlugin{ID: demo})
		require.ErrorIs(t, err, langbot.ErrLimit)
		_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
		require.ErrorIs(t, err, langbot.ErrLimit)
		_, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
		require.ErrorIs(t, err, langbot.ErrInvalid)
	}
}

// TestInstallGitHub: what is asked of which server, and what is sent.
func TestInstallGitHub(t *testing.T) {
	const address = "https://github.com/acme/demo/releases/download/v1.0/demo.lbpkg"
	const mirror = "https://mirror.test/demo.lbpkg"
	published := langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1.0", AssetURL: address}
	full := published
	full.ReleaseID, full.AssetID = 11, 22
	numbers := full
	numbers.AssetURL = ""
	body := func(a langbot.GitHubAsset) map[string]any {
		b := map[string]any{"owner": a.Owner, "repo": a.Repo, "release_tag": a.ReleaseTag}
		if a.AssetURL != "" {
			b["asset_url"] = a.AssetURL
		}
		if a.ReleaseID != 0 {
			b["release_id"], b["asset_id"] = float64(a.ReleaseID), float64(a.AssetID)
		}
		return b
	}
	for name, tt := range map[string]struct {
		server string
		asset  langbot.GitHubAsset
		want   map[string]any // of the request; nil: none is sent
		asked  int            // other requests
		is     error
		text   string
	}{
		"all six, new":               {"4.11.2", full, body(full), 0, nil, ""},
		"all six, old":               {"4.10.6", full, body(full), 0, nil, ""},
		"as published, new":          {"4.11.2", published, body(full), 3, nil, ""},
		"as published, 4.10.7":       {"4.10.7", published, body(full), 3, nil, ""},
		"as published, old":          {"4.10.6", published, body(published), 1, nil, ""},
		"only the address, new":      {"4.11.2", langbot.GitHubAsset{AssetURL: address}, body(full), 3, nil, ""},
		"only the address, old":      {"4.10.6", langbot.GitHubAsset{AssetURL: address}, body(published), 1, nil, ""},
		"by the tag alone, new":      {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1.0"}, body(full), 3, nil, ""},
		"by the tag alone, old":      {"4.10.6", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1.0"}, body(full), 3, nil, ""},
		"numbers without an address": {"4.11.2", numbers, body(numbers), 1, nil, ""},
		"numbers alone, old":         {"4.10.6", numbers, body(full), 2, nil, ""},
		"mirror, old":                {"4.10.6", langbot.GitHubAsset{AssetURL: mirror}, map[string]any{"owner": "", "repo": "", "release_tag": "", "asset_url": mirror}, 1, nil, ""},
		"mirror, new":                {"4.11.2", langbot.GitHubAsset{AssetURL: mirror}, nil, 1, langbot.ErrInvalid, "4.11.2"},
		"unknown version":            {"main", published, body(full), 3, nil, ""},
		"the latest, new":            {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "latest"}, body(full), 3, nil, ""},
		"the latest, old":            {"4.10.6", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "latest"}, body(full), 3, nil, ""},
		"none that is latest":        {"4.11.2", langbot.GitHubAsset{Owner: "drafts", Repo: "demo", ReleaseTag: "latest"}, nil, 2, langbot.ErrNotFound, `"latest"`},
		"no such release":            {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v9"}, nil, 2, langbot.ErrNotFound, `"v9"`},
		"no such file":               {"4.11.2", langbot.GitHubAsset{AssetURL: strings.Replace(address, "demo.lbpkg", "other.lbpkg", 1)}, nil, 3, langbot.ErrNotFound, "other.lbpkg"},
		"several files":              {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "many"}, nil, 3, langbot.ErrInvalid, "2 .lbpkg files"},
		"no package among them":      {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "none"}, nil, 3, langbot.ErrNotFound, "no .lbpkg"},
		"GitHub fails":               {"4.11.2", langbot.GitHubAsset{Owner: "down", Repo: "demo", ReleaseTag: "v1.0"}, nil, 3, langbot.ErrServer, "could not list the releases of down/demo"},
		"one number":                 {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1.0", ReleaseID: 1}, nil, 0, langbot.ErrInvalid, ""},
		"a negative number":          {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v1.0", ReleaseID: -1, AssetID: -1}, nil, 0, langbot.ErrInvalid, ""},
		"nothing":                    {"4.11.2", langbot.GitHubAsset{}, nil, 0, langbot.ErrInvalid, ""},
		"no tag":                     {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "demo"}, nil, 0, langbot.ErrInvalid, ""},
		"a bad owner":                {"4.11.2", langbot.GitHubAsset{Owner: "a b", Repo: "demo", ReleaseTag: "v1.0"}, nil, 0, langbot.ErrInvalid, ""},
		"a bad repo":                 {"4.11.2", langbot.GitHubAsset{Owner: "a", Repo: "de/mo", ReleaseTag: "v1.0"}, nil, 0, langbot.ErrInvalid, ""},
		"contradiction":              {"4.11.2", langbot.GitHubAsset{Owner: "acme", Repo: "other", ReleaseTag: "v1.0", AssetURL: address}, nil, 0, langbot.ErrInvalid, "AssetURL says"},
		"a bad address":              {"4.11.2", langbot.GitHubAsset{AssetURL: "ftp://x/y"}, nil, 0, langbot.ErrInvalid, ""},
		"a password":                 {"4.11.2", langbot.GitHubAsset{AssetURL: "https://u:p@github.com/a"}, nil, 0, langbot.ErrInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client, mock := mocked(t)
			var sent map[string]any
			mock.RegisterResponder("GET", "/api/v1/system/info", answered(200, `{"code":0,"data":{"version":"v`+tt.server+`"}}`))
			mock.RegisterResponder("POST", "/api/v1/plugins/install/github", func(r *http.Request) (*http.Response, error) {
				require.NoError(t, json.NewDecoder(r.Body).Decode(&sent))
				return answered(200, `{"code":0,"data":{"task_id":1}}`)(r)
			})
			mock.RegisterResponder("POST", "/api/v1/plugins/github/releases", func(r *http.Request) (*http.Response, error) {
				data, _ := io.ReadAll(r.Body)
				if strings.Contains(string(data), "down/demo") {
					return answered(500, `{"code":"internal_error","msg":"Internal server error"}`)(r)
				}
				if strings.Contains(string(data), "drafts/demo") {
					return answered(200, `{"code":0,"data":{"releases":[{"id":15,"tag_name":"v3","draft":true}]}}`)(r)
				}
				require.JSONEq(t, `{"repo_url":"https://github.com/acme/demo"}`, string(data))
				return answered(200, `{"code":0,"data":{"releases":[{"id":15,"tag_name":"v3","draft":true,"published_at":null},{"id":16,"tag_name":"v2-rc","prerelease":true},`+
					`{"id":11,"tag_name":"v1.0"},{"id":12,"tag_name":"v1.1"},{"id":13,"tag_name":"many"},{"id":14,"tag_name":"none"}]}}`)(r)
			})
			mock.RegisterResponder("POST", "/api/v1/plugins/github/release-assets", func(r *http.Request) (*http.Response, error) {
				var want struct {
					ID int64 `json:"release_id"`
				}
				require.NoError(t, json.NewDecoder(r.Body).Decode(&want))
				return answered(200, map[int64]string{
					11: `{"code":0,"data":{"assets":[{"id":21,"name":"source.zip","download_url":"https://github.com/x"},{"id":22,"name":"demo.lbpkg","download_url":"` + address + `"}]}}`,
					13: `{"code":0,"data":{"assets":[{"id":31,"name":"a.lbpkg"},{"id":32,"name":"b.LBPKG"}]}}`,
					14: `{"code":0,"data":{"assets":[]}}`,
				}[want.ID])(r)
			})
			_, err := client.Plugins.InstallGitHub(t.Context(), tt.asset)
			require.ErrorIs(t, err, tt.is)
			if tt.text != "" {
				require.ErrorContains(t, err, tt.text)
			}
			require.Equal(t, tt.want, sent)
			requests := mock.GetTotalCallCount()
			if tt.want != nil {
				requests--
			}
			require.Equal(t, tt.asked, requests, "requests beside the installation")
		})
	}
}

// TestInstallFromElsewhere: from GitHub and from the marketplace to a plugin that runs.
func TestInstallFromElsewhere(t *testing.T) {
	archive := func(version string) []byte { return archives.Zip(archives.Plugin("acme", "demo", `"`+version+`"`)...) }
	synctest.Test(t, func(t *testing.T) {
		srv := langbottest.New(t, langbottest.InMemory())
		srv.AddMarketplace(archive("1.0.0"))
		srv.AddMarketplace(archive("1.1.0"))
		srv.AddGitHub("acme", "demo", "v2", "demo.lbpkg", archive("2.0.0"))
		client := connect(t, srv)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		wait := func(op *langbot.Operation, err error) (langbot.Outcome, error) {
			require.NoError(t, err)
			return op.Wait(ctx)
		}
		done, err := wait(client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: demo, Version: "1.0.0"}))
		require.NoError(t, err)
		require.Equal(t, "1.0.0", done.Plugin.Version)
		done, err = wait(client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: demo}))
		require.NoError(t, err)
		require.Equal(t, "1.1.0", done.Plugin.Version)
		require.Equal(t, "marketplace", done.Plugin.Source)
		_, err = wait(client.Plugins.InstallMarketplace(ctx, langbot.MarketplacePlugin{ID: demo, Version: "9"}))
		taskError(t, err)

		op, err := client.Plugins.InstallGitHub(ctx, langbot.GitHubAsset{Owner: "Acme", Repo: "demo", ReleaseTag: "v2"})
		require.ErrorIs(t, err, langbot.ErrServer, "GitHub's owners are looked up by the server as they are written")
		require.Nil(t, op)
		done, err = wait(client.Plugins.InstallGitHub(ctx, langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v2"}))
		require.NoError(t, err)
		require.Equal(t, demo, done.Plugin.ID, "which plugin it is shows in the list")
		require.Equal(t, "2.0.0", done.Plugin.Version)
		require.Equal(t, "github", done.Plugin.Source)
		_, err = wait(client.Plugins.InstallGitHub(ctx, langbot.GitHubAsset{Owner: "acme", Repo: "demo", ReleaseTag: "v2", ReleaseID: 1, AssetID: 1, AssetURL: "https://github.com/x"}))
		taskError(t, err)
	})
}

// TestTaskIDs: a number, a string, zero, and what is none of them.
func TestTaskIDs(t *testing.T) {
	for body, want := range map[string]bool{`0`: true, `7`: true, `"0"`: true, `"12"`: true, `null`: false, `""`: false, `"x"`: false, `1.5`: false, `{}`: false} {
		client, mock := mocked(t)
		mock.RegisterNoResponder(answered(200, `{"code":0,"data":{"task_id":`+body+`}}`))
		_, err := client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
		if want {
			require.NoError(t, err, body)
			continue
		}
		require.ErrorIs(t, err, langbot.ErrOutcomeUnknown, body)
		var page *langbot.ProtocolError
		require.ErrorAs(t, err, &page, body)
	}
}

// TestUploadLeavesItsConnection: a server that refuses an upload without having read it closes the connection, and a
// removal sent over the same one would get no answer. Seen on a real 4.11.2.
func TestUploadLeavesItsConnection(t *testing.T) {
	closing := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		closing[r.Method] = r.Close
		writeJSON(w, 401, `{"code":"invalid_authentication","msg":"no"}`)
	}))
	defer srv.Close()
	client, err := langbot.New(srv.URL, langbot.WithUserToken(userToken))
	require.NoError(t, err)
	_, err = client.Plugins.InstallLocal(t.Context(), memory{id: demo, data: []byte("x")})
	require.ErrorIs(t, err, langbot.ErrUnauthorized)
	_, err = client.Plugins.Delete(t.Context(), demo, langbot.DeleteOptions{})
	require.ErrorIs(t, err, langbot.ErrUnauthorized)
	require.Equal(t, map[string]bool{"POST": true, "DELETE": false}, closing)
}

// TestPreview: what a release tells of a package, and that nothing is installed.
func TestPreview(t *testing.T) {
	archive := withFiles("  icon: icon.svg\n", archives.File{Name: "requirements.txt", Content: "httpx\nidna>=3\n"}, archives.File{Name: "icon.svg", Content: svg})
	pkg, err := lbpkg.Parse(archive)
	require.NoError(t, err)
	for _, version := range []string{"4.10.0", "4.10.6", "4.10.8", "4.11.2"} {
		t.Run(version, func(t *testing.T) {
			srv := langbottest.New(t, langbottest.Version(version))
			client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
			require.NoError(t, err)
			got, err := client.Plugins.Preview(t.Context(), pkg)
			require.NoError(t, err)
			require.Contains(t, string(got.Manifest), `"icon.svg"`)
			got.Manifest = nil
			require.Equal(t, langbot.Preview{ID: demo, Version: "1.0.0", Label: langbot.Text{"en_US": "Demo"}, Description: langbot.Text{"en_US": "Demo plugin"},
				Components: map[string]int{}, Requirements: []string{"httpx", "idna>=3"}, Files: 4, Size: int64(len(archive))}, got)
			require.Empty(t, srv.Plugins())
			require.Empty(t, srv.Tasks())

			unchecked, err := lbpkg.ParseUnchecked(archives.Zip(archives.File{Name: "manifest.yaml", Content: "metadata: {author: acme, name: demo}\n"}))
			require.NoError(t, err)
			got, err = client.Plugins.Preview(t.Context(), unchecked)
			require.NoError(t, err)
			require.Equal(t, demo, got.ID)
			_, err = client.Plugins.Preview(t.Context(), memory{id: demo, data: []byte("no zip")})
			require.ErrorIs(t, err, langbot.ErrInvalid)
		})
	}
	t.Run("4.9.7 has none", func(t *testing.T) {
		srv := langbottest.New(t, langbottest.Version("4.9.7"), langbottest.AllowUnmatched())
		client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken))
		require.NoError(t, err)
		_, err = client.Plugins.Preview(t.Context(), pkg)
		var page *langbot.ProtocolError
		require.ErrorAs(t, err, &page)
		require.NotErrorIs(t, err, langbot.ErrOutcomeUnknown)
	})
	t.Run("again after a lost answer: nothing is changed by it", func(t *testing.T) {
		srv := langbottest.New(t)
		srv.Fault("POST /api/v1/plugins/install/local/preview", langbottest.LoseAnswer(), langbottest.Nth(1))
		client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
		require.NoError(t, err)
		_, err = client.Plugins.Preview(t.Context(), pkg)
		require.NoError(t, err)
	})
	t.Run("refused before anything is sent", func(t *testing.T) {
		client, mock := mocked(t)
		_, err := client.Plugins.Preview(t.Context(), nil)
		require.ErrorIs(t, err, langbot.ErrInvalid)
		_, err = client.Plugins.Preview(t.Context(), memory{id: demo, size: 11 << 20})
		require.ErrorIs(t, err, langbot.ErrTooLarge)
		require.Zero(t, mock.GetTotalCallCount())
	})
}

// TestGitHubReleases: the releases of a repository, newest first, and what of their files is told.
func TestGitHubReleases(t *testing.T) {
	for _, version := range []string{"4.6.0", "4.10.6", "4.10.8", "4.11.2"} {
		t.Run(version, func(t *testing.T) {
			srv := langbottest.New(t, langbottest.Version(version))
			client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey), langbot.WithRetry(langbot.RetryPolicy{BaseDelay: 1, MaxDelay: 1}))
			require.NoError(t, err)
			archive := langbottest.Archive("acme", "demo", "1.0.0")
			srv.AddGitHub("acme", "demo", "v1.0.0", "demo.lbpkg", archive)
			release, asset := srv.AddGitHub("acme", "demo", "v1.1.0", "demo.lbpkg", archive)
			releases, err := client.Plugins.GitHubReleases(t.Context(), "acme", "demo")
			require.NoError(t, err)
			require.Len(t, releases, 2)
			require.WithinDuration(t, time.Now(), releases[0].Published, time.Minute)
			releases[0].Published = time.Time{}
			require.Equal(t, langbot.GitHubRelease{Owner: "acme", Repo: "demo", ID: release, Tag: "v1.1.0", Name: releases[0].Name}, releases[0])

			files, err := client.Plugins.GitHubReleaseAssets(t.Context(), releases[0])
			require.NoError(t, err)
			require.Equal(t, []langbot.GitHubAsset{{Owner: "acme", Repo: "demo", ReleaseTag: "v1.1.0", ReleaseID: release, AssetID: asset, Name: "demo.lbpkg",
				Size: int64(len(archive)), AssetURL: "https://github.com/acme/demo/releases/download/v1.1.0/demo.lbpkg"}}, files)

			_, err = client.Plugins.GitHubReleases(t.Context(), "acme", "none")
			require.ErrorIs(t, err, langbot.ErrServer)
			require.ErrorContains(t, err, "acme/none")
			_, err = client.Plugins.GitHubReleaseAssets(t.Context(), langbot.GitHubRelease{Owner: "acme", Repo: "demo", ID: release + 99})
			require.ErrorIs(t, err, langbot.ErrServer)
		})
	}
	t.Run("refused before anything is sent", func(t *testing.T) {
		client, mock := mocked(t)
		for _, repo := range [][2]string{{"", "demo"}, {"a b", "demo"}, {"acme", "de/mo"}, {"acme", ""}} {
			_, err := client.Plugins.GitHubReleases(t.Context(), repo[0], repo[1])
			require.ErrorIs(t, err, langbot.ErrInvalid)
		}
		_, err := client.Plugins.GitHubReleaseAssets(t.Context(), langbot.GitHubRelease{Owner: "acme", Repo: "demo"})
		require.ErrorIs(t, err, langbot.ErrInvalid)
		require.Zero(t, mock.GetTotalCallCount())
	})
}
