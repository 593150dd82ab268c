package langbottest

// A phase is where an installation is, whatever a release calls it.
type phase int

const (
	begins phase = iota
	prepares
	asks // the marketplace for a skill, and for versions
	looksUp
	downloads
	validates // reads the archive
	depends   // installs what it requires
	stores
	starts // the plugin is away
	mounts // and shown as such, where the release does
	refreshes
)

// phaseOf knows the steps of LangBot 4.11.
var phaseOf = map[string]phase{
	"preparing plugin install":          prepares,
	"downloading plugin package":        downloads,
	"validating plugin package":         validates,
	"preparing plugin installation":     depends,
	"storing plugin package":            stores,
	"persisting the installation":       stores,
	"installing or starting plugin":     starts,
	"applying plugin update":            starts,
	"waiting for plugin initialization": mounts,
	"refreshing plugin components":      refreshes,
}

// steps are those of an installation or upgrade, in the words of 4.11: recordings 4.11.2, install and marketplace.
func (p profile) steps(op string) []Step {
	apply := "installing or starting plugin"
	steps := []Step{{Action: "default", For: quick}}
	switch {
	case op == opUpgrade:
		apply = "applying plugin update"
		steps = []Step{{Action: "checking for latest version", Percent: 3, For: quick}}
	case p.has(taskProgress):
		steps = append(steps, Step{Action: "preparing plugin install", For: quick, phase: prepares})
	case op == opMarketplace && p.has(marketplaceByHost) && !p.has(taskSilence):
		steps = append(steps, Step{Action: "checking skill marketplace", For: quick, phase: asks},
			Step{Action: "checking plugin marketplace", For: quick, phase: looksUp})
	}
	if op != opLocal {
		steps = append(steps, Step{Action: "downloading plugin package", Percent: 15, For: quick, phase: downloads})
	}
	return append(steps,
		Step{Action: "validating plugin package", Percent: 32, For: quick, phase: validates},
		Step{Action: "preparing plugin installation", Percent: 45, For: quick, phase: depends},
		Step{Action: "storing plugin package", Percent: 45, For: quick, phase: stores},
		Step{Action: "persisting the installation", Percent: 45, For: quick, phase: stores},
		Step{Action: apply, Percent: 62, For: quick, phase: starts},
		Step{Action: "waiting for plugin initialization", Percent: 84, For: quick, phase: mounts},
		Step{Action: "refreshing plugin components", Percent: 95, For: quick, phase: refreshes},
	)
}

// removal are the steps of a removal.
func (p profile) removal() []Step {
	if p.has(removalByHost) {
		return []Step{{Action: "default", For: quick}}
	}
	return []Step{{Action: "shutting down plugin", For: quick}, {Action: "removing plugin container", For: quick},
		{Action: "deleting plugin files", For: quick}, {Action: "plugin deleted", For: quick}}
}

// olderWords are what releases up to 4.10.6 call the steps.
var olderWords = map[string]string{
	"preparing plugin install":          "default",
	"validating plugin package":         "downloading plugin package",
	"preparing plugin installation":     "installing dependencies",
	"storing plugin package":            "initializing plugin settings",
	"persisting the installation":       "initializing plugin settings",
	"installing or starting plugin":     "launching plugin",
	"applying plugin update":            "launching plugin",
	"waiting for plugin initialization": "plugin installed",
	"refreshing plugin components":      "plugin installed",
}

// words is what the release calls a step of an operation.
func (p profile) words(op, action string) string {
	switch {
	case p.has(taskProgress):
		return action
	case !p.has(taskSilence):
		if older, known := olderWords[action]; known {
			return older
		}
		return action
	case op == opUpgrade && action != "default", op == opDelete:
		return map[string]string{opUpgrade: "checking for latest version", opDelete: "default"}[op]
	case op == opGitHub && phaseOf[action] >= downloads:
		return "downloading plugin package"
	}
	return "default"
}

// lastWords is what a task tells that has succeeded.
func (p profile) lastWords(op, last string) string {
	switch {
	case op == opDelete:
		return "plugin removed"
	case p.has(taskSilence):
		return p.words(op, last)
	case op == opUpgrade && p.has(taskProgress):
		return "plugin updated"
	case op == opUpgrade:
		return "plugin upgraded"
	}
	return "plugin installed"
}
