//go:build race

package langbottest_test

// raceEnabled: times of a program that is watched say nothing.
const raceEnabled = true
