package clients

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clusterPartitions is how many partitions a topic has: each broker leads one.
const clusterPartitions = 3

// clusterPause is the longest time that a partition may take no records, on a machine that has much else to do. What is hoped for is the session timeout and a
// second after a kill, and 200 ms after a controlled shutdown; the test tells what it was.
const clusterPause = clusterSession + 20*time.Second

// TestClusterClients runs producers and consumers of four clients while brokers are killed (one, the active controller, leaders one after another) and restarted one by one. At the
// end every acknowledged record is there once and in order, the groups have settled and consumed all of it, and of each transaction there is all or nothing.
func TestClusterClients(t *testing.T) {
	c := startNodes(t, false, groupBrokerSettings...)
	w := startWorkload(c)
	w.settled()
	w.during("kill -9 of a broker", func() { w.killed(c.controller()%clusterSize + 1) })
	w.during("kill -9 of the active controller", func() { w.killed(c.controller()) })
	w.during("kill -9 of leaders one after another", func() {
		for range clusterSize {
			b := c.node(c.partition("java", 0).Leader)
			b.Kill(t)
			b.Start(t)
			c.awaitInSync()
			w.settledWriters()
		}
	})
	w.during("a rolling restart", func() {
		for _, b := range c.brokers {
			t.Logf("a controlled shutdown took %v", b.Stop(t).Round(time.Millisecond))
			b.Start(t)
			c.awaitInSync()
		}
	})
	w.settled()
	w.finish()
}

// workload is the producers and consumers of a cluster. Its methods are for the test's goroutine.
type workload struct {
	*nodes
	writers []*clusterWriter
	groups  []*clusterGroup
}

// startWorkload starts producers of four clients, two of which write transactions, and groups of both protocols.
func startWorkload(c *nodes) *workload {
	c.t.Helper()
	w := &workload{nodes: c}
	w.write("java", javaProgram(c.t, "Writer", "4.3.1"))
	w.write("librdkafka", pythonProgram(c.t, "members/writer_confluent.py"))
	w.write("franz-go", goMember(c.t, "franzwriter"))
	w.write("sarama", goMember(c.t, "saramawriter"))
	w.write("transactions-java", javaProgram(c.t, "Writer", "4.3.1"), "cluster-java")
	w.write("transactions-librdkafka", pythonProgram(c.t, "members/writer_confluent.py"), "cluster-librdkafka")
	w.read("java", "java-4.3.1-classic", 1)
	w.read("java", "java-4.3.1-consumer", 1)
	w.read("librdkafka", "librdkafka-classic", 1)
	w.read("librdkafka", "librdkafka-consumer", 2)
	w.read("franz-go", "franz-go-classic", 2)
	w.read("franz-go", "franz-go-consumer", 2)
	w.read("sarama", "sarama", 2)
	return w
}

// clusterWriter is a producer's program, which writes to a topic of its own.
type clusterWriter struct {
	*groupMember
	topic         string
	transactional bool
}

// clusterGroup is a group that reads a topic.
type clusterGroup struct {
	*memberRun
	client memberClient
}

// write starts a producer.
func (w *workload) write(topic string, command []string, args ...string) {
	w.t.Helper()
	w.create(topic, clusterPartitions)
	argv := slices.Concat(command[1:], []string{w.addr(), topic, strconv.Itoa(clusterPartitions)}, args)
	w.writers = append(w.writers, &clusterWriter{startMember(w.t, "the producer of "+topic, exec.Command(command[0], argv...)), topic, len(args) > 0})
}

// read starts a group of a client of memberClients.
func (w *workload) read(topic, client string, members int) {
	w.t.Helper()
	all := memberClients()
	one := all[slices.IndexFunc(all, func(m memberClient) bool { return m.name == client })]
	one.pattern = false
	g := &clusterGroup{&memberRun{t: w.t, addr: w.addr(), group: client, topic: topic, client: w.client, admin: w.admin, sizes: map[string]int32{topic: clusterPartitions}}, one}
	for range members {
		g.member(one)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			g.tell(w.t)
		}
	})
	w.groups = append(w.groups, g)
}

// settled waits until all groups have their partitions and all producers write.
func (w *workload) settled() {
	w.t.Helper()
	for _, g := range w.groups {
		g.settled("settled group "+g.group, g.members...)
	}
	now := time.Now().UnixMilli()
	for _, p := range w.writers {
		await(w.t, "new record of the producer of "+p.topic, func() bool {
			events := p.log()
			return len(events) > 0 && events[len(events)-1].At > now
		})
	}
}

// killed kills a broker with SIGKILL and starts it when the others have its partitions.
func (w *workload) killed(id int32) {
	w.t.Helper()
	w.node(id).Kill(w.t)
	for _, p := range w.writers {
		for partition := range int32(clusterPartitions) {
			await(w.t, "leader elsewhere", func() bool { return w.partition(p.topic, partition).Leader != id })
		}
	}
	w.settledWriters()
	w.node(id).Start(w.t)
	w.awaitInSync()
}

// settledWriters waits until each partition takes records again.
func (w *workload) settledWriters() {
	w.t.Helper()
	now := time.Now().UnixMilli()
	for _, p := range w.writers {
		await(w.t, "records of the producer of "+p.topic, func() bool {
			seen := map[int32]bool{}
			for _, e := range slices.Backward(p.log()) {
				if e.At <= now {
					break
				}
				seen[e.Partition] = true
			}
			return len(seen) == clusterPartitions || p.transactional && len(seen) > 0
		})
	}
}

// during does something to a cluster whose leaders are where they should be, and tells how long partitions took no records.
func (w *workload) during(what string, do func()) {
	w.t.Helper()
	w.duringAtMost(clusterPause, what, do)
}

// duringAtMost is during with another bound.
func (w *workload) duringAtMost(most time.Duration, what string, do func()) {
	w.t.Helper()
	if _, err := w.admin.ElectLeaders(w.t.Context(), kadm.ElectPreferredReplica, nil); err != nil {
		w.t.Fatal(err)
	}
	w.settledWriters()
	begin := time.Now()
	do()
	w.settledWriters()
	for _, p := range w.writers {
		pause := p.pause(begin)
		w.t.Logf("%s: %s took no records for %v", what, p.topic, pause)
		if pause > most {
			w.t.Errorf("%s: %s took no records for %v", what, p.topic, pause)
		}
	}
	w.t.Logf("%s: %v in all", what, time.Since(begin).Round(time.Millisecond))
}

// pause is the longest time between two acknowledgements of a partition since begin.
func (p *clusterWriter) pause(begin time.Time) time.Duration {
	last, longest := map[int32]int64{}, int64(0)
	for _, e := range p.log() {
		if before, ok := last[e.Partition]; ok && e.At >= begin.UnixMilli() {
			longest = max(longest, e.At-before)
		}
		last[e.Partition] = e.At
	}
	return time.Duration(longest) * time.Millisecond
}

// finish ends the producers and the groups, and compares what is there with what was told.
func (w *workload) finish() {
	w.t.Helper()
	for _, p := range w.writers {
		p.leave(w.t)
		for _, e := range p.log() {
			if e.Name == "failed" {
				w.t.Errorf("%s: %s", p.topic, e.Error)
			}
		}
		if p.transactional {
			w.checkTransactions(p)
		} else {
			w.checkAcknowledged(p)
		}
	}
	for _, g := range w.groups {
		w.t.Run(g.group, func(t *testing.T) {
			g.t = t
			g.finish(g.client.prompt, g.members...)
		})
	}
}

// written is a number that a topic has.
type written struct {
	offset int64
	number int64
}

// contents reads a topic to its end, by partition.
func (w *workload) contents(topic string) [clusterPartitions][]written {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	ends, err := w.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.brokers[0].Addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var all [clusterPartitions][]written
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			w.t.Fatalf("%s: partitions %v were not read: %v", topic, left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				n, err := strconv.ParseInt(string(r.Value), 10, 64)
				if err != nil {
					w.t.Errorf("%s-%d has %q at %d", topic, r.Partition, r.Value, r.Offset)
				}
				all[r.Partition] = append(all[r.Partition], written{r.Offset, n})
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	for p, list := range all {
		for i := range list[min(1, len(list)):] {
			if list[i+1].number <= list[i].number {
				w.t.Errorf("%s-%d has %d at %d after %d at %d", topic, p, list[i+1].number, list[i+1].offset, list[i].number, list[i].offset)
			}
		}
	}
	return all
}

// checkAcknowledged compares a topic with what its producer was told.
func (w *workload) checkAcknowledged(p *clusterWriter) {
	w.t.Helper()
	all, n := w.contents(p.topic), 0
	for _, e := range p.log() {
		if e.Name != "acked" {
			continue
		}
		n++
		list := all[e.Partition]
		at, ok := slices.BinarySearchFunc(list, e.From, func(r written, number int64) int { return cmp.Compare(r.number, number) })
		if !ok || e.To >= 0 && list[at].offset != e.To {
			w.t.Errorf("%s-%d: %d was acknowledged at %d and is not there", p.topic, e.Partition, e.From, e.To)
		}
	}
	w.t.Logf("%s: %d records were acknowledged", p.topic, n)
	if n == 0 {
		w.t.Errorf("no record of %s was acknowledged", p.topic)
	}
}

// checkTransactions compares a topic with the transactions that its producer has ended: each is in all partitions or in none.
func (w *workload) checkTransactions(p *clusterWriter) {
	w.t.Helper()
	all, count := w.contents(p.topic), map[int64]int{}
	for _, list := range all {
		for _, r := range list {
			count[r.number]++
		}
	}
	ended := map[string]int{}
	for _, e := range p.log() {
		ended[e.Name]++
		if want := map[string]int{"committed": clusterPartitions}[e.Name]; (e.Name == "committed" || e.Name == "aborted") && count[e.From] != want {
			w.t.Errorf("%s: transaction %d was %s, and %d of its %d records are there", p.topic, e.From, e.Name, count[e.From], clusterPartitions)
		}
	}
	for n, c := range count {
		if c != clusterPartitions {
			w.t.Errorf("%s: %d of transaction %d's %d records are there", p.topic, c, n, clusterPartitions)
		}
	}
	w.t.Logf("%s: %s", p.topic, fmt.Sprint(ended))
	if ended["committed"] == 0 || ended["aborted"] == 0 {
		w.t.Errorf("%s: %v", p.topic, ended)
	}
}
