package clients

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// TestFeaturesTool gives kafka-features of Apache Kafka 4.3.1 the same commands for Ottla and for a Kafka, and compares what it prints.
func TestFeaturesTool(t *testing.T) {
	k := kafkaRelease(t, "4.3.1")
	kafka := process.StartKafka(t, k.libs, nil)
	ottla := process.New(t)
	ottla.Start(t)
	tools := startToolbox(t, "4.3.1")
	run := func(addr string, args []string) (string, int) {
		t.Helper()
		lines, status, err := tools.run("features", append([]string{"--bootstrap-server", addr}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		// The epoch is the offset of the metadata, and the voters of the two quorums are not told in the same way.
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "Feature: kraft.version") })
		return regexp.MustCompile(`Epoch: \d+`).ReplaceAllString(strings.Join(lines, "\n"), "Epoch: N"), status
	}
	for _, line := range []string{
		"describe",
		"upgrade --release-version 4.3 --dry-run",
		"upgrade --release-version 4.3",
		"upgrade --release-version 3.3 --dry-run",
		"upgrade --metadata 4.2-IV1 --dry-run",
		"upgrade --metadata 4.3-IV0",
		"upgrade --feature metadata.version=31",
		"upgrade --feature transaction.version=2 --dry-run",
		"upgrade --feature group.version=9",
		"upgrade --feature nope=1",
		"upgrade --feature group.version=1 --feature transaction.version=7",
		"downgrade --release-version 4.2 --dry-run",
		"downgrade --metadata 4.2 --dry-run",
		"downgrade --metadata 4.2-IV1",
		"downgrade --metadata 4.2-IV1 --unsafe",
		"downgrade --metadata 4.2-IV1 --unsafe --dry-run",
		"downgrade --feature metadata.version=6",
		"downgrade --feature transaction.version=1 --dry-run",
		"describe",
		"downgrade --feature transaction.version=1",
		"downgrade --feature transaction.version=2",
		"downgrade --feature eligible.leader.replicas.version=0",
		"describe",
		"upgrade --feature eligible.leader.replicas.version=1 --feature transaction.version=2",
		"disable --feature share.version --dry-run",
		"disable --feature share.version",
		"disable --feature share.version --unsafe",
		"disable --feature metadata.version",
		"disable --feature nope",
		"upgrade --feature share.version=1",
		"describe",
	} {
		args := strings.Fields(line)
		want, wantStatus := run(kafka, args)
		got, status := run(ottla.Addr, args)
		if got != want || status != wantStatus {
			t.Errorf("%s\nat Ottla, status %d:\n%s\nat Apache Kafka, status %d:\n%s", line, status, got, wantStatus, want)
		}
		if slices.Contains(args, "describe") && !strings.Contains(want, "metadata.version") {
			t.Errorf("nothing is described:\n%s", want)
		}
	}
}
