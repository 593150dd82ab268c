//go:build !race

package langbot_test

const raceEnabled = false
