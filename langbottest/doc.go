// Package langbottest is a LangBot to test against: a reference server with state, which answers as any release from 4.6.0
// on does.
//
//	srv := langbottest.New(t, langbottest.Version("4.10.6"))
//	client, err := langbot.New(srv.URL, langbot.WithAPIKey(srv.APIKey), langbot.WithHTTPClient(srv.Client()))
//
//	pkg, err := lbpkg.Parse(langbottest.Archive("acme", "hello", "1.0.0"))
//
// Uploaded archives are really read, tasks progress with the clock, plugins appear and disappear with them. What a real
// server of the release refuses is refused; what it does wrong is done wrong. A test replays what ten real releases
// answered to some 650 requests each, and wants the same bytes. What differs between releases is one table, which
// [Server.Profile] returns, and of which [Negate] turns a row round.
//
// Plugins do not run: of their code only the constant lines that its initialize begins to log are read, and their pages do
// not answer. A script makes one fail to start.
//
// # Scripts
//
// [Server.On] says how operations run from then on: in which steps, by the clock, by polls or until [Server.Release], and how
// they end. [Server.Fault] has requests go wrong, and the test fails if one never did. [Server.Calls] is the journal of
// the requests. The operations are named by their routes, such as "POST /api/v1/plugins/install/local"; a name that is
// none panics, or fails the test.
//
// # Time
//
// With [InMemory] a server works inside testing/synctest, where minutes cost nothing: make server and client inside the
// bubble; the server's end ends the connections of both. Elsewhere, [Server.Advance] sets the server's clock ahead.
//
//	synctest.Test(t, func(t *testing.T) {
//		srv := langbottest.New(t, langbottest.InMemory())
//		srv.On(langbottest.AnyInstall, langbottest.Script{
//			Steps: []langbottest.Step{{Action: "waiting for plugin initialization", Percent: 84, For: 30 * time.Second}},
//			End:   langbottest.FailToStart,
//		})
//		…
//	})
package langbottest
