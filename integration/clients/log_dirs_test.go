package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// TestLogDirsTools moves a replica between the log dirs of one broker with kafka-reassign-partitions, and looks with kafka-log-dirs: what the tools print is the same with
// Apache Kafka, but for names, sizes and orders of folders.
func TestLogDirsTools(t *testing.T) {
	for _, version := range kafkaVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			k := kafkaRelease(t, version)
			newDirs := func() []string { return []string{t.TempDir(), t.TempDir()} }
			theirs := newDirs()
			addr := process.StartKafka(t, k.libs, nil, "log.dirs="+strings.Join(theirs, ","))
			want := shell{kafka: k, at: addr}.moveBetween(t, theirs)
			own := newDirs()
			b := process.New(t, "node.id=1", "log.dirs="+strings.Join(own, ","))
			b.Start(t)
			got := shell{kafka: k, at: b.Addr}.moveBetween(t, own)
			for i, step := range want {
				if got[i] != step {
					t.Errorf("step %d: the tool prints with Ottla\n%s\nand with Apache Kafka\n%s", i, got[i], step)
				}
			}
		})
	}
}

// moveBetween moves a replica from one dir to the other, first slowly, and returns what the tools print.
func (s shell) moveBetween(t *testing.T, dirs []string) (steps []string) {
	t.Helper()
	described := func() string { return s.do(t, "", "log-dirs", "--describe", "--topic-list", "moving") }
	plan := func(dir string) string {
		file := filepath.Join(t.TempDir(), "plan.json")
		text := fmt.Sprintf(`{"version":1,"partitions":[{"topic":"moving","partition":0,"replicas":[1],"log_dirs":[%q]}]}`, dir)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s.do(t, "", "topics", "--create", "--topic", "moving", "--partitions", "1")
	s.run(t, "", "producer-perf-test", "--topic", "moving", "--num-records", "5000", "--record-size", "1000", "--throughput", "-1", "--producer-props", "bootstrap.servers="+s.at)
	home, away := dirs[0], dirs[1]
	if regexp.MustCompile(`"moving-0"[^]]*\],"error":null,"logDir":` + regexp.QuoteMeta(fmt.Sprintf("%q", away))).MatchString(described()) {
		home, away = away, home
	}
	record := func(out string) {
		out = strings.NewReplacer(home, "<home>", away, "<away>").Replace(out)
		out = regexp.MustCompile(`"(size|offsetLag)":\d+`).ReplaceAllString(out, `"$1":<n>`)
		steps = append(steps, out)
	}
	move := func(dir string, more ...string) {
		record(s.do(t, "", "reassign-partitions", append([]string{"--execute", "--reassignment-json-file", plan(dir)}, more...)...))
	}
	verify := func(dir string, more ...string) string {
		return s.do(t, "", "reassign-partitions", append([]string{"--verify", "--reassignment-json-file", plan(dir)}, more...)...)
	}
	move(away, "--replica-alter-log-dirs-throttle", "1")
	record(verify(away, "--preserve-throttles"))
	if out := described(); !strings.Contains(out, `"isFuture":true`) {
		t.Errorf("no move is seen:\n%s", out)
	}
	if out, err := s.try(t, "", "reassign-partitions", "--bootstrap-server", s.at, "--execute", "--reassignment-json-file", plan("/nowhere")); err == nil {
		record(out)
	} else {
		record("fails: " + regexp.MustCompile(`(?m)^\s+at .*\n`).ReplaceAllString(out, ""))
	}
	move(away, "--additional", "--replica-alter-log-dirs-throttle", "1000000000")
	await(t, "the move", func() bool { return strings.Contains(verify(away, "--preserve-throttles"), "completed successfully") })
	record(verify(away))
	if out := described(); strings.Contains(out, `"isFuture":true`) || strings.Count(out, "moving-0") != 1 {
		t.Errorf("the move has not ended:\n%s", out)
	}
	move(home)
	await(t, "the move back", func() bool { return strings.Contains(verify(home), "completed successfully") })
	record(verify(home))
	return steps
}
