//go:build unix && !netns

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/process"
)

// TestRecoverOfTheLastController: two of three nodes are gone with their disks. The third is made a quorum of its own. Its replicas are not known to have everything,
// so that its operator elects them uncleanly; what was acknowledged is there.
func TestRecoverOfTheLastController(t *testing.T) {
	c := start(t)
	const records = 300
	writeAll(t, c, records)
	for _, n := range c.nodes {
		n.Kill(t)
	}
	for _, n := range c.nodes[:2] {
		if err := os.RemoveAll(n.Dir); err != nil {
			t.Fatal(err)
		}
	}
	survivor := c.node(3)
	if out := recoverNode(t, survivor); !strings.Contains(out, "controller 3 is a quorum of its own") {
		t.Fatalf("ottla recover printed %s", out)
	}
	alone(t, survivor)
	survivor.Start(t)
	c.nodes = c.nodes[2:]
	client := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	electUncleanly(ctx, t, client)
	one := "1" // nothing is committed any more while the topic asks for two replicas in sync
	answers, err := kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "min.insync.replicas", Value: &one}}, topic)
	if err != nil || answers[0].Err != nil {
		t.Fatal(err, answers)
	}
	writeAll(t, c, records)
	seen := map[int]bool{}
	for len(seen) < records {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d records are there", len(seen), records)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if n, err := strconv.Atoi(string(r.Value)); err == nil && r.Offset == int64(n/partitions) { // not one that was written later
				seen[n] = true
			}
		})
	}
}

// electUncleanly makes the broker that is left lead every partition, once the others are fenced; until then a request may go to one of them, and fail.
func electUncleanly(ctx context.Context, t *testing.T, client *kgo.Client) {
	t.Helper()
	admin := kadm.NewClient(client)
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		_, err := admin.ElectLeaders(ctx, kadm.ElectLiveReplica, kadm.TopicsSet{topic: {0: {}, 1: {}, 2: {}, 3: {}, 4: {}, 5: {}}})
		var topics kadm.TopicDetails
		if err == nil {
			topics, err = admin.ListTopics(ctx, topic)
		}
		led := 0
		for _, p := range topics[topic].Partitions {
			if p.Leader == 3 {
				led++
			}
		}
		if led == partitions {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d partitions have a leader: %v", led, partitions, err)
		}
	}
}

// writeAll writes records to all partitions and waits until they are acknowledged by all replicas.
func writeAll(t *testing.T, c *cluster, records int) {
	t.Helper()
	client := c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer client.Close()
	var all []*kgo.Record
	for i := range records {
		all = append(all, &kgo.Record{Partition: int32(i % partitions), Value: fmt.Append(nil, i)}) //nolint:gosec // a handful
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := client.ProduceSync(ctx, all...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// recoverNode runs ottla recover on a node that stands still.
func recoverNode(t *testing.T, n *process.Broker) string {
	t.Helper()
	out, err := exec.Command(process.Binary(t), "recover", "--yes", n.Properties()).CombinedOutput()
	if err != nil {
		t.Fatalf("ottla recover: %v\n%s", err, out)
	}
	return string(out)
}

// alone changes a node's properties as ottla recover asks for: the quorum is no longer that of the file.
func alone(t *testing.T, n *process.Broker) {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(n.Properties()))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if voters, found := strings.CutPrefix(strings.TrimSpace(line), "controller.quorum.voters="); found {
			_, last, _ := strings.Cut(voters, ",3@")
			line = "controller.quorum.bootstrap.servers=" + last + "\n"
		}
		lines = append(lines, line)
	}
	if err := os.WriteFile(n.Properties(), []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}
