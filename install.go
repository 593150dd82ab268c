// Installing plugins: from an archive and from the marketplace. From GitHub is in github.go.

package langbot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/langbot-go/langbot/internal/envelope"
	"github.com/langbot-go/langbot/internal/upload"
)

// The API of this file, in the order of its methods.
var (
	installLocal       = endpoint{pattern: "POST /api/v1/plugins/install/local", effect: once, limited: always}
	previewPackage     = endpoint{pattern: "POST /api/v1/plugins/install/local/preview", effect: repeatable}
	installMarketplace = endpoint{pattern: "POST /api/v1/plugins/install/marketplace", effect: once, limited: always}
	upgradePlugin      = endpoint{pattern: "POST /api/v1/plugins/{author}/{name}/upgrade", effect: once}
)

// always: a server refuses our bodies for no other reason.
func always(string) bool { return true }

// A Package is a plugin archive to upload. The package lbpkg makes them, checked; an implementation of your own must
// check at least that the manifest's kind is Plugin: releases 4.10.7 to 4.10.11 are ruined by one that is not. To follow
// an upload, wrap a Package and count what Open's readers give.
type Package interface {
	Author() string               // as in the manifest
	Name() string                 // as in the manifest
	Version() string              // as in the manifest
	FileName() string             // shown in the task's label; empty: "name.lbpkg"
	Size() int64                  // of the archive, exact
	Open() (io.ReadCloser, error) // the archive from its beginning; each call gives an independent reader
}

// InstallLocal uploads a plugin archive and returns as soon as the server has queued its installation;
// [Operation.Wait] tells how it ended. An installed plugin of the same name is replaced and keeps its config; where it
// has the same version, releases up to 4.10.6 fail the task, and newer ones install it again. The upload streams, and is sent again only if the server
// did not take the first one. When the package's reader fails or gives another length than promised, nothing was
// installed, and the error is the reader's.
//
// Errors: [ErrTooLarge] and [ErrInvalid] before anything is sent, [ErrLimit], [ErrBusy] (8 operations run already),
// [ErrUnauthorized], [ErrForbidden], [ErrRuntimeAway], [ErrServer], [ErrUnreachable], [ErrOutcomeUnknown], [*ProtocolError].
//
// API: POST /api/v1/plugins/install/local, since LangBot 4.3.0; API keys since 4.6.0.
func (s *PluginsService) InstallLocal(ctx context.Context, p Package) (*Operation, error) {
	form, id, err := s.form(p)
	if err != nil {
		return nil, err
	}
	r := installLocal.at().about(id, p.Version())
	return s.client.start(ctx, r, form, ticket{Kind: kindInstall, Plugin: id, Version: p.Version()})
}

// form is the upload of a package, once it cannot be wrong.
func (s *PluginsService) form(p Package) (*upload.Form, PluginID, error) {
	if p == nil {
		return nil, PluginID{}, invalid("no package to upload")
	}
	id := PluginID{p.Author(), p.Name()}
	if err := id.check(); err != nil {
		return nil, id, err
	}
	if p.Size() < 0 {
		return nil, id, invalid("package %s: a size of %d bytes", id, p.Size())
	}
	fileName := path.Base(strings.ReplaceAll(p.FileName(), `\`, "/"))
	if p.FileName() == "" {
		fileName = id.Name + ".lbpkg" // without a file name, servers see no file
	}
	form := upload.New("file", fileName, p.Size(), p.Open)
	if most := s.client.settings.maxUpload; p.Size() > most || form.Len() > most {
		return nil, id, fmt.Errorf("langbot: package %s %s: %w: the upload has %d bytes, the server takes %d", id, p.Version(), ErrTooLarge, uint64(form.Len()), most)
	}
	return form, id, nil
}

// A Preview is what a server finds in a package, without installing it.
type Preview struct {
	ID           PluginID // zero or incomplete if the manifest does not tell
	Version      string
	Label        Text
	Description  Text
	Components   map[string]int  // how many of each kind: "Tool", "Command", …
	Requirements []string        // lines of requirements.txt
	Files        int             // entries of the archive, folders aside
	Size         int64           // of the archive in bytes
	Manifest     json.RawMessage // the whole of manifest.yaml, as JSON
}

// Preview has the server look into a package. Nothing is installed, and the extension limit does not matter. Servers judge
// less here than at an installation: a package that can be previewed may still be refused. What lbpkg checks is stricter,
// and needs no server; lbpkg.ParseUnchecked is for packages that break its rules.
//
// Errors: [ErrTooLarge] and [ErrInvalid] before anything is sent; [ErrInvalid] of an archive that the server cannot read,
// and [ErrServer] of a manifest that is no YAML; [ErrUnauthorized], [ErrForbidden] (the credential lacks resource.manage),
// [ErrRuntimeAway], [ErrUnreachable], [*ProtocolError] (also of a server before 4.10.0, which has no preview).
//
// API: POST /api/v1/plugins/install/local/preview, since LangBot 4.10.0.
func (s *PluginsService) Preview(ctx context.Context, p Package) (Preview, error) {
	form, id, err := s.form(p)
	if err != nil {
		return Preview{}, err
	}
	data, err := call[wirePreview](ctx, s.client, previewPackage.at().about(id, p.Version()), form)
	if err != nil {
		return Preview{}, s.client.diagnosed(ctx, err)
	}
	return data.Preview, nil
}

// wirePreview is the data of a preview.
type wirePreview struct{ Preview }

// ReadJSON implements envelope.Reader.
func (w *wirePreview) ReadJSON(data []byte) {
	file := envelope.Field(data, "manifest")
	if !bytes.HasPrefix(file, []byte("{")) {
		return
	}
	var p Plugin
	p.readMetadata(envelope.Field(file, "metadata"))
	w.Preview = Preview{
		ID: p.ID, Version: p.Version, Label: p.Label, Description: p.Description,
		Components: map[string]int{},
		Files:      int(number(envelope.Field(data, "file_count"))),
		Size:       int64(number(envelope.Field(data, "size"))),
		Manifest:   bytes.Clone(file),
	}
	for kind, count := range envelope.Members(envelope.Field(data, "component_counts")) {
		w.Components[string(kind)] = int(number(count))
	}
	for line := range envelope.Items(envelope.Field(data, "requirements")) {
		w.Requirements = append(w.Requirements, envelope.Text(line))
	}
}

func (w *wirePreview) missing() string {
	if w.Manifest == nil {
		return "manifest"
	}
	return ""
}

// A MarketplacePlugin is a plugin of LangBot's marketplace.
type MarketplacePlugin struct {
	ID      PluginID
	Version string // empty: the newest, which needs LangBot 4.10.7. 4.10.7 to 4.10.11 install the newest in any case
}

// InstallMarketplace has the server install a plugin from its marketplace. Servers look for it only in the task, so that
// it does not exist shows in [Operation.Wait]. Without a version the marketplace may have an MCP server or a skill of
// that name, which is installed instead; where another version was installed than asked for, Wait ends with
// [ErrNoEffect] and names both.
//
// Errors: those of [PluginsService.InstallLocal], except [ErrTooLarge].
//
// API: POST /api/v1/plugins/install/marketplace, since LangBot 4.3.0; API keys since 4.6.0.
func (s *PluginsService) InstallMarketplace(ctx context.Context, p MarketplacePlugin) (*Operation, error) {
	if err := p.ID.check(); err != nil {
		return nil, err
	}
	body := marketplaceBody{Author: p.ID.Author, Name: p.ID.Name, Version: p.Version, ID: p.ID.String()}
	r := installMarketplace.at().about(p.ID, p.Version)
	return s.client.start(ctx, r, body, ticket{Kind: kindInstall, Plugin: p.ID, Version: p.Version})
}

type marketplaceBody struct {
	Author  string `json:"plugin_author"`
	Name    string `json:"plugin_name"`
	Version string `json:"plugin_version,omitempty"`
	ID      string `json:"plugin_id"` // what the published description asks for, and no release reads
}

// Upgrade has the server install the newest version of a plugin that came from its marketplace, also over the same
// version, and returns as soon as that is queued; [Operation.Wait] ends once the plugin is initialized again, and tells
// in which version. The plugin is absent for seconds meanwhile and keeps its config. That it is not installed, or not from
// the marketplace (Plugin.Source tells beforehand), shows only in Wait, as a *TaskError that is [ErrNotFound] in the first
// case, if the credential is told reasons. From 4.10.7 on servers look for an MCP server or a skill of that name first, and install that instead: from 4.11.0
// on Wait ends with [ErrNoEffect] then, if the credential is told progress, and else cannot tell. With an API
// key before 4.10.11 Wait sees only an upgrade that changes the version; after Polling.Hidden it is [ErrTasksHidden].
//
// Errors: those of [PluginsService.Delete].
//
// API: POST /api/v1/plugins/{author}/{name}/upgrade, since LangBot 4.3.0; API keys since 4.6.0.
func (s *PluginsService) Upgrade(ctx context.Context, id PluginID) (*Operation, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	return s.client.start(ctx, upgradePlugin.at(id.Author, id.Name).about(id, ""), nil, ticket{Kind: kindUpgrade, Plugin: id})
}
