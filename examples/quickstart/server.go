package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/langbot-go/langbot"
	"github.com/langbot-go/langbot/langbottest"
)

// connect returns a client of the LangBot that the environment names, else of a reference server in this program.
func connect(out io.Writer) (*langbot.Client, func(), error) {
	base, key := os.Getenv("LANGBOT_URL"), os.Getenv("LANGBOT_API_KEY")
	email, password := os.Getenv("LANGBOT_EMAIL"), os.Getenv("LANGBOT_PASSWORD")
	switch {
	case base == "":
		return embedded(out)
	case key != "":
		client, err := langbot.New(base, langbot.WithAPIKey(key))
		return client, func() {}, err
	case email != "" && password != "":
		client, err := langbot.New(base, langbot.WithLogin(email, password))
		return client, func() {}, err
	}
	return nil, nil, errors.New("LANGBOT_URL is set: set LANGBOT_API_KEY too, or LANGBOT_EMAIL and LANGBOT_PASSWORD")
}

// stepTime is how long the embedded server takes for each step of an installation.
var stepTime = 600 * time.Millisecond

func embedded(out io.Writer) (*langbot.Client, func(), error) {
	srv, err := langbottest.Start()
	if err != nil {
		return nil, nil, err
	}
	srv.On(langbottest.AnyInstall, langbottest.Script{Steps: []langbottest.Step{
		{Action: "preparing plugin install", For: stepTime},
		{Action: "validating plugin package", Percent: 32, For: stepTime},
		{Action: "persisting the installation", Percent: 45, For: stepTime},
		{Action: "installing or starting plugin", Percent: 62, For: stepTime},
		{Action: "waiting for plugin initialization", Percent: 84, For: stepTime},
	}})
	client, err := langbot.New(srv.URL, langbot.WithUserToken(srv.UserToken), langbot.WithHTTPClient(srv.Client()))
	if err != nil {
		srv.Close()
		return nil, nil, err
	}
	fmt.Fprintln(out, "LANGBOT_URL is not set: using a reference server inside this program")
	return client, srv.Close, nil
}
