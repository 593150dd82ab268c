//go:build !race

package langbottest_test

const raceEnabled = false
