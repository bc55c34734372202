package config

import (
	"maps"
	"strings"
	"testing"
)

// listen loads a node with these settings over a plain one.
func listen(settings map[string]string) (*Server, error) {
	all := map[string]string{"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/x"}
	maps.Copy(all, settings)
	return FromSettings(all)
}

func TestListeners(t *testing.T) {
	const l, adv, protocolMap, ctl = "listeners", "advertised.listeners", "listener.security.protocol.map", "controller.listener.names"
	tests := []struct {
		name     string
		settings map[string]string
		want     []Listener
	}{
		{"kafka's default", nil, []Listener{{Name: "PLAINTEXT", Port: 9092, AdvertisedHost: machineName(), AdvertisedPort: 9092, Auto: true}}},
		{"auto", map[string]string{l: "PLAINTEXT://0.0.0.0:1", adv: "auto"}, []Listener{{"PLAINTEXT", "0.0.0.0", 1, machineName(), 1, "", true}}},
		{"no need for auto", map[string]string{l: "PLAINTEXT://127.0.0.1:1", adv: "auto"}, []Listener{{"PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 1, "", false}}},
		{
			"advertised from listeners", map[string]string{l: "PLAINTEXT://127.0.0.1:1"},
			[]Listener{{"PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 1, "", false}},
		},
		{
			"trailing commas", map[string]string{l: "PLAINTEXT://0.0.0.0:1,", adv: "PLAINTEXT://h:2,"},
			[]Listener{{"PLAINTEXT", "0.0.0.0", 1, "h", 2, "", false}},
		},
		{
			"ipv6", map[string]string{l: "PLAINTEXT://[::1]:1", adv: "PLAINTEXT://[2001:db8::1]:2"},
			[]Listener{{"PLAINTEXT", "::1", 1, "2001:db8::1", 2, "", false}},
		},
		{
			"names with hyphens, in any case",
			map[string]string{l: "plaintext://:1, tc-0://:2", adv: "TC-0://b:20,PLAINTEXT://a:10", protocolMap: "tc-0:plaintext,PLAINTEXT:PLAINTEXT"},
			[]Listener{{"PLAINTEXT", "", 1, "a", 10, "", false}, {"TC-0", "", 2, "b", 20, "", false}},
		},
		{
			"controller apart, its advertisement too",
			map[string]string{l: "C://0.0.0.0:9,PLAINTEXT://:1", adv: "PLAINTEXT://a:1,C://a:9", ctl: "C"},
			[]Listener{{"PLAINTEXT", "", 1, "a", 1, "", false}},
		},
		{
			"ipv4 and ipv6 on one port",
			map[string]string{l: "PLAINTEXT://127.0.0.1:1,B://[::1]:1", protocolMap: "PLAINTEXT:PLAINTEXT,B:PLAINTEXT"},
			[]Listener{{"PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 1, "", false}, {"B", "::1", 1, "::1", 1, "", false}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := listen(tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Listeners) != len(tt.want) {
				t.Fatalf("%+v", s.Listeners)
			}
			for i, want := range tt.want {
				want.Protocol = "PLAINTEXT"
				if s.Listeners[i] != want {
					t.Errorf("%+v, want %+v", s.Listeners[i], want)
				}
			}
		})
	}
}

func TestListenerMistakes(t *testing.T) {
	const l, adv, protocolMap, ctl = "listeners", "advertised.listeners", "listener.security.protocol.map", "controller.listener.names"
	tests := []struct {
		name     string
		settings map[string]string
		want     string
	}{
		{"unreadable", map[string]string{l: "PLAINTEXT:9092"}, `cannot read "PLAINTEXT:9092" as NAME://host:port`},
		{"no name", map[string]string{l: "://:9092"}, "cannot read"},
		{"port", map[string]string{l: "PLAINTEXT://:70000"}, "between 0 and 65535"},
		{"same name", map[string]string{l: "PLAINTEXT://:1,plaintext://:2"}, "must have a different name"},
		{"same port", map[string]string{l: "PLAINTEXT://a:1,B://b:1", protocolMap: "PLAINTEXT:PLAINTEXT,B:PLAINTEXT"}, "must have a different port"},
		{"unmapped", map[string]string{l: "X://:1"}, "No security protocol defined for listener X"},
		{"bad map", map[string]string{protocolMap: "PLAINTEXT"}, "NAME:PROTOCOL"},
		{"bad protocol", map[string]string{protocolMap: "PLAINTEXT:PLAIN"}, "must be one of"},
		{"tls", map[string]string{l: "SSL://:1"}, "serves PLAINTEXT only"},
		{"sasl", map[string]string{l: "A://:1", protocolMap: "A:SASL_PLAINTEXT"}, "security protocol SASL_PLAINTEXT"},
		{"meta-address", map[string]string{adv: "PLAINTEXT://0.0.0.0:1"}, "nonroutable meta-address 0.0.0.0"},
		{"meta-address advertised", map[string]string{adv: "PLAINTEXT://[::]:1"}, "nonroutable meta-address"},
		{"advertised stranger", map[string]string{adv: "FOO://a:1"}, "Found FOO"},
		{"controller not a listener", map[string]string{l: "PLAINTEXT://:1", ctl: "C"}, "C is not one of the listeners"},
		{"only controllers", map[string]string{l: "C://:1", ctl: "C"}, "at least one broker advertised listener"},
		{"inter-broker stranger", map[string]string{"inter.broker.listener.name": "Z"}, "Z is none of them"},
		{
			"inter-broker twice", map[string]string{"inter.broker.listener.name": "PLAINTEXT", "security.inter.broker.protocol": "PLAINTEXT"},
			"Only one of",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := listen(tt.settings)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want %s", s, err, tt.want)
			}
		})
	}
}

func TestUnadvertisedListenerIsTold(t *testing.T) {
	s, err := listen(map[string]string{
		"listeners": "PLAINTEXT://:1,B://127.0.0.1:2", "advertised.listeners": "PLAINTEXT://a:1", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,B:PLAINTEXT",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !containsText(s.Warnings, "listener B is not in advertised.listeners") || s.Listeners[1].AdvertisedHost != "127.0.0.1" {
		t.Errorf("%q %+v", s.Warnings, s.Listeners)
	}
}

func FuzzListeners(f *testing.F) {
	for _, s := range []string{"PLAINTEXT://:9092", "A://[::1]:0,", "x://h:1,y://h:1", "://", "A://h:99999999999999999999"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, listeners, advertised string) {
		s, err := listen(map[string]string{"listeners": listeners, "advertised.listeners": advertised})
		if err == nil && len(s.Listeners) == 0 {
			t.Error("no listener and no error")
		}
		for _, l := range s.listenersOrNone() {
			if l.AdvertisedHost == "" || l.Name == "" {
				t.Errorf("%+v", l)
			}
		}
	})
}

// listenersOrNone also works on the nil of a failed load.
func (s *Server) listenersOrNone() []Listener {
	if s == nil {
		return nil
	}
	return s.Listeners
}
