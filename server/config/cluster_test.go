package config

import (
	"strings"
	"testing"
)

func TestClusterOnOneMachine(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	all, err := LoadCluster(4, []string{"num.partitions=3"})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 4 {
		t.Fatalf("%d brokers", len(all))
	}
	dirs := map[string]bool{}
	for i, s := range all {
		if s.NodeID != int32(i+1) || s.Listeners[0].Port != uint16(9092+i) || s.Listeners[0].Host != "localhost" || s.Values.Int("num.partitions") != 3 {
			t.Errorf("%+v", s)
		}
		if s.IsController() != (i < 3) || len(s.Quorum.Voters) != 3 || !s.IsBroker() {
			t.Errorf("broker %d: roles %v, %v", s.NodeID, s.Roles, s.Quorum.Voters)
		}
		if i < 3 && (s.Controllers[0].Port != s.Quorum.Voters[i].Port || s.Controllers[0].Port != uint16(9192+i)) {
			t.Errorf("%+v %+v", s.Controllers, s.Quorum)
		}
		dirs[s.LogDirs[0]] = true
	}
	if len(dirs) != 4 {
		t.Errorf("folders %v", dirs)
	}
	if all, err = LoadCluster(2, []string{"listeners=PLAINTEXT://127.0.0.1:7000", "log.dirs=/x"}); err != nil {
		t.Fatal(err)
	}
	if s := all[1]; s.IsController() || len(s.Quorum.Voters) != 1 || s.Listeners[0].Port != 7001 || s.LogDirs[0] != "/x/2" {
		t.Errorf("%+v", s)
	}
}

func TestClusterMistakes(t *testing.T) {
	for override, want := range map[string]string{
		"node.id=7":                      "--override node.id=7 contradicts --brokers",
		"listeners=SSL://a:1":            "needs one listener PLAINTEXT://host:port",
		"listeners=PLAINTEXT://a:0":      "a first port from 1",
		"num.partitions=0":               "Value must be at least 1",
		"nonsense":                       "must be key=value",
		"controller.quorum.voters=1@a:1": "contradicts --brokers",
	} {
		if _, err := LoadCluster(3, []string{"log.dirs=/x", override}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", override, err, want)
		}
	}
}
