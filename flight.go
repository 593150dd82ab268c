// Flights: what several callers in this process want of one plugin at a time.

package langbot

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// A flight is a run of Ensure or EnsureAbsent that others wait for.
type flight struct {
	spec       any
	credential *credential
	workspace  string
	over       chan struct{}
	result     EnsureResult
	err        error
}

// A flightKey names a plugin on a server.
type flightKey struct {
	server string
	id     PluginID
}

var flights = struct {
	sync.Mutex
	under map[flightKey]*flight
}{under: map[flightKey]*flight{}}

// alone runs f while no other run for the plugin is under way in this process, in whatever workspace. One that wants the
// same with the same credential takes the result of the run that it has waited for, if that came to the end: the plugin is
// right, or the server says why not. What else stopped it may be its caller's own.
func (c *Client) alone(ctx context.Context, id PluginID, spec any, f func() (EnsureResult, error)) (EnsureResult, error) {
	key := flightKey{c.settings.server, id}
	for {
		mine := &flight{spec: spec, credential: c.settings.credential, workspace: c.settings.workspace, over: make(chan struct{})}
		other := mine.begin(key)
		if other == nil {
			return mine.run(key, f)
		}
		select {
		case <-ctx.Done():
			return EnsureResult{}, &WaitError{
				Err:  fmt.Errorf("langbot: ensuring %s: %w", id, because(ctx)),
				hint: "another call for the plugin is under way in this process",
			}
		case <-other.over:
		}
		if other.shared() && other.like(mine) {
			return other.result.clone(), other.err
		}
	}
}

// begin takes the plugin for f, or returns the flight that has it.
func (f *flight) begin(key flightKey) *flight {
	flights.Lock()
	defer flights.Unlock()
	if other := flights.under[key]; other != nil {
		return other
	}
	flights.under[key] = f
	return nil
}

func (f *flight) run(key flightKey, do func() (EnsureResult, error)) (EnsureResult, error) {
	defer func() { // also if a package of the caller's panics
		flights.Lock()
		defer flights.Unlock()
		delete(flights.under, key)
		close(f.over)
	}()
	f.err = errAborted
	f.result, f.err = do()
	return f.result.clone(), f.err
}

// clone is r for one more caller. What the plugin consists of is shared.
func (r EnsureResult) clone() EnsureResult {
	r.Actions, r.Tasks = slices.Clone(r.Actions), slices.Clone(r.Tasks)
	return r
}

var errAborted = errors.New("langbot: the caller panicked")

// shared reports whether the end of the flight is everybody's.
func (f *flight) shared() bool {
	var failed *TaskError
	ended := errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded)
	return f.err == nil || errors.As(f.err, &failed) && !ended
}

func (f *flight) like(other *flight) bool {
	return f.credential != nil && f.credential == other.credential && f.workspace == other.workspace && reflect.DeepEqual(f.spec, other.spec)
}
