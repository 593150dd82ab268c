//go:build unix

// A stand-in for GitHub: releases and their files, as servers read them.

package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// A GitHub serves releases on this machine, under GitHub's names.
type GitHub struct {
	dir    string // with the certificate and the code that leads servers here
	server *httptest.Server

	mu       sync.Mutex
	failing  bool
	releases []*gitHubRelease
}

type gitHubRelease struct {
	repo  string // "owner/repo"
	tag   string
	id    int64
	files []gitHubFile
}

type gitHubFile struct {
	id   int64
	name string
	data []byte
}

//go:embed sitecustomize.py
var redirection []byte

// NewGitHub starts a GitHub without releases, which writes what servers need into dir. Close it.
func NewGitHub(dir string) (*GitHub, error) {
	certificate, err := gitHubCertificate()
	if err != nil {
		return nil, fmt.Errorf("lab: certificate: %w", err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	for name, data := range map[string][]byte{"ca.pem": public, "sitecustomize.py": redirection} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	g := &GitHub{dir: dir}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/{owner}/{repo}/releases", g.list)
	mux.HandleFunc("GET /repos/{owner}/{repo}/releases/{id}", g.one)
	mux.HandleFunc("GET /repos/{owner}/{repo}/releases/assets/{id}", g.file)
	mux.HandleFunc("GET /{owner}/{repo}/releases/download/{tag}/{file}", g.download)
	g.server = httptest.NewUnstartedServer(mux)
	g.server.Config.ErrorLog = log.New(io.Discard, "", 0) // servers break off
	g.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	g.server.StartTLS()
	return g, nil
}

// Settings lead a server here.
func (g *GitHub) Settings() []string {
	port := g.server.Listener.Addr().(*net.TCPAddr).Port
	return []string{"PYTHONPATH=" + g.dir, fmt.Sprintf("LAB_GITHUB_PORT=%d", port), "SSL_CERT_FILE=" + filepath.Join(g.dir, "ca.pem")}
}

// Close stops serving.
func (g *GitHub) Close() {
	g.server.CloseClientConnections()
	g.server.Close()
}

// Add publishes a release of "owner/repo" with one file, and returns the numbers of both.
func (g *GitHub) Add(repo, tag, file string, data []byte) (releaseID, assetID int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id := int64(len(g.releases) + 1)
	r := &gitHubRelease{repo: repo, tag: tag, id: 1000 + id, files: []gitHubFile{{2000 + id, file, data}}}
	g.releases = append(g.releases, r)
	return r.id, r.files[0].id
}

// Fail makes every answer a 500, or ends that.
func (g *GitHub) Fail(failing bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failing = failing
}

// find returns the releases of the asked repository that match.
func (g *GitHub) find(r *http.Request, match func(*gitHubRelease) bool) (found []*gitHubRelease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.releases {
		if !g.failing && x.repo == r.PathValue("owner")+"/"+r.PathValue("repo") && match(x) {
			found = append(found, x)
		}
	}
	return found
}

func (g *GitHub) list(w http.ResponseWriter, r *http.Request) {
	var all []any
	for _, x := range g.find(r, func(*gitHubRelease) bool { return true }) {
		all = append(all, x.view())
	}
	g.json(w, all, all != nil)
}

func (g *GitHub) one(w http.ResponseWriter, r *http.Request) {
	found := g.find(r, func(x *gitHubRelease) bool { return strconv.FormatInt(x.id, 10) == r.PathValue("id") })
	if len(found) == 0 {
		g.json(w, nil, false)
		return
	}
	g.json(w, found[0].view(), true)
}

func (g *GitHub) file(w http.ResponseWriter, r *http.Request) {
	g.send(w, g.find(r, func(*gitHubRelease) bool { return true }), func(f gitHubFile) bool { return strconv.FormatInt(f.id, 10) == r.PathValue("id") })
}

func (g *GitHub) download(w http.ResponseWriter, r *http.Request) {
	found := g.find(r, func(x *gitHubRelease) bool { return x.tag == r.PathValue("tag") })
	g.send(w, found, func(f gitHubFile) bool { return f.name == r.PathValue("file") })
}

func (g *GitHub) send(w http.ResponseWriter, releases []*gitHubRelease, match func(gitHubFile) bool) {
	for _, x := range releases {
		for _, f := range x.files {
			if match(f) {
				w.Header().Set("Content-Type", "application/octet-stream")
				_, _ = w.Write(f.data) // the server may have gone
				return
			}
		}
	}
	g.json(w, nil, false)
}

func (g *GitHub) json(w http.ResponseWriter, body any, found bool) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	g.mu.Lock()
	failing := g.failing
	g.mu.Unlock()
	switch {
	case failing:
		w.WriteHeader(http.StatusInternalServerError)
		body = map[string]string{"message": "Server Error"}
	case !found:
		w.WriteHeader(http.StatusNotFound)
		body = map[string]string{"message": "Not Found"}
	}
	_ = json.NewEncoder(w).Encode(body) // the server may have gone
}

func (x *gitHubRelease) view() any {
	var assets []any
	for _, f := range x.files {
		assets = append(assets, map[string]any{"id": f.id, "name": f.name, "size": len(f.data), "state": "uploaded",
			"content_type":         "application/octet-stream",
			"browser_download_url": "https://github.com/" + x.repo + "/releases/download/" + x.tag + "/" + f.name})
	}
	return map[string]any{"id": x.id, "tag_name": x.tag, "name": x.tag, "published_at": "2026-01-01T00:00:00Z",
		"prerelease": false, "draft": false, "assets": assets}
}

// gitHubCertificate is good for GitHub's names to whom it is given as authority.
func gitHubCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in for GitHub"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"github.com", "api.github.com", "objects.githubusercontent.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
