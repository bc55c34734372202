package config

import (
	"maps"
	"testing"

	"github.com/ottla/ottla/protocol"
)

// TestCheckListeners has what Apache Kafka 4.3.1 says of changes of a running broker.
func TestCheckListeners(t *testing.T) {
	const l, adv, protocolMap, ctl = "listeners", "advertised.listeners", "listener.security.protocol.map", "controller.listener.names"
	const invalid, end = "Invalid value org.apache.kafka.common.config.ConfigException: ", " for configuration Invalid dynamic configuration"
	mapped := func(more string) map[string]string {
		return map[string]string{protocolMap: "PLAINTEXT:PLAINTEXT," + more}
	}
	with := func(of ...map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range of {
			maps.Copy(all, m)
		}
		return all
	}
	for title, tc := range map[string]struct {
		static, dynamic map[string]string
		want            string
	}{
		"nothing":         {},
		"added":           {nil, with(mapped("X:PLAINTEXT"), map[string]string{l: "PLAINTEXT://h:1,X://h:2"}), ""},
		"another address": {nil, map[string]string{l: "PLAINTEXT://other:7"}, ""},
		"unmapped": {nil, map[string]string{l: "PLAINTEXT://h:1,X://h:2"}, "Error creating broker listeners from '[PLAINTEXT://h:1, X://h:2]': " +
			"No security protocol defined for listener X"},
		"removed though advertised": {with(mapped("X:PLAINTEXT"), map[string]string{l: "PLAINTEXT://h:1,X://h:2"}), map[string]string{l: "PLAINTEXT://h:1"},
			invalid + "Advertised listeners 'Set(ListenerName(PLAINTEXT), ListenerName(X))' must be a subset of listeners 'Set(ListenerName(PLAINTEXT))'" + end},
		"removed that was not advertised": {with(mapped("X:PLAINTEXT"), map[string]string{l: "PLAINTEXT://h:1,X://h:2", adv: "PLAINTEXT://h:1"}), map[string]string{l: "PLAINTEXT://h:1"}, ""},
		"served by TLS":                   {nil, map[string]string{l: "PLAINTEXT://h:1,SSL://h:2"}, "listener SSL has the security protocol SSL: this version serves PLAINTEXT only"},
		"controllers stay what they are":  {map[string]string{l: "PLAINTEXT://h:1,C://h:2", ctl: "C"}, with(mapped("X:PLAINTEXT,C:PLAINTEXT"), map[string]string{l: "PLAINTEXT://h:1,C://h:2,X://h:3"}), ""},
	} {
		t.Run(title, func(t *testing.T) {
			s, err := listen(with(map[string]string{l: "PLAINTEXT://h:1"}, tc.static))
			if err != nil {
				t.Fatal(err)
			}
			err = CheckListeners(s.Values, s.Values.AfterDynamic(tc.dynamic, true))
			got := ""
			if err != nil {
				got = *protocol.MessageOf(err)
			}
			if got != tc.want || (err != nil && protocol.CodeOf(err) != protocol.InvalidRequest) {
				t.Errorf("%v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestClientListenersLeaveControllersOut(t *testing.T) {
	s, err := listen(map[string]string{"listeners": "PLAINTEXT://:1,C://:2", "controller.listener.names": "C"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := ClientListeners(s.Values.AfterDynamic(map[string]string{
		"listeners": "PLAINTEXT://:1,C://:2,x://[::1]:3", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,C:PLAINTEXT,X:PLAINTEXT",
	}, true))
	if err != nil || len(all) != 2 || all[1].Name != "X" || all[1].Host != "::1" || all[1].Port != 3 {
		t.Errorf("%+v, %v", all, err)
	}
}
