package config

import (
	_ "embed"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// loadText loads a file with the given content.
func loadText(t *testing.T, content string, overrides ...string) (*Server, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(file, overrides)
}

// stock is the properties file that Apache Kafka comes with.
//
//go:embed testdata/shipped/4.3.1-server.properties
var stock string

func TestStockFileLoads(t *testing.T) {
	s, err := loadText(t, stock)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) != 0 {
		t.Errorf("warnings: %q", s.Warnings)
	}
	want := Listener{Name: "PLAINTEXT", Port: 9092, AdvertisedHost: "localhost", AdvertisedPort: 9092, Protocol: "PLAINTEXT"}
	if len(s.Listeners) != 1 || s.Listeners[0] != want {
		t.Errorf("listeners %+v", s.Listeners)
	}
	if len(s.Controllers) != 1 || s.Controllers[0].Port != 9093 || s.Controllers[0].AdvertisedHost != "localhost" || s.Quorum.Listener != "CONTROLLER" || !s.Quorum.Begin {
		t.Errorf("controllers %+v, notices %q", s.Controllers, s.Notices)
	}
	if s.NodeID != 1 || !slices.Equal(s.LogDirs, []string{"/tmp/kraft-combined-logs"}) || s.MetadataLogDir != s.LogDirs[0] || s.InterBroker != "PLAINTEXT" {
		t.Errorf("%+v", s)
	}
	if got := s.Values.Duration(rebalanceDelay); got != 3*time.Second {
		t.Errorf("with a file, %s = %v", rebalanceDelay, got)
	}
}

func containsText(all []string, part string) bool {
	return slices.ContainsFunc(all, func(s string) bool { return strings.Contains(s, part) })
}

func TestWithoutFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	s, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Listener{Name: "PLAINTEXT", Host: "localhost", Port: 9092, AdvertisedHost: "localhost", AdvertisedPort: 9092, Protocol: "PLAINTEXT"}
	if len(s.Listeners) != 1 || s.Listeners[0] != want || len(s.Controllers) != 0 {
		t.Errorf("%+v %+v", s.Listeners, s.Controllers)
	}
	if s.Values.Int(rebalanceDelay) != 0 || !containsText(s.Notices, rebalanceDelay+"=0") {
		t.Errorf("%d, %q", s.Values.Int(rebalanceDelay), s.Notices)
	}
	if s.Values.IsSet("offsets.topic.replication.factor") {
		t.Error("nobody set the replication factor of internal topics")
	}
	s, err = Load("", []string{rebalanceDelay + "=5", "log.dirs=/a", "listeners=PLAINTEXT://127.0.0.1:0", "node.id=4"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Values.Int(rebalanceDelay) != 5 || containsText(s.Notices, rebalanceDelay) || s.LogDirs[0] != "/a" || s.NodeID != 4 {
		t.Errorf("overrides win: %+v", s)
	}
	if l := s.Listeners[0]; l.AdvertisedPort != 0 || l.AdvertisedHost != "127.0.0.1" {
		t.Errorf("%+v", l)
	}
}

func TestOverridesWinOverFile(t *testing.T) {
	s, err := loadText(t, stock, "num.partitions=7", "log.dirs = /x,/y ", "num.partitions=8")
	if err != nil {
		t.Fatal(err)
	}
	if s.Values.Int("num.partitions") != 8 || !slices.Equal(s.LogDirs, []string{"/x", "/y"}) {
		t.Errorf("%d %q", s.Values.Int("num.partitions"), s.LogDirs)
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := loadText(t, "process.roles=broker,controller\nnode.id=1\n\nnum.partitions=0\nlog.cleanup.policy=dlete\nlog.retention.hours=x\n",
		"log.segment.bytes=12", "nonsense")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"server.properties:4: Invalid value 0 for configuration num.partitions: Value must be at least 1 (allowed: [1,...])",
		"server.properties:5: Invalid value dlete for configuration log.cleanup.policy: String must be one of: compact, delete",
		"server.properties:6: Invalid value x for configuration log.retention.hours: Not a number of type INT",
		"--override: Invalid value 12 for configuration log.segment.bytes: Value must be at least 1048576 (allowed: [1048576,...])",
		"--override nonsense: must be key=value",
	} {
		if !slices.Contains(strings.Split(err.Error(), "\n"), want) {
			t.Errorf("missing: %s\nin:\n%v", want, err)
		}
	}
}

func TestUnknownKeysAreWarnings(t *testing.T) {
	s, err := loadText(t, stock+"log.retention.hour=5\nzookeeper.connect=x\nconfluent.metrics.enable=true\nleader.replication.throttled.rate=5\n")
	if err != nil {
		t.Fatal(err)
	}
	if !containsText(s.Warnings, ":26: unknown key log.retention.hour, did you mean log.retention.hours?") ||
		!containsText(s.Notices, "zookeeper.connect (there is no ZooKeeper") ||
		!containsText(s.Warnings, "leader.replication.throttled.rate can only be set at run time") || len(s.Warnings) != 3 {
		t.Errorf("%q", s.Warnings)
	}
	if s.Values.Int("log.retention.hours") != 168 {
		t.Error("a misspelt key has an effect")
	}
}

func TestSettingsWithoutEffectAreTold(t *testing.T) {
	s, err := loadText(t, stock+"group.coordinator.threads=5\n")
	if err != nil {
		t.Fatal(err)
	}
	if !containsText(s.Notices, "group.coordinator.threads") {
		t.Errorf("%q", s.Notices)
	}
}

func TestNodeMistakes(t *testing.T) {
	const rest = "listeners=PLAINTEXT://localhost:9092\n"
	tests := []struct{ name, content, want string }{
		{"no roles", "node.id=1\n", "missing required key process.roles"},
		{"no id", "process.roles=broker,controller\n", "missing required key node.id"},
		{"ids differ", "process.roles=broker,controller\nnode.id=1\nbroker.id=2\n", "broker.id 2 differs from node.id 1"},
		{"other voter", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=2@b:1\n", "must be included in the set of voters"},
		{"bad voter", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=b:1\n", "{id}@{host}:{port}"},
		{"no folder", "process.roles=broker,controller\nnode.id=1\nlog.dirs=\nlog.dir=\n", "'log.dirs' must not be empty"},
		{"authorizer", "process.roles=broker,controller\nnode.id=1\nauthorizer.class.name=x.Y\n", "has no authorization"},
		{"no retention", "process.roles=broker,controller\nnode.id=1\nlog.retention.ms=0\n", "server.properties:3: log.retention.ms must be unlimited (-1) or, greater than or equal to 1 (log.retention.ms=0)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadText(t, tt.content+rest)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestBrokerIDStandsForNodeID(t *testing.T) {
	s, err := loadText(t, "process.roles=broker,controller\nbroker.id=7\nlisteners=PLAINTEXT://localhost:9092\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeID != 7 || s.Values.Int("broker.id") != 7 || s.LogDirs[0] != "/tmp/kafka-logs" {
		t.Errorf("%+v", s)
	}
	if s, err = loadText(t, "process.roles=broker,controller\nnode.id=3\nbroker.id=3\n"); err != nil || s.NodeID != 3 {
		t.Errorf("both set: %v", err)
	}
	if s, err = loadText(t, "process.roles=broker,controller\nnode.id=3\n"); err != nil || s.Values.Int("broker.id") != 3 {
		t.Errorf("node.id alone: %v", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent"), nil); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

func TestUserDataDir(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	tests := []struct {
		system string
		env    map[string]string
		home   string
		want   string
	}{
		{"linux", map[string]string{"XDG_DATA_HOME": "/xdg"}, "/home/u", "/xdg/ottla"},
		{"linux", map[string]string{"XDG_DATA_HOME": "relative"}, "/home/u", "/home/u/.local/share/ottla"},
		{"freebsd", nil, "/home/u", "/home/u/.local/share/ottla"},
		{"darwin", map[string]string{"XDG_DATA_HOME": "/xdg"}, "/Users/u", "/Users/u/Library/Application Support/ottla"},
		{"windows", map[string]string{"LocalAppData": "/L"}, "/u", "/L/ottla"},
		{"windows", nil, "/u", "/u/AppData/Local/ottla"},
	}
	for _, tt := range tests {
		if got, err := dataDirFor(tt.system, env(tt.env), tt.home, nil); err != nil || got != filepath.FromSlash(tt.want) {
			t.Errorf("%s: %s, %v, want %s", tt.system, got, err, tt.want)
		}
	}
	if _, err := dataDirFor("linux", env(nil), "", os.ErrNotExist); err == nil {
		t.Error("no home and no error")
	}
	for path, want := range map[string]bool{
		`C:kafka`: true, `d:`: true, `C:\kafka`: false, `C:/kafka`: false, `/kafka`: false, `1:x`: false, `kafka`: false, ``: false, `\\host\share`: false,
	} {
		if got := driveOnly(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
