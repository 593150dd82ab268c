package langbottest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"
	"time"
)

// An installation is what the three routes have in common, and upgrades.
type installation struct {
	op, source, label string
	subject           string // what the task calls it until the archive is read
	data              []byte
	sent              []byte // to the runtime beside it: up to 4.10.6 the marketplace's newest, whichever is installed
	info              map[string]any
	exception         string // why it fails before the archive is read
	failsAt           phase
	instead           string // "mcp" or "skill": what is installed instead of a plugin
	download          map[string]any
	extra             map[string]any // of the task's metadata
}

// limited answers an installation beyond the quota, before anything else is looked at.
func (s *Server) limited(c *call) *answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	most := s.state.maxExtensions
	if most < 0 || !s.profile.has(extensionLimit) || len(s.state.rows)+len(s.state.mcps) < most {
		return nil
	}
	a := refusal(400, -1, "Maximum number of extensions ("+strconv.Itoa(most)+") reached")
	return &a
}

// installBody is what shall be installed, by its body, if the quota lets it.
func (s *Server) installBody(c *call) (value any, refused *answer) {
	if refused := s.limited(c); refused != nil {
		return nil, refused
	}
	return s.json(c)
}

func (s *Server) installLocal(c *call) answer {
	if refused := s.limited(c); refused != nil {
		return *refused
	}
	data, name, refused := s.file(c)
	if refused != nil {
		return *refused
	}
	subject := name
	if subject == "" {
		subject = "local plugin"
	}
	return s.install(c, &installation{op: opLocal, source: "local", label: s.label("local", name), subject: subject, data: data, info: map[string]any{}})
}

// label is a task's label; older releases put dots before a file, and the body of a marketplace's.
func (s *Server) label(source, subject string) string {
	if !s.profile.has(taskLabels) && source != "GitHub" {
		subject = "..." + subject
	}
	return "Installing plugin from " + source + " " + subject
}

// file reads the form's part "file", and answers if there is none. Without a file name LangBot does not see it.
func (s *Server) file(c *call) (data []byte, name string, refused *answer) {
	content, refused := s.received(c)
	if refused != nil {
		return nil, "", refused
	}
	missing := refusal(400, -1, "file is required")
	media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return nil, "", &missing
	}
	form := multipart.NewReader(bytes.NewReader(content), params["boundary"])
	for {
		part, err := form.NextRawPart()
		if err != nil {
			return nil, "", &missing
		}
		_, disposition, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		name, hasName := disposition["filename"]
		if err != nil || part.FormName() != "file" || !hasName {
			continue
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, "", &missing
		}
		return data, name, nil
	}
}

// install starts the task of an installation.
func (s *Server) install(c *call, in *installation) answer {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.advance(c.now)
	t := &task{op: in.op, name: "plugin-install-" + in.source, label: in.label, script: s.state.script(in.op, s.profile.steps(in.op))}
	s.state.work(t, in, c.now)
	return s.state.begin(c, t)
}

// work says what the task of an installation does: it reads the archive, and puts the plugin in its place.
func (st *state) work(t *task, in *installation, now time.Time) {
	t.exception, t.failsAt = in.exception, in.failsAt
	var a archive
	var v verdict
	if t.exception == "" && in.instead == "" {
		a, v = st.profile.judge(in.data)
		t.exception, t.failsAt = v.exception, v.at
	}
	if !st.connected(now) {
		t.exception, t.failsAt = closedDuringSend, begins
	}
	if v.dead || t.script.End.kind == failToStart {
		t.script = t.script.until(mounts)
	}
	if a.pkg != nil && a.pkg.Author() != "" && a.pkg.Name() != "" && !v.unread {
		t.plugin, t.row = a.id(), st.row(a.id())
	}
	t.raced = st.works(t.plugin) > 0
	if again := t.row != nil && !t.row.dead && t.row.pkg.Version() == a.pkg.Version(); again && t.exception == "" && !st.profile.has(sameVersion) {
		t.exception = st.profile.inRuntime("ValueError: Plugin " + a.id() + ":" + a.pkg.Version() + " already exists")
		t.failsAt = validates
	}
	if v.closed {
		a = archive{}
	}
	t.meta = func(reached phase) map[string]any { return st.installMeta(t, in, a, reached) }
	t.apply = func(end End, now time.Time) string {
		if in.instead != "" && (end.kind == succeed || end.kind == vanish) {
			st.mcps = append(st.mcps, in.subject)
			return ""
		}
		return st.installed(t, in, a, v, end, now)
	}
}

// installed puts the plugin in its place, in the state that the script and the archive want.
func (st *state) installed(t *task, in *installation, a archive, v verdict, end End, now time.Time) string {
	effect := end.kind == succeed || end.kind == vanish || end.kind == failToStart || v.kept && v.exception != "" && end.text == v.exception
	if !effect || t.plugin == "" {
		return ""
	}
	r := st.put(a, in.source, st.installInfo(in.info, a, in.source), now)
	if st.profile.has(fileKeys) && in.sent != nil {
		r.info["plugin_file_key"] = fmt.Sprintf("%.8x-%s.lbpkg", sha256.Sum256(in.sent), strings.ReplaceAll(newUUID(), "-", ""))
	}
	r.dead = v.dead || v.refused || end.kind == failToStart || st.profile.has(racesBreak) && (t.raced || st.works(t.plugin) > 0)
	r.refused = v.refused
	st.poisoned = st.poisoned || r.refused && st.profile.has(poisonAtOnce)
	waits := st.profile.has(installWaits) && (in.op != opUpgrade || st.profile.has(upgradeWaits))
	switch {
	case v.refused || !r.dead && waits:
	case !r.dead:
		r.ready = now.Add(listedLate)
	case waits:
		return "Plugin " + t.plugin + " failed to start after installation. Dependency installation or plugin initialization may have failed. " +
			"Please check the plugin requirements and runtime logs."
	default:
		t.script.End = Succeed
	}
	return ""
}

// installMeta are the metadata of the task of an installation, at a phase.
func (st *state) installMeta(t *task, in *installation, a archive, reached phase) map[string]any {
	p := st.profile
	if in.op == opUpgrade && !p.has(upgradeWaits) {
		return map[string]any{}
	}
	meta := map[string]any{"plugin_name": in.subject, "install_source": in.source}
	if in.op == opUpgrade && p.has(taskSilence) {
		meta = map[string]any{}
	}
	maps.Copy(meta, in.extra)
	if p.has(taskProgress) && reached >= begins && t.op != opUpgrade || p.has(taskProgress) && reached >= downloads {
		maps.Copy(meta, map[string]any{"download_total": 0, "download_current": 0, "download_speed": 0})
	}
	if reached >= validates || t.applied && t.script.End.kind != fail {
		maps.Copy(meta, in.download)
	}
	early := in.op == opLocal && !p.has(taskProgress) // it is read before the task begins
	if a.pkg == nil || reached < validates && !t.applied && !early {
		return meta
	}
	if t.plugin != "" {
		meta["plugin_name"] = t.plugin
	}
	maps.Copy(meta, p.dependencies(a.pkg.Requirements(), reached >= depends))
	return meta
}

// dependencies are what the metadata tell of a requirements.txt, before and when it is installed; nil is none.
func (p profile) dependencies(requirements []string, begun bool) map[string]any {
	if requirements == nil {
		return nil
	}
	meta := map[string]any{"deps_total": len(requirements), "deps_list": requirements}
	if begun && p.has(taskDeps) {
		maps.Copy(meta, map[string]any{"deps_installed": len(requirements), "deps_remaining": 0, "current_dep": "", "deps_downloaded_size": 0, "deps_speed": float(0)})
	}
	if begun && p.has(taskFailedDeps) {
		maps.Copy(meta, map[string]any{"deps_failed": 0, "failed_deps": []any{}})
	}
	return meta
}

// installInfo is what the release keeps of where a plugin came from.
func (st *state) installInfo(info map[string]any, a archive, source string) map[string]any {
	info = maps.Clone(info)
	sum := sha256.Sum256(a.data)
	digest := hex.EncodeToString(sum[:])
	if st.profile.has(storageInfo) {
		info["_artifact_storage"] = "tenant_binary_storage_v1"
	}
	if st.profile.has(certification) {
		info["_certification"] = map[string]any{
			"admission_code": "CERTIFIED_PLUGIN_OSS_LEGACY_DEDICATED", "artifact_digest": digest, "normalized_digest": digest,
			"certificate_component_model": nil, "certificate_id": nil, "certificate_runtime_profile": nil, "runtime_profile": "dedicated",
			"verification": "absent",
		}
		if source == "local" {
			info["administrator_force"] = false
		}
	}
	return info
}
