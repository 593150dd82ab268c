package langbottest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The table of differences: in what, and since or until when, releases of LangBot differ. Its rows are evaluated for the
// one release that a server answers as. The boundaries come from recordings, and where the
// releases on both sides of one were not recorded, from the releases' code.
var table []*difference

// A difference is one row.
type difference struct {
	name        string
	first, last string // releases, both included; empty: open
	what        string
	described   bool // by the published description, and done by no release
}

func since(name, first, what string) *difference { return between(name, first, "", what) }
func until(name, last, what string) *difference  { return between(name, "", last, what) }

func between(name, first, last, what string) *difference {
	d := &difference{name: name, first: first, last: last, what: what}
	table = append(table, d)
	return d
}

func described(name, what string) *difference {
	d := &difference{name: name, what: what, described: true}
	table = append(table, d)
	return d
}

// Errors and credentials.
var (
	errorCodes   = since("errors.codes", "4.10.7", "an unforeseen failure is a 500 internal_error with a request id; before, -2 with the exception's text")
	invalidCodes = since("auth.codes", "4.10.7", "a wrong credential is invalid_authentication; before, -1 with the reason")
	permissions  = since("auth.permissions", "4.10.7", "routes ask for permissions, of which a key may have some")
	bearerWanted = since("auth.bearer", "4.10.7", "an account's own routes take a token after Bearer only")
	workspaces   = since("auth.workspaces", "4.10.7", "the workspace that a user names must be his")
	keyRecords   = since("keys.records", "4.10.7", "a key has scopes and an owner, and its secret is told once")
	missingKeys  = since("keys.missing", "4.10.7", "a key that is not there is resource_not_found; before, its removal worked")
	tasksByKey   = since("tasks.by-key", "4.10.11", "keys may see tasks, in a form of their own")
)

// Users.
var (
	unknownUser    = since("login.unknown-user", "4.7.0", "a login of an unknown user is a 200 with code 1; before, a 500")
	malformedLogin = since("login.malformed", "4.11.1", "a login without password or of no JSON is a 400; before, a 500")
	englishLogin   = since("login.english", "4.11.1", "what a login of an unknown user is told is English")
	emailWanted    = since("users.email", "4.10.7", "the first user must have an e-mail address")
	accountUUID    = since("users.uuid", "4.10.7", "a user has a UUID")
	accountLogins  = since("account-info.logins", "4.10.7", "account-info tells the ways to log in; before, the kind of account")
	invitations    = since("account-info.invitations", "4.10.9", "account-info tells of invitations")
	passkeys       = since("account-info.passkeys", "4.11.0", "account-info tells of passkeys")
)

// Routes that came.
var (
	routeAccount       = since("routes.account", "4.7.0", "GET user/info and user/account-info")
	routePages         = since("routes.pages", "4.9.7", "page-api and the pages' script")
	routePreview       = since("routes.preview", "4.10.0", "POST install/local/preview")
	routeExtensions    = since("routes.extensions", "4.10.0", "GET extensions")
	routeLogs          = since("routes.logs", "4.10.2", "GET logs")
	routeAuthenticated = since("routes.authenticated", "4.10.7", "icons and assets for those who log in")
	routeContext       = since("routes.context", "4.10.11", "GET system/context and system/capabilities")
	deepAssets         = since("routes.deep-assets", "4.9.7", "assets in folders")
	configFilesByKey   = since("config-files.by-key", "4.10.7", "keys may upload files for a config")
	configFileNames    = since("config-files.names", "4.10.7", "such a file is named by workspace and content")
	notFoundPages      = since("pages.not-found", "4.9.6", "an unknown path below /api/ is a 404; before, a 200 with the web page")
	headOfPlugin       = since("head.plugin", "4.10.7", "HEAD works where a path has several methods; before, it is a 500")
)

// What the server says of itself.
var (
	infoLogin      = since("info.login", "4.7.0", "allow_modify_login_info and disable_models_service")
	infoEdition    = since("info.edition", "4.8.4", "edition and limitation")
	infoWizard     = since("info.wizard", "4.9.5", "wizard_progress and wizard_status")
	infoOutbound   = since("info.outbound", "4.10.2", "outbound_ips")
	infoSession    = between("info.session-template", "4.10.6", "4.10.11", "limitation.force_box_session_id_template; not known of 4.10.1 to 4.10.5")
	infoInvitation = since("info.invitation", "4.10.7", "invitation_delivery and mcp_stdio_enabled")
	infoKnowledge  = since("info.knowledge", "4.10.7", "limitation.max_knowledge_bases")
	infoDeployment = since("info.deployment", "4.11.0", "beta and deployment_mode")
	infoBanner     = since("info.banner", "4.11.2", "cloud_banner")
	spaceSetting   = since("info.space", "4.7.0", "cloud_service_url is what is set; before, always the public one")
	healthDetails  = since("healthz.resources", "4.10.7", "healthz tells of tasks and of the plugin runtime")
	healthSending  = since("healthz.telemetry", "4.11.0", "healthz tells of telemetry and of runtime_ops")
	moreOperations = since("capabilities.96", "4.11.0", "96 operations; before, 78")
	debugSocket    = since("debug-info.socket", "4.7.0", "debug_url is that of a WebSocket")
	debugKey       = since("debug-info.key", "4.10.7", "the key for debugging is set, and expires")
)

// Tasks.
var (
	systemTasks     = until("tasks.system", "4.10.6", "the server's own tasks are listed, and keep the lowest ids")
	taskCleanups    = since("tasks.cleanups", "4.9.7", "the server's own tasks clean up; not known of 4.9.5 and 4.9.6")
	taskHeartbeat   = since("tasks.heartbeat", "4.10.6", "the server's own tasks send a heartbeat; not known of 4.10.1 to 4.10.5")
	taskOperations  = since("tasks.operations", "4.11.0", "the server has one more task of its own")
	taskPasskeys    = since("tasks.passkeys", "4.11.2", "the server has one more task of its own; not known of 4.11.1")
	taskCreated     = since("tasks.created-at", "4.9.7", "a task tells when it was created")
	taskWorkspace   = since("tasks.workspace", "4.10.7", "a task tells its workspace")
	taskMetadata    = since("tasks.metadata", "4.9.5", "a task's context has metadata")
	taskLabels      = since("tasks.labels", "4.9.5", "a task's label has no dots before the subject, and not the whole body")
	taskKinds       = since("tasks.kinds", "4.9.5", "the list can be asked for a kind")
	taskWords       = since("tasks.words", "4.10.11", "an id that is no number is a 404; before, a 500")
	taskResults     = since("tasks.results", "4.10.7", "removals and upgrades have a result, {}")
	taskCapacity    = since("tasks.capacity", "4.10.7", "a ninth running operation is refused")
	taskPruning     = since("tasks.pruning", "4.9.7", "only the last 200 finished tasks are kept")
	taskProgress    = since("tasks.progress", "4.11.0", "a task tells its steps, and how far it is")
	taskSilence     = between("tasks.silence", "4.10.7", "4.10.11", "a task tells no steps")
	taskDeps        = between("tasks.dependencies", "4.9.5", "4.10.6", "the metadata count dependencies, if there is a requirements.txt")
	taskFailedDeps  = between("tasks.failed-dependencies", "4.10.1", "4.10.6", "and those that failed")
	actionCallError = until("tasks.action-call", "4.9.7", "an exception of the runtime begins with ActionCallError")
)

// Plugins.
var (
	missingIsFailure = between("plugins.missing", "4.10.7", "4.10.8", "a plugin that is not installed is a 500; else a 404")
	filesOfMissing   = since("plugins.files-of-missing", "4.10.7", "readme, icon and logs of a plugin that is not there are a 500; before, empty")
	missingIcon      = since("plugins.missing-icon", "4.11.0", "the icon for those who log in is a 404 then")
	checkedAssets    = since("plugins.assets", "4.9.7", "an asset that is not there is a 404; before, a 500. Pages have a policy")
	cachedFiles      = until("plugins.cache", "4.10.6", "icon and readme are kept for five minutes")
	redaction        = since("plugins.redaction", "4.10.7", "secrets are masked by their names")
	staleConfig      = since("plugins.stale-config", "4.9.7", "a plugin's plugin_config is always {}")
	pagesListed      = since("plugins.pages", "4.9.7", "a plugin's spec has pages")
	polymorphic      = until("plugins.polymorphic", "4.8.7", "a component has polymorphic_component_instances")
	componentOwner   = since("plugins.component-owner", "4.11.0", "a component's owner is its plugin; before, builtin")
	logLines         = until("plugins.log-lines", "4.10.6", "the logs have lines")
	mountedShown     = since("plugins.mounted", "4.9.7", "a plugin that starts is shown as mounted for a moment")
)

// Installations, upgrades, removals, configs.
var (
	installWaits      = since("install.waits", "4.9.7", "an installation's task ends when the plugin runs; before, earlier, and even if it never does")
	upgradeWaits      = since("upgrade.waits", "4.10.7", "so does an upgrade's")
	sameVersion       = since("install.same-version", "4.10.7", "the same version can be installed again")
	extensionLimit    = since("install.limit", "4.8.4", "installations beyond the quota of extensions are refused")
	drainedUploads    = since("install.drained", "4.10.7", "an upload that is too large is read to its end before it is refused")
	storageInfo       = since("install-info.storage", "4.10.7", "install_info tells where the archive is kept")
	certification     = since("install-info.certification", "4.11.0", "install_info tells of the archive's certificate")
	fileKeys          = between("install-info.file-key", "4.10.0", "4.10.6", "install_info tells the archive's file, if it was downloaded")
	marketplaceBodies = since("marketplace.bodies", "4.9.5", "a body that is no object is a 500; before, a task that fails")
	marketplaceByHost = since("marketplace.by-host", "4.10.0", "the marketplace is asked for an MCP server, a skill and versions of the name first")
	marketplaceNewest = since("marketplace.newest", "4.10.7", "without a version the newest is installed; before, the task fails")
	versionIgnored    = between("marketplace.version-ignored", "4.10.7", "4.10.11", "the newest version is installed, whichever was asked for")
	versionChecked    = since("marketplace.version-checked", "4.11.0", "a version that there is not, or cannot be, has an error of its own")
	downloadTexts     = until("marketplace.download-text", "4.9.6", "a failed download's exception has the marketplace's answer; after, its status")
	gitHubNumbers     = since("github.numbers", "4.10.7", "a release's file is installed by GitHub's numbers; before, by its address")
	removalOfDead     = since("delete.not-running", "4.10.7", "a plugin that does not run can be removed; before, it is not found")
	staleRemovals     = since("delete.stale", "4.11.0", "of two removals at once the second is stale; before, the plugin is not found")
	racesFail         = between("install.races", "4.10.7", "4.10.8", "the list fails while two installations of one plugin run")
	racesBreak        = until("install.races-break", "4.6.0", "two installations of one plugin at once leave it dead; not known of 4.6.1 to 4.9.3")
	removalByHost     = since("delete.by-host", "4.10.7", "a removal is one step; before, several, and data are mentioned in its log")
	configKept        = until("delete.config", "4.10.6", "a plugin's config outlives its removal without its data")
	configBlocks      = between("config.blocks", "4.9.7", "4.10.6", "a config is written when the plugin runs again; else at once, and the plugin is away for a moment")
	configEmpty       = between("config.empty", "4.9.7", "4.9.7", "every config reads as {}")
	configWiped       = since("config.wiped", "4.11.0", "a config that is no JSON is written as nothing; before, a 500")
)

// Archives and the plugin runtime.
var (
	checkedPackages = since("packages.checked", "4.10.7", "the runtime refuses what is not of kind Plugin, has no version or an odd entry")
	entryNames      = since("packages.entry-names", "4.11.2", "the host refuses odd names of entries, before anything is kept")
	zipText         = since("packages.zip-text", "4.11.0", "what is no zip archive has an exception of its own")
	poisonAtOnce    = between("packages.poison", "4.10.7", "4.10.11", "a package that the runtime refuses makes every plugin route fail from then on")
	poisonLater     = since("packages.poison-later", "4.11.0", "it does after the runtime's next start")
	previewTexts    = since("preview.texts", "4.10.7", "a preview tells what is wrong with an archive; before, that something is")
	fence           = since("runtime.fence", "4.10.7", "without the plugin runtime every plugin route is a 500; before, operations are tasks that fail")
	readyAtOnce     = between("runtime.ready-at-once", "4.10.7", "4.10.8", "a runtime that is back has its plugins at once; else none for a moment")
)

// What LangBot's published description of its API says, and no release does.
var (
	describedIDs    = described("document.task-ids", "a task_id is a text")
	describedBearer = described("document.bearer", "API keys are taken after Bearer only")
)

// A release is a version of LangBot, as numbers.
type release [3]int

var oldest = release{4, 6, 0}

func parseRelease(version string) (r release, err error) {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) != len(r) {
		return r, fmt.Errorf("version %q is not of the form 4.11.2", version)
	}
	for i, part := range parts {
		if r[i], err = strconv.Atoi(part); err != nil || r[i] < 0 {
			return r, fmt.Errorf("version %q is not of the form 4.11.2", version)
		}
	}
	if slices.Compare(r[:], oldest[:]) < 0 {
		return r, fmt.Errorf("version %q is older than 4.6.0, whose plugin routes take no API keys", version)
	}
	return r, nil
}

// A profile is what one release does.
type profile struct {
	version string
	on      map[*difference]bool
}

// newProfile evaluates the table for a release, and turns the negated rows round.
func newProfile(version string, document bool, negated []string) (profile, error) {
	r, err := parseRelease(version)
	if err != nil {
		return profile{}, err
	}
	p := profile{strings.TrimPrefix(version, "v"), map[*difference]bool{}}
	for _, d := range table {
		holds := d.covers(r)
		if d.described {
			holds = document
		}
		p.on[d] = holds != slices.Contains(negated, d.name)
	}
	for _, name := range negated {
		if !slices.ContainsFunc(table, func(d *difference) bool { return d.name == name }) {
			return profile{}, fmt.Errorf("the table of differences has no row %q", name)
		}
	}
	return p, nil
}

func (d *difference) covers(r release) bool {
	if d.first != "" {
		if first, _ := parseRelease(d.first); slices.Compare(r[:], first[:]) < 0 {
			return false
		}
	}
	if d.last != "" {
		if last, _ := parseRelease(d.last); slices.Compare(r[:], last[:]) > 0 {
			return false
		}
	}
	return true
}

// has reports whether the release does what a row says; nil is what all do.
func (p profile) has(d *difference) bool { return d == nil || p.on[d] }

// A Difference is a row of the table of differences between releases.
type Difference struct {
	Name        string // for [Negate]
	First, Last string // the releases that do it, both included; empty: from the oldest on, up to the newest. Rows of [Document] have neither
	What        string // it is that they do
	Holds       bool   // for the release that this server answers as
}

// Profile returns the table of differences between releases, with what holds for this server's.
func (s *Server) Profile() []Difference {
	rows := make([]Difference, len(table))
	for i, d := range table {
		rows[i] = Difference{d.name, d.first, d.last, d.what, s.profile.has(d)}
	}
	return rows
}
