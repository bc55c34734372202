package config

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// The properties files that Apache Kafka 4.3 and 3.9 come with for nodes of one role, without their comments.
const (
	stockMap    = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n"
	stockBroker = "process.roles=broker\nnode.id=2\nlisteners=PLAINTEXT://localhost:9092\ninter.broker.listener.name=PLAINTEXT\n" +
		"advertised.listeners=PLAINTEXT://localhost:9092\ncontroller.listener.names=CONTROLLER\nlog.dirs=/tmp/kraft-broker-logs\n" + stockMap
	stockController = "process.roles=controller\nnode.id=1\nlisteners=CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n" +
		"log.dirs=/tmp/kraft-controller-logs\n" + stockMap
	bootstrapLine = "controller.quorum.bootstrap.servers=localhost:9093\n"
	votersLine    = "controller.quorum.voters=1@localhost:9093\n"
)

func TestStockFilesOfOneRole(t *testing.T) {
	for _, quorum := range []string{bootstrapLine, votersLine} {
		s, err := loadText(t, stockBroker+quorum)
		if err != nil {
			t.Fatal(err)
		}
		if !s.IsBroker() || s.IsController() || len(s.Controllers) != 0 || s.Quorum.Listener != "CONTROLLER" || s.Quorum.Begin || s.InterBroker != "PLAINTEXT" {
			t.Errorf("%+v", s)
		}
		s, err = loadText(t, stockController+quorum)
		if err != nil {
			t.Fatal(err)
		}
		if s.IsBroker() || !s.IsController() || len(s.Listeners) != 0 || len(s.Controllers) != 1 || !s.Quorum.Begin || s.InterBroker != "" {
			t.Errorf("%+v", s)
		}
		if l := s.Controllers[0]; l.AdvertisedHost == "" || l.AdvertisedPort != 9093 {
			t.Errorf("%+v", l)
		}
	}
	s, err := loadText(t, stockController+"advertised.listeners=CONTROLLER://c1:9093\n"+
		"controller.quorum.voters=3@c3:9095,1@c1:9093, 2@c2:9094\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := []Voter{{1, "c1", 9093}, {2, "c2", 9094}, {3, "c3", 9095}}; !slices.Equal(s.Quorum.Voters, want) || s.Quorum.Voters[1].Address() != "c2:9094" {
		t.Errorf("%+v", s.Quorum)
	}
}

func TestControllerHasMetrics(t *testing.T) {
	s, err := loadText(t, stockController+votersLine+"ottla.metrics.listener=localhost:9999\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Metrics != "localhost:9999" || containsText(s.Notices, "ottla.metrics.listener") {
		t.Errorf("%q %q", s.Metrics, s.Notices)
	}
}

func TestWhoMayBeginAQuorum(t *testing.T) {
	for bootstrap, want := range map[string]bool{
		"localhost:9093": true, "127.0.0.1:9093": true, "c1:9093": true, "localhost:9193": false, "localhost:9093,localhost:9193": false, "203.0.113.7:9093": false,
	} {
		s, err := loadText(t, stockController+"advertised.listeners=CONTROLLER://c1:9093\ncontroller.quorum.bootstrap.servers="+bootstrap+"\n")
		if err != nil {
			t.Fatal(err)
		}
		if s.Quorum.Begin != want {
			t.Errorf("%s: %v", bootstrap, s.Quorum.Begin)
		}
	}
}

func TestRoleMistakes(t *testing.T) {
	const missing = "(not set)"
	broker := map[string]string{
		"process.roles": "broker", "node.id": "2", "log.dirs": "/x", "listeners": "PLAINTEXT://a:1", "controller.listener.names": "C", "controller.quorum.voters": "1@a:2",
	}
	controller := map[string]string{
		"process.roles": "controller", "node.id": "1", "log.dirs": "/x", "listeners": "C://a:2", "controller.listener.names": "C", "controller.quorum.voters": "1@a:2",
	}
	tests := []struct {
		name  string
		node  map[string]string
		other map[string]string
		want  string
	}{
		{"role", broker, map[string]string{"process.roles": "brokr"}, "String must be one of: broker, controller"},
		{"no quorum", broker, map[string]string{"controller.quorum.voters": ""}, "must contain the set of bootstrap controllers or controller.quorum.voters"},
		{"broker is a voter", broker, map[string]string{"controller.quorum.voters": "2@a:2"}, "must not be included in the set of voters controller.quorum.voters=Set(2)"},
		{"no controller names", broker, map[string]string{"controller.listener.names": missing}, "must contain at least one value when running KRaft with just the broker role"},
		{"broker has a controller listener", broker, map[string]string{"listeners": "PLAINTEXT://a:1,C://a:3"}, "must not contain a value appearing in the 'listeners'"},
		{
			"unmapped controller", broker, map[string]string{"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT"},
			"Controller listener with name C defined in controller.listener.names not found",
		},
		{"auto join", broker, map[string]string{"controller.quorum.auto.join.enable": "true"}, "is only supported when process.roles contains"},
		{"controller serves clients", controller, map[string]string{"listeners": "C://a:2,PLAINTEXT://a:1"}, "must only contain KRaft controller listeners"},
		{"controller is no voter", controller, map[string]string{"controller.quorum.voters": "2@a:2,3@a:3"}, "must be included in the set of voters controller.quorum.voters=Set(2, 3)"},
		{"controller has no listener", controller, map[string]string{"controller.listener.names": "D"}, "must only contain values appearing in the 'listeners'"},
		{
			"combined without a controller listener", controller, map[string]string{
				"process.roles": "broker,controller", "controller.listener.names": missing, "controller.quorum.voters": "1@a:2,2@b:2",
			}, "must contain at least one value appearing in the 'listeners' configuration",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := maps.Clone(tt.node)
			maps.Copy(all, tt.other)
			maps.DeleteFunc(all, func(_, value string) bool { return value == missing })
			s, err := FromSettings(all)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want %s", s, err, tt.want)
			}
		})
	}
}
