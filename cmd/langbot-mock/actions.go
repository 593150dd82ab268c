package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/langbot-go/langbot/langbottest"
	"github.com/langbot-go/langbot/lbpkg"
)

// An action changes the server as its body says. What it returns is the answer.
type action func(srv *langbottest.Server, body json.RawMessage) (any, error)

// actions are what POST /__mock/v1/{name} does, and what a seed file may hold.
var actions = map[string]action{
	"plugins":          addPlugin,
	"marketplace":      addMarketplace,
	"marketplace/mcp":  addMCP,
	"marketplace/slow": slowMarketplace,
	"github":           addGitHub,
	"scripts":          setScript,
	"release":          release,
	"faults":           addFault,
	"faults/clear":     clearFaults,
	"clock":            advance,
	"limits":           setLimits,
	"runtime":          setRuntime,
	"logs":             addLog,
	"restart":          restart,
	"reset":            reset,
	"tokens/revoke":    revokeTokens,
}

// decode reads a body strictly.
func decode(body json.RawMessage, into any) error {
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the value")
	}
	return nil
}

// A duration is a text such as "30s".
type duration time.Duration

func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return errors.New(`a duration is a text such as "30s"`)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is no duration such as 30s", text)
	}
	*d = duration(parsed)
	return nil
}

// A plugin is given by its name, as a small one that is made up, or by its archive.
type plugin struct {
	Author  string `json:"author"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Archive string `json:"archive"` // base64
}

func (p plugin) data() ([]byte, error) {
	if p.Archive != "" {
		data, err := base64.StdEncoding.DecodeString(p.Archive)
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		_, err = lbpkg.Parse(data)
		return data, err
	}
	for name, part := range map[string]string{"author": p.Author, "name": p.Name, "version": p.Version} {
		if part == "" {
			return nil, fmt.Errorf("%s is missing, or an archive", name)
		}
	}
	return made(p)
}

// made is the archive of a small plugin, if it may have such a name.
func made(p plugin) (data []byte, err error) {
	err = told(func() { data = langbottest.Archive(p.Author, p.Name, p.Version) })
	return data, err
}

// told does what the server panics at, with a text, if it is asked in vain, and returns that as an error.
func told(do func()) (err error) {
	defer func() {
		switch why := recover().(type) {
		case nil:
		case string:
			err = errors.New(why)
		default:
			panic(why)
		}
	}()
	do()
	return nil
}

// archive reads a body that is a plugin.
func archive(body json.RawMessage) ([]byte, error) {
	var p plugin
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	return p.data()
}

func addPlugin(srv *langbottest.Server, body json.RawMessage) (any, error) {
	data, err := archive(body)
	if err != nil {
		return nil, err
	}
	srv.AddPlugin(data)
	return state(srv), nil
}

func addMarketplace(srv *langbottest.Server, body json.RawMessage) (any, error) {
	data, err := archive(body)
	if err != nil {
		return nil, err
	}
	srv.AddMarketplace(data)
	return nil, nil
}

func addMCP(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var mcp struct{ Author, Name string }
	if err := decode(body, &mcp); err != nil {
		return nil, err
	}
	if mcp.Author == "" || mcp.Name == "" {
		return nil, errors.New("author or name is missing")
	}
	srv.AddMarketplaceMCP(mcp.Author, mcp.Name)
	return nil, nil
}

func slowMarketplace(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var slow struct {
		Author string
		For    duration
	}
	if err := decode(body, &slow); err != nil {
		return nil, err
	}
	srv.SlowMarketplace(slow.Author, time.Duration(slow.For))
	return nil, nil
}

func addGitHub(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var file struct {
		Owner, Repo, Tag, File string
		Plugin                 plugin
	}
	if err := decode(body, &file); err != nil {
		return nil, err
	}
	for name, part := range map[string]string{"owner": file.Owner, "repo": file.Repo, "tag": file.Tag, "file": file.File} {
		if part == "" {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	data, err := file.Plugin.data()
	if err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	releaseID, assetID := srv.AddGitHub(file.Owner, file.Repo, file.Tag, file.File, data)
	return map[string]int64{"release_id": releaseID, "asset_id": assetID}, nil
}

var ends = map[string]langbottest.End{
	"":              langbottest.Succeed,
	"succeed":       langbottest.Succeed,
	"hang":          langbottest.Hang,
	"no-effect":     langbottest.SucceedWithoutEffect,
	"cancelled":     langbottest.Cancelled,
	"vanish":        langbottest.Vanish,
	"fail-to-start": langbottest.FailToStart,
}

func setScript(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var s struct {
		Op    string
		Steps []struct {
			Action  string
			Percent int
			For     duration
			Polls   int
			Hold    bool
		}
		End       string
		Exception string
	}
	if err := decode(body, &s); err != nil {
		return nil, err
	}
	end, known := ends[s.End]
	switch {
	case s.End == "fail":
		end = langbottest.Fail(s.Exception)
	case s.Exception != "":
		return nil, errors.New(`exception: it is that of the end "fail"`)
	case !known:
		return nil, fmt.Errorf("end: %q is none of succeed, fail, fail-to-start, hang, no-effect, cancelled and vanish", s.End)
	}
	script := langbottest.Script{End: end}
	for _, step := range s.Steps {
		script.Steps = append(script.Steps, langbottest.Step{Action: step.Action, Percent: step.Percent, For: time.Duration(step.For),
			Polls: step.Polls, Hold: step.Hold})
	}
	return nil, told(func() { srv.On(s.Op, script) }) // there may be no such operation
}

func release(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var r struct{ Op string }
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	var released bool
	err := told(func() { released = srv.Release(r.Op) }) // there may be no such operation
	return map[string]bool{"released": released}, err
}

// A fault is an effect by its name, with what that one needs.
type fault struct {
	Op       string
	Effect   string
	Status   int      // of status, page and respond
	Body     any      // of respond
	For      duration // of latency, drip and busy
	Bytes    int      // of truncate
	Nth      int
	First    int
	Optional bool
}

func (f fault) effect() (langbottest.Effect, error) {
	withStatus := slices.Contains([]string{"status", "page", "respond"}, f.Effect)
	if withStatus && (f.Status < 200 || f.Status > 599) {
		return langbottest.Effect{}, fmt.Errorf("status: %d is none of an answer", f.Status)
	}
	switch d := time.Duration(f.For); f.Effect {
	case "status":
		return langbottest.Status(f.Status), nil
	case "page":
		return langbottest.Page(f.Status), nil
	case "respond":
		return langbottest.Respond(f.Status, f.Body), nil
	case "busy":
		return langbottest.Busy(d), nil
	case "latency":
		return langbottest.Latency(d), nil
	case "drip":
		return langbottest.Drip(d), nil
	case "truncate":
		return langbottest.Truncate(max(f.Bytes, 0)), nil
	case "malformed":
		return langbottest.Malformed(), nil
	case "reset":
		return langbottest.Reset(), nil
	case "lose-answer":
		return langbottest.LoseAnswer(), nil
	case "stall":
		return langbottest.Stall(), nil
	}
	return langbottest.Effect{}, fmt.Errorf("effect: %q is none of status, page, respond, busy, latency, drip, truncate, malformed, reset, lose-answer and stall", f.Effect)
}

func addFault(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var f fault
	if err := decode(body, &f); err != nil {
		return nil, err
	}
	effect, err := f.effect()
	if err != nil {
		return nil, err
	}
	var when []langbottest.When
	if f.Nth < 0 || f.First < 0 {
		return nil, errors.New("nth and first are counted from 1 on")
	}
	if f.Nth > 0 {
		when = append(when, langbottest.Nth(f.Nth))
	}
	if f.First > 0 {
		when = append(when, langbottest.First(f.First))
	}
	if f.Optional {
		when = append(when, langbottest.Optional())
	}
	return nil, told(func() { srv.Fault(f.Op, effect, when...) }) // there may be no such route
}

func clearFaults(srv *langbottest.Server, _ json.RawMessage) (any, error) {
	missed := srv.ClearFaults()
	return map[string][]string{"missed": append([]string{}, missed...)}, nil
}

func advance(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var clock struct{ Advance duration }
	if err := decode(body, &clock); err != nil {
		return nil, err
	}
	srv.Advance(time.Duration(clock.Advance))
	return state(srv), nil
}

func setLimits(srv *langbottest.Server, body json.RawMessage) (any, error) {
	limits := struct{ Extensions *int }{}
	if err := decode(body, &limits); err != nil {
		return nil, err
	}
	if limits.Extensions == nil {
		return nil, errors.New("extensions is missing; -1 is no limit")
	}
	srv.LimitExtensions(*limits.Extensions)
	return nil, nil
}

func setRuntime(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var runtime struct{ Up *bool }
	if err := decode(body, &runtime); err != nil {
		return nil, err
	}
	switch {
	case runtime.Up == nil:
		return nil, errors.New("up is missing: true or false")
	case *runtime.Up:
		srv.RuntimeUp()
	default:
		srv.RuntimeDown()
	}
	return nil, nil
}

func addLog(srv *langbottest.Server, body json.RawMessage) (any, error) {
	var line struct{ Plugin, Level, Text string }
	if err := decode(body, &line); err != nil {
		return nil, err
	}
	return nil, told(func() { srv.Log(line.Plugin, line.Level, line.Text) }) // there may be no such plugin or level
}

func restart(srv *langbottest.Server, _ json.RawMessage) (any, error) {
	srv.Restart()
	return state(srv), nil
}

func reset(srv *langbottest.Server, _ json.RawMessage) (any, error) {
	srv.Reset()
	return state(srv), nil
}

func revokeTokens(srv *langbottest.Server, _ json.RawMessage) (any, error) {
	srv.RevokeTokens()
	return nil, nil
}
