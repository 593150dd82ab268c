package contract

// cases are the promises, in the order in which they run. The last ones leave a server in disorder.
var cases = []testCase{
	// Plugins: plugins_test.go.
	{name: "install-local", what: "Install an archive and wait until the plugin runs", run: installLocal,
		broken: []string{successWithoutEffect, lostAnswer, htmlAnswers, wrongVersion, endlessTask, otherTask}},
	{name: "list-and-get", what: "List the plugins, and get one", run: listAndGet, broken: []string{htmlAnswers, successWithoutEffect, wrongVersion}},
	{name: "delete", what: "Remove a plugin and wait until it is gone", run: deletePlugin, broken: []string{successWithoutEffect, lostAnswer, endlessTask}},
	{name: "delete-with-data", what: "Remove a plugin with its data", run: deleteWithData, broken: []string{successWithoutEffect}},
	{name: "delete-missing", what: "Be told that there was nothing to remove", run: deleteMissing, broken: []string{otherTask}},
	{name: "get-missing", what: "Tell a plugin that does not run from a failure", run: getMissing, broken: []string{htmlAnswers}},
	{name: "reinstall-same-version", what: "Install the same version again", since: "4.10.7", run: reinstallSameVersion, lacks: reinstallRefused,
		broken: []string{lostAnswer, endlessTask}},
	{name: "newer-version-over-older", what: "Install another version over the one that runs, up or down", run: newerOverOlder,
		broken: []string{wrongVersion, successWithoutEffect}},
	{name: "slow-plugin", what: "Wait for a plugin that takes 8 seconds to start", on: usual, run: slowPlugin},
	{name: "start-failure", what: "Never take a plugin that cannot start for installed", run: startFailure, broken: []string{endlessTask}},
	{name: "unmet-requirement", what: "Never take a plugin whose requirements cannot be installed for installed", run: unmetRequirement, broken: []string{endlessTask}},
	{name: "refused-archive-never-sent", what: "Send no archive that a server refuses or that ruins it", by: []string{key}, run: refusedArchive},
	{name: "archive-verdicts", what: "Judge archives as the server does", since: "4.11.2", by: []string{token}, run: archiveVerdicts, lacks: archivesOfTheNewest},
	{name: "too-large", what: "Refuse an upload that is too large", run: tooLarge},
	{name: "unicode-and-odd-names", what: "Install, get and remove plugins with odd names", run: oddNames, broken: []string{successWithoutEffect}},
	{name: "upgrade", what: "Upgrade a plugin from the marketplace", on: managed, run: upgrade},
	{name: "upgrade-to-the-same", what: "Upgrade a plugin that is the newest already", on: managed, run: upgradeToTheSame},
	{name: "upgrade-refused", what: "Be told why a plugin cannot be upgraded", on: managed, run: upgradeRefused},
	{name: "set-config", what: "Change a plugin's config and wait until it works with it", on: managed, run: setConfig},
	{name: "set-config-twice", what: "Be told that a config was lost because the plugin was restarting", on: managed, run: setConfigTwice},
	{name: "set-config-missing", what: "Be told that the plugin to configure does not run", on: managed, run: setConfigMissing},
	{name: "window-after-mutation", what: "Read a plugin while it is being replaced", on: usual, run: windowAfterMutation},

	// Tasks: tasks_test.go.
	{name: "progress-and-events", what: "Follow the progress of an installation", keys: tasksByKey, run: progressAndEvents, lacks: noEvents,
		broken: []string{htmlAnswers, endlessTask, otherTask}},
	{name: "task-by-key-and-by-token", what: "See the same task by key and by token", since: tasksByKey, by: []string{token}, run: taskByBoth, lacks: taskByTokenOnly,
		broken: []string{otherTask}},
	{name: "task-unknown", what: "Tell a task that is not there", keys: tasksByKey, run: taskUnknown, lacks: tasksHidden, broken: []string{htmlAnswers}},
	{name: "cancelled-task", what: "Tell a task that was cancelled", on: usual, keys: tasksByKey, run: cancelledTask, lacks: tasksHidden},
	{name: "resume-in-another-process", what: "Take up a wait in another process", run: resumeElsewhere, broken: []string{successWithoutEffect, otherTask}},
	{name: "cancel-while-waiting", what: "Stop waiting, and wait again", run: cancelWhileWaiting, broken: []string{endlessTask}},
	{name: "ninth-task", what: "Be told that the server is busy with eight operations", on: usual, since: "4.10.7", run: ninthTask, lacks: noTaskLimit},

	// Sources: sources_test.go.
	{name: "marketplace-body", what: "Have the marketplace's plugin understood by author and name", run: marketplaceBody, broken: []string{otherTask}},
	{name: "marketplace-version", what: "Install a version from the marketplace", on: usual, run: marketplaceVersion},
	{name: "marketplace-newest", what: "Install the newest version from the marketplace", on: usual, since: "4.10.7", run: marketplaceNewest, lacks: marketplaceNeedsVersion},
	{name: "marketplace-mcp-instead", what: "Never take an MCP server of the name for the plugin", on: usual, run: marketplaceMCP},
	{name: "github-body", what: "Have a GitHub release's file understood", run: gitHubBody, broken: []string{otherTask}},
	{name: "github-install", what: "Install a file of a GitHub release", on: usual, run: gitHubInstall},
	{name: "github-by-tag", what: "Install a GitHub release by its tag alone", on: usual, run: gitHubByTag},
	{name: "github-away", what: "Be told that GitHub did not answer the server", on: usual, run: gitHubAway},

	{name: "github-listing", what: "List the releases of a repository and their files", on: managed, run: gitHubListing},
	{name: "github-latest", what: "Install the latest release from GitHub", on: managed, run: gitHubLatest},

	// What a plugin tells: details_test.go.
	{name: "config", what: "Read a plugin's config with every digit", on: managed, run: readConfig, broken: []string{htmlAnswers}},
	{name: "update-config", what: "Change one key of a plugin's config, and lose nothing else", on: managed, run: updateConfig},
	{name: "readme", what: "Read a plugin's README in several languages", on: managed, run: readme, broken: []string{htmlAnswers}},
	{name: "icon", what: "Get a plugin's icon", on: managed, run: icon, broken: []string{htmlAnswers}},
	{name: "icon-missing", what: "Be told that a plugin has no icon, and nothing worse", on: managed, run: iconMissing},
	{name: "logs", what: "Read a plugin's log", on: managed, since: "4.10.2", run: logs, lacks: noLogs, broken: []string{htmlAnswers}},
	{name: "follow-logs", what: "Follow a plugin's log while it is replaced", on: managed, since: "4.10.2", until: "4.10.6", run: followLogs, lacks: nothingToFollow},
	{name: "preview", what: "Look into a package before installing it", on: managed, since: "4.10.0", run: preview, lacks: noPreview, broken: []string{htmlAnswers}},

	// Ensure: ensure_test.go.
	{name: "ensure", what: "Have a plugin run in a version, whatever ran before, and keep its config", on: managed, run: ensureLocal,
		broken: []string{successWithoutEffect, wrongVersion, htmlAnswers}},
	{name: "ensure-broken", what: "Be told that a plugin cannot start, and mend it in place", on: managed, by: []string{token}, run: ensureBroken},
	{name: "ensure-config", what: "Have a plugin run with a config, merged by key", on: managed, run: ensureConfig},
	{name: "ensure-marketplace", what: "Have a plugin of the marketplace run", on: managed, run: ensureMarketplace},
	{name: "ensure-github", what: "Have a plugin of a GitHub release run", on: managed, run: ensureGitHub},
	{name: "ensure-absent", what: "Have a plugin not be there", on: managed, run: ensureAbsent, broken: []string{successWithoutEffect}},
	{name: "ensure-by-ten", what: "Have ten processes want the same plugin at once", on: managed, by: []string{token}, run: ensureByTen},

	// Access: access_test.go.
	{name: "wrong-key", what: "Be told that the credential is wrong", run: wrongCredential, broken: []string{htmlAnswers}},
	{name: "key-without-permission", what: "Be told which permission a key lacks", since: "4.10.7", by: []string{key}, run: keyWithoutPermission, lacks: keysWithoutScopes},
	{name: "early-401-on-upload", what: "Be told of a wrong credential in the middle of an upload", run: earlyRefusal},
	{name: "login", what: "Work with e-mail address and password", by: []string{token}, run: login},
	{name: "login-expires", what: "Renew a login that ends in the middle of a wait", on: strict, by: []string{token}, run: loginExpires},
	{name: "extension-limit", what: "Be told that the quota of extensions is used up", on: strict, since: "4.8.4", run: extensionLimit, lacks: noExtensionLimit},
	{name: "wrong-base-url", what: "Be told that the base URL is wrong", run: wrongBaseURL},
	{name: "path-prefix", what: "Work behind a proxy under a path", run: pathPrefix, broken: []string{htmlAnswers}},

	// Outages: outages_test.go.
	{name: "short-black-out", what: "Survive ten seconds without network in the middle of a wait", on: fragile, run: shortBlackOut},
	{name: "black-out", what: "End a wait after 30 of 60 seconds without network, and take it up again", on: fragile, run: blackOut},
	{name: "runtime-away", what: "Name a plugin runtime that is away, and wait until it is back", on: fragile, run: runtimeAway},
	{name: "runtime-killed-in-mid-install", what: "End the wait for an installation whose plugin runtime dies", on: fragile, run: runtimeKilled},
	{name: "host-killed-in-mid-wait", what: "Never take another task for ours after the server was restarted", on: fragile, run: hostKilled},
	{name: "ready-after-restart", what: "Wait until a restarted server can be worked with", on: fragile, run: readyAfterRestart},
	{name: "ruined-server", what: "Name a server that one bad package has ruined", on: fragile, by: []string{token}, since: "4.10.7", until: "4.10.11",
		run: ruinedServer, lacks: notRuined},
}
