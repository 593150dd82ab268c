//go:build race

package langbot_test

// raceEnabled: sync.Pool drops at random under the race detector, so exact counts do not hold.
const raceEnabled = true
