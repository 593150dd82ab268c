//go:build !race

package lbpkg_test

const raceEnabled = false
