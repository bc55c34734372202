package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/integration/process"
)

const (
	offsetGroups     = 12
	offsetPartitions = 20
	offsetTopic      = "committed"
	compactionLimit  = 3 * time.Minute
)

// committer commits offsets and remembers what was acknowledged.
type committer struct {
	t     *testing.T
	admin *kadm.Client
	want  map[string]string // by group and partition: offset and metadata
	next  int64
}

func groupName(i int) string { return fmt.Sprint("offsets-", i) }

// commit has every group commit an offset for each partition.
func (c *committer) commit() {
	c.t.Helper()
	for g := range offsetGroups {
		var offsets kadm.Offsets
		for p := range int32(offsetPartitions) {
			c.next++
			offsets.Add(kadm.Offset{Topic: offsetTopic, Partition: p, At: c.next, LeaderEpoch: -1, Metadata: fmt.Sprintf("%0300d", c.next)})
		}
		answer, err := c.admin.CommitOffsets(c.t.Context(), groupName(g), offsets)
		if err := errors.Join(err, answer.Error()); err != nil {
			c.t.Fatal(err)
		}
		offsets.Each(func(o kadm.Offset) {
			c.want[fmt.Sprint(groupName(g), " ", o.Partition)] = fmt.Sprint(o.At, " ", o.Metadata)
		})
	}
}

// check verifies that the broker knows all that was acknowledged, and no more.
func (c *committer) check(when string) {
	c.t.Helper()
	got := map[string]string{}
	for g := range offsetGroups {
		all, err := c.admin.FetchOffsets(c.t.Context(), groupName(g))
		if err != nil {
			c.t.Fatalf("%s: %v", when, err)
		}
		all.Each(func(o kadm.OffsetResponse) {
			if o.Err != nil {
				c.t.Errorf("%s: %v", when, o.Err)
			}
			got[fmt.Sprint(groupName(g), " ", o.Partition)] = fmt.Sprint(o.At, " ", o.Metadata)
		})
	}
	if maps.Equal(got, c.want) {
		return
	}
	for key, want := range c.want {
		if got[key] != want {
			c.t.Errorf("%s: %s is at %q, want %q", when, key, got[key], want)
		}
	}
	if len(got) != len(c.want) {
		c.t.Errorf("%s: %d offsets, want %d", when, len(got), len(c.want))
	}
}

// TestCompactedOffsets commits until __consumer_offsets was compacted many times over, and starts the broker again, after a clean stop, after a kill, and after kills
// beside the cleaner: every group is where it was, to the offset.
func TestCompactedOffsets(t *testing.T) {
	broker := process.New(t, "offsets.topic.num.partitions=1", "offsets.topic.segment.bytes=1048576", "log.cleaner.backoff.ms=50", "log.cleaner.min.cleanable.ratio=0.01",
		"log.cleaner.delete.retention.ms=0", "num.partitions="+fmt.Sprint(offsetPartitions))
	broker.Start(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr), kgo.RequestRetries(100), kgo.AlwaysRetryEOF())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := &committer{t: t, admin: kadm.NewClient(client), want: map[string]string{}}
	if _, err := c.admin.CreateTopic(t.Context(), offsetPartitions, 1, nil, offsetTopic); err != nil {
		t.Fatal(err)
	}
	for range 150 {
		c.commit()
	}
	for g := range 3 { // tombstones
		if _, err := c.admin.DeleteGroup(t.Context(), groupName(g)); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(c.want, func(key, _ string) bool { return key[:len(groupName(g))+1] == groupName(g)+" " })
	}
	waitCompacted(t, broker.Dir)
	written := c.next
	if size := offsetsSize(t, broker.Dir); size > 3_000_000 {
		t.Errorf("%d bytes are left of %d commits", size, written)
	}
	c.check("before a stop")
	broker.Stop(t)
	broker.Start(t)
	c.check("after a clean stop")
	broker.Kill(t)
	broker.Start(t)
	c.check("after a kill")
	for i := range 6 {
		for range 15 + i {
			c.commit()
		}
		broker.Kill(t) // the cleaner is at work
		broker.Start(t)
		c.check(fmt.Sprint("after kill ", i, " beside the cleaner"))
	}
	waitCompacted(t, broker.Dir)
	broker.Stop(t)
	broker.Start(t)
	c.check("at the end")
}

// waitCompacted waits until the offsets are compacted up to the active segment.
func waitCompacted(t *testing.T, dir string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(compactionLimit)
	for {
		if done, err := datadir.Cleaned(dir, "__consumer_offsets"); err != nil {
			t.Fatal(err)
		} else if done {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("__consumer_offsets was not compacted in time")
		}
	}
}

// offsetsSize is how many bytes the batches of __consumer_offsets take.
func offsetsSize(t *testing.T, dir string) (sum int64) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "__consumer_offsets-0", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range logs {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) { // the cleaner has renamed it meanwhile
			return offsetsSize(t, dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}
