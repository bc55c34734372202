package clients

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// TestFeaturesTool gives kafka-features of Apache Kafka 4.3.1 the same commands for Ottla and for a Kafka, and compares what it prints: to clusters of this release, and to
// clusters that begin with the features of 4.1 and are raised.
func TestFeaturesTool(t *testing.T) {
	for name, commands := range map[string][]string{
		"4.3": {
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
		},
		"4.1": {
			"describe",
			"upgrade --release-version 4.0 --dry-run",
			"downgrade --release-version 4.0 --dry-run",
			"upgrade --feature share.version=1 --dry-run",
			"upgrade --metadata 4.2 --dry-run",
			"upgrade --metadata 4.2",
			"downgrade --metadata 4.1-IV1", // with the records of 4.2
			"describe",
			"upgrade --release-version 4.3 --dry-run",
			"upgrade --release-version 4.3",
			"downgrade --release-version 4.1",
			"describe",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareFeatures(t, name, commands)
		})
	}
}

// compareFeatures runs the commands on clusters that begin with the features of a release.
func compareFeatures(t *testing.T, release string, commands []string) {
	t.Helper()
	k := kafkaRelease(t, "4.3.1")
	kafka := process.StartKafka(t, k.libs, []string{"--release-version", release})
	addr, controller := fmt.Sprintf("127.0.0.1:%d", process.FreePort(t)), fmt.Sprintf("127.0.0.1:%d", process.FreePort(t))
	ottla := process.NewNode(t, addr, []string{
		"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + controller, "controller.listener.names=CONTROLLER",
		fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://%s", addr, controller), "advertised.listeners=PLAINTEXT://" + addr,
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
	})
	format := exec.CommandContext(t.Context(), process.Binary(t), "kafka-storage", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", ottla.Properties(), "--release-version", release)
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ottla.Start(t)
	tools := startToolbox(t, "4.3.1")
	run := func(addr string, args []string) (string, int) {
		t.Helper()
		lines, status, err := tools.run("features", append([]string{"--bootstrap-server", addr}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		// The epoch is the offset of the metadata.
		return regexp.MustCompile(`Epoch: \d+`).ReplaceAllString(strings.Join(lines, "\n"), "Epoch: N"), status
	}
	for _, line := range commands {
		args := strings.Fields(line)
		want, wantStatus := run(kafka, args)
		got, status := run(ottla.Addr, args)
		if got != want || status != wantStatus {
			t.Errorf("%s\nat Ottla, status %d:\n%s\nat Apache Kafka, status %d:\n%s", line, status, got, wantStatus, want)
		}
		if line == "describe" && !strings.Contains(want, "metadata.version") {
			t.Errorf("nothing is described:\n%s", want)
		}
	}
}
