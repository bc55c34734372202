package servertest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
	"github.com/ottla/ottla/storage/vfs"
)

// copyTree copies a folder; a file is taken over as it is.
func copyTree(t *testing.T, from vfs.FS, source string, to vfs.FS, target string) {
	t.Helper()
	if err := to.MkdirAll(target); err != nil {
		t.Fatal(err)
	}
	entries, err := from.List(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			copyTree(t, from, path.Join(source, e.Name()), to, path.Join(target, e.Name()))
			continue
		}
		b, err := from.ReadFile(path.Join(source, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		f, err := to.Create(path.Join(target, e.Name()))
		if err == nil {
			_, err = f.WriteAt(b, 0)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// folders are those of a topic's partitions in a log dir, without the ones that are not in service.
func folders(disk vfs.FS, dir, topic string) (all []string) {
	entries, _ := disk.List(dir) // none if there is no such dir
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), topic+"-") && !strings.Contains(e.Name(), ".") {
			all = append(all, path.Join(dir, e.Name()))
		}
	}
	return all
}

// describe returns partition 0 of a topic as the cluster sees it.
func describe(t *testing.T, client *kgo.Client, topic string) kadm.PartitionDetail {
	topics, err := kadm.NewClient(client).ListTopics(t.Context(), topic)
	if p, known := topics[topic].Partitions[0]; known {
		return p
	}
	return kadm.PartitionDetail{Leader: -2, Err: err}
}

// One of two log dirs is wiped, then all that a broker has: what was there is copied from the leaders, and all the brokers have it.
func TestWipedDisksAreRefilled(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3), servertest.With("log.dirs", "/data/a,/data/b"))
	client := clusterClient(t, b, "orders", 4)
	written := 0
	write := func() {
		t.Helper()
		produce(t, client, written, 20, limit)
		written += 20
	}
	write()
	awaitInSync(t, client, "orders", 3)
	for _, wiped := range []string{"/data/b", "/data"} {
		if wiped == "/data/b" && len(folders(b.Disk(0), wiped, "orders")) == 0 {
			t.Fatal("nothing to wipe")
		}
		b.Stop(t, 0)
		write()
		if err := b.Disk(0).RemoveAll(wiped); err != nil {
			t.Fatal(err)
		}
		b.Restart(t, 0)
		awaitInSync(t, client, "orders", 3)
		write()
	}
	b.Kill(t, 1) // what is left now has to come from the disk that was wiped
	write()
	wantAll(t, b, "orders", written)
}

// The last replica in sync comes back without its data, or with an older copy of its disk that was stopped cleanly: it is not elected for what it lacks, and does not have
// the others cut what they have. Once another one leads, it is filled from there.
func TestLastInSyncLosesItsDisk(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(map[bool]string{false: "empty", true: "old copy"}[old], func(t *testing.T) {
			t.Parallel()
			b := servertest.Start(t, servertest.Brokers(5))
			client := clusterClient(t, b, "other", 1)
			admin := kadm.NewClient(client)
			one := "1"
			if _, err := admin.CreateTopic(t.Context(), 1, 2, map[string]*string{"min.insync.replicas": &one}, "orders"); err != nil {
				t.Fatal(err)
			}
			var move kadm.AlterPartitionAssignmentsReq
			move.Assign("orders", 0, []int32{4, 5}) // brokers that are no controllers
			if _, err := admin.AlterPartitionAssignments(t.Context(), move); err != nil {
				t.Fatal(err)
			}
			led := func(leader int32, isr ...int32) func() (bool, any) {
				return func() (bool, any) {
					p := describe(t, client, "orders")
					slices.Sort(p.ISR)
					return p.Leader == leader && slices.Equal(p.Replicas, []int32{4, 5}) && (isr == nil || slices.Equal(p.ISR, isr)), p
				}
			}
			// elect asks again and again: a broker whose heartbeats are late is not elected.
			elect := func(how kadm.ElectLeadersHow, leader int32) func() (bool, any) {
				return func() (bool, any) {
					answer, err := admin.ElectLeaders(t.Context(), how, kadm.TopicsSet{"orders": {0: {}}})
					ok, p := led(leader, 4, 5)()
					return ok, fmt.Sprintf("%+v; the election: %+v %v", p, answer, err)
				}
			}
			eventually(t, "the move", func() (bool, any) {
				first, p := led(4, 4, 5)()
				second, _ := led(5, 4, 5)()
				return first || second, p
			})
			eventually(t, "the preferred leader", elect(kadm.ElectPreferredReplica, 4))
			write := func(value string) {
				t.Helper()
				if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			write("on both")
			saved := vfs.NewMem()
			if old {
				b.Stop(t, 3)
				copyTree(t, b.Disk(3), "/data", saved, "/data")
				b.Restart(t, 3)
				awaitInSync(t, client, "orders", 2)
			}
			// A broker whose heartbeats were late is in no ISR for a while, and then broker 5 is the last one: once more.
			for n, alone := 0, false; !alone; n++ {
				awaitInSync(t, client, "orders", 2)
				b.Stop(t, 4)
				eventually(t, "an ISR of one", func() (bool, any) {
					ok, p := led(4, 4)()
					detail, _ := p.(kadm.PartitionDetail)
					alone = ok
					return ok || n < 5 && detail.Leader == -1 && !slices.Contains(detail.ISR, 4), p
				})
				if !alone {
					b.Restart(t, 4)
				}
			}
			write("on one")
			b.Stop(t, 3)
			eventually(t, "no leader", led(-1))
			if err := b.Disk(3).RemoveAll("/data"); err != nil {
				t.Fatal(err)
			}
			if old {
				copyTree(t, saved, "/data", b.Disk(3), "/data")
			}
			b.Restart(t, 3, 4)
			select { // time for what must not happen
			case <-time.After(2 * time.Second):
			case <-t.Context().Done():
			}
			if p := describe(t, client, "orders"); p.Leader >= 0 {
				t.Fatalf("broker %d leads; broker 4 lost what it had, broker 5 was not in sync", p.Leader)
			}
			eventually(t, "both in sync behind broker 5", elect(kadm.ElectLiveReplica, 5))
			wantAll(t, b, "orders", 1)
		})
	}
}

// A log dir of a leader fails while it runs: others lead what was there, at once. After a restart it is in use again.
func TestLogDirFailsWhileItLeads(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3), servertest.With("log.dirs", "/data/a,/data/b"), servertest.With("replica.lag.time.max.ms", "600000"))
	client := clusterClient(t, b, "orders", 6, kgo.RecordPartitioner(kgo.RoundRobinPartitioner())) // what is written to the dir shows that it fails
	produce(t, client, 0, 30, limit)
	awaitInSync(t, client, "orders", 3)
	lost := folders(b.Disk(0), "/data/b", "orders")
	if len(lost) == 0 {
		t.Fatal("nothing to lose")
	}
	b.Break(0, vfs.Fault{Path: "/data/b", Err: syscall.EIO})
	produce(t, client, 30, 60, limit) // less than replica.lag.time.max.ms: nobody waits for the replicas in that dir
	eventually(t, "other leaders of what was in the dir, and broker 1 out of their ISRs", func() (bool, any) {
		topics, err := kadm.NewClient(client).ListTopics(t.Context(), "orders")
		out := 0
		for _, p := range topics["orders"].Partitions {
			if p.Leader != 1 && !slices.Contains(p.ISR, 1) {
				out++
			}
		}
		return err == nil && out == len(lost), fmt.Sprintf("%v lost; %+v %v", lost, topics, err)
	})
	produce(t, client, 90, 10, limit)
	b.Kill(t, 0)
	b.Restart(t, 0)
	awaitInSync(t, client, "orders", 3)
	wantAll(t, b, "orders", 100)
}

// A flipped byte in a cold segment is found by the scrub, and the replica is copied anew from another one.
func TestScrubRepairsFromAnotherReplica(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3), servertest.With("log.segment.bytes", "1048576"),
		servertest.With("ottla.scrub.bytes.per.second", "1000000000"), servertest.With("log.initial.task.delay.ms", "3000"),
		servertest.With("ottla.metrics.listener", "127.0.0.1:0"))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	client := clusterClient(t, b, "orders", 1)
	value := make([]byte, 300_000)
	for range 12 {
		_, _ = rand.Read(value) // it does not fail
		if err := client.ProduceSync(t.Context(), kgo.SliceRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	awaitInSync(t, client, "orders", 3)
	const segment = "/data/orders-0/00000000000000000000.log"
	b.Stop(t, 0)
	good, err := b.Disk(0).ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	f, err := b.Disk(0).Open(segment)
	if err == nil {
		_, err = f.WriteAt([]byte{good[1000] ^ 1}, 1000)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	b.Restart(t, 0)
	awaitInSync(t, client, "orders", 3)
	preferred := kadm.TopicsSet{"orders": {0: {}}} // a leader hands over first
	if _, err := kadm.NewClient(client).ElectLeaders(t.Context(), kadm.ElectPreferredReplica, preferred); err != nil {
		t.Fatal(err)
	}
	batch := good[:12+binary.BigEndian.Uint32(good[8:])] // a copy may have other ones behind it in this segment, or fewer: that depends on how many came with one fetch
	eventually(t, "the repair", func() (bool, any) {
		b, err := b.Disk(0).ReadFile(segment)
		return err == nil && bytes.HasPrefix(b, batch), fmt.Sprint(len(b), " bytes, ", err)
	})
	awaitInSync(t, client, "orders", 3)
	for name, want := range map[string]string{"damaged_segments": "1", "repairs": "1", "failed_repairs": "0"} {
		eventually(t, "ottla_scrub_"+name+"_total "+want, func() (bool, any) {
			_, shown, _ := strings.Cut(scrape(t, b.Metrics), "\nottla_scrub_"+name+"_total ")
			shown, _, _ = strings.Cut(shown, "\n")
			return shown == want, shown
		})
	}
}

// scrape returns what /metrics shows.
func scrape(t *testing.T, addr string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
