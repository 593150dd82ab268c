// Package langbot installs, upgrades, configures, lists and removes plugins on a LangBot server, and follows the tasks it
// runs for that. It works with every release from 4.6.0 to 4.11.2, by API key, user token or login.
//
//	client, err := langbot.New("http://127.0.0.1:5300", langbot.WithAPIKey(key))
//	if err != nil {
//		return err
//	}
//	pkg, err := lbpkg.Open("hello.lbpkg") // read and checked
//	if err != nil {
//		return err
//	}
//	op, err := client.Plugins.InstallLocal(ctx, pkg) // returns as soon as the server has accepted it
//	if err != nil {
//		return err
//	}
//	done, err := op.Wait(ctx) // accepted is not installed: always wait
//	if err != nil {
//		return err
//	}
//	fmt.Println(done.Plugin.ID, done.Plugin.Version, "is", done.Plugin.Status)
//
// Packages come from the package lbpkg, a server to test against from the package langbottest.
//
// That is the way by hand. [PluginsService.Ensure] is the short one: it has a plugin run in a version and with a config,
// whatever the state, and may be called again at any time.
//
// # Waiting
//
// What changes a plugin returns an [Operation]. [Operation.Wait] returns once the effect is there: the plugin is
// initialized in the version asked for, or gone. [Operation.Events] yields the task's progress on the way, and
// [Operation.Token] is a string by which another process takes up the wait. A wait polls at growing intervals and
// tolerates a server that is away for a while. No release can cancel an operation: to stop waiting, end the context.
// Servers before 4.10.11 show their tasks to user tokens only; with an API
// key a wait there watches the list of plugins, and ends with [ErrTasksHidden] where that cannot tell how it ended.
//
// A plugin is absent from lists for seconds while it is installed, upgraded or configured. Absent is not removed: to know
// whether a plugin is running ask [PluginsService.Get], to wait until it is use [PluginsService.WaitReady]. A program that
// starts together with LangBot uses [SystemService.WaitReady] first.
//
// # Releases
//
// What differs between releases is in the comments here, and what ten of them did, case by case, in the repository's
// COMPATIBILITY.md. It is found out by asking, and by the version only where nothing
// else tells. A release newer than 4.11.2 is taken for that one. One older than 4.6.0 is named in the error when a method
// of [PluginsService] is refused or finds no such route.
//
// # Errors
//
// Ask for the class of an error with [errors.Is] and the Err variables, for details with [errors.As] and the types:
//
//	_, err := client.Plugins.InstallLocal(ctx, pkg)
//	switch {
//	case errors.Is(err, langbot.ErrOutcomeUnknown): // sent, no answer: client.Plugins.Ensure looks before it sends again
//	case errors.Is(err, langbot.ErrUnauthorized): // wrong or expired credential
//	case errors.Is(err, langbot.ErrForbidden): // the key lacks a permission
//	case errors.Is(err, langbot.ErrTooLarge): // found before anything is sent, or a proxy's 413
//	case errors.Is(err, langbot.ErrLimit): // the server's quota of extensions
//	case errors.Is(err, langbot.ErrBusy): // try again later
//	case errors.Is(err, langbot.ErrRuntimeAway): // wait with client.System.WaitReady
//	case errors.Is(err, langbot.ErrUnreachable): // no answer, and nothing was changed
//	case err != nil: // the server failed, or is no LangBot (*ProtocolError)
//	}
//
// Ask for [ErrOutcomeUnknown] first: such an error also belongs to the class of its cause. So does [ErrRuntimeAway] to
// [ErrServer], and a [TOTPError] to [ErrUnauthorized]. What is found before anything
// is sent ([ErrInvalid], [ErrTooLarge]) is no type of its own; the end of the context is always context.Canceled or
// context.DeadlineExceeded and may be of another class too; what LangBot refuses is an [APIError], what is no answer
// of LangBot a [ProtocolError]. Servers localise their messages; do not compare them. No error, log or %+v shows a
// credential of eight characters or more; a shorter one hides nothing, and masking it would shred every text.
//
// # Retries
//
// A read is repeated when the server was not reached, timed out, or answered 408, 429, 502, 503 or 504, and once after a
// 500. A request that starts a task is repeated only if the server provably did not take it: no connection was made, or
// it answered 429, or 503 with a Retry-After. A refused credential is renewed once, if it can be. Retry-After is honoured
// unless it lies beyond the deadline of the context or RetryPolicy.MaxWait. Redirects are never followed.
package langbot
