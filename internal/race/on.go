//go:build race

// Package race tells tests whether the race detector watches them: it takes many times as long, and sync.Pool drops at random.
package race

// Enabled reports whether the race detector is on.
const Enabled = true
