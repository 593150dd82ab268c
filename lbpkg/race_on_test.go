//go:build race

package lbpkg_test

// raceEnabled: the race detector makes everything slower.
const raceEnabled = true
