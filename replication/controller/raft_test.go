package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFirstStartAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		n := startNode(t, fs, nil)
		cluster, err := n.Ready(t.Context())
		if err != nil || len(cluster) != 22 {
			t.Fatalf("cluster id %q, %v", cluster, err)
		}
		for i := range 20 {
			if err := n.create(t.Context(), fmt.Sprintf("t%02d", i)); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]int16{"metadata.version": 30, "group.version": 1, "transaction.version": 2, "eligible.leader.replicas.version": 1,
			"share.version": 1, "streams.version": 1, "kraft.version": 1}
		if got := n.Image().Features(); !maps.Equal(got, want) {
			t.Errorf("%v are finalized, want %v", got, want)
		}
		if got := n.Image().Config(config.Broker, ""); !maps.Equal(got, map[string]string{"min.insync.replicas": "1"}) {
			t.Errorf("the cluster's configs are %v", got)
		}
		offset, epoch := n.Image().Offset(), n.Image().Epoch()
		if !n.agrees() {
			t.Error("__cluster_metadata-0 does not describe the image")
		}
		n.close()

		n = startNode(t, fs, nil)
		if again, err := n.Ready(t.Context()); err != nil || again != cluster {
			t.Errorf("cluster id %q after a restart, was %q (%v)", again, cluster, err)
		}
		if got := n.topics(); len(got) != 20 {
			t.Errorf("%d topics after a restart", len(got))
		}
		if n.Image().Offset() <= offset || n.Image().Epoch() <= epoch {
			t.Errorf("offset %d and epoch %d do not go on from %d and %d", n.Image().Offset(), n.Image().Epoch(), offset, epoch)
		}
		if err := n.create(t.Context(), "after"); err != nil {
			t.Error(err)
		}
		if !n.agrees() {
			t.Error("__cluster_metadata-0 does not describe the image after a restart")
		}
	})
}

func TestClusterIDIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		n, err := tryStartNode(t, fs, "/data", testCluster, nil)
		if err != nil {
			t.Fatal(err)
		}
		n.close()
		n = startNode(t, fs, nil)
		if id, _ := n.Ready(t.Context()); id != testCluster {
			t.Errorf("cluster id %q", id)
		}
		n.close()
		if _, err := tryStartNode(t, fs, "/data", "AAAAAAAAAAAAAAAAAAAAAQ", nil); err == nil ||
			!strings.Contains(err.Error(), testCluster) || !strings.Contains(err.Error(), "AAAAAAAAAAAAAAAAAAAAAQ") {
			t.Errorf("the folder of another cluster: %v", err)
		}
	})
}

// TestMetadataWithoutRaftLogIsRefused: starting anew over it would be another cluster with the same offsets.
func TestMetadataWithoutRaftLogIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		n := startNode(t, fs, nil)
		n.close()
		if err := fs.RemoveAll("/data/__raft-0"); err != nil {
			t.Fatal(err)
		}
		if _, err := tryStartNode(t, fs, "/data", "", nil); err == nil || !strings.Contains(err.Error(), "no raft log") {
			t.Errorf("%v", err)
		}
	})
}

// TestMetadataLogIsRebuilt: it is never synced, so all or part of it may be gone.
func TestMetadataLogIsRebuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		n := startNode(t, fs, nil)
		for i := range 5 {
			if err := n.create(t.Context(), fmt.Sprintf("t%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		n.close()
		if err := fs.RemoveAll("/data/__cluster_metadata-0"); err != nil {
			t.Fatal(err)
		}
		n = startNode(t, fs, nil)
		if got := n.topics(); len(got) != 5 {
			t.Errorf("topics %v", got)
		}
		if !n.agrees() {
			t.Error("the log was not rebuilt")
		}
	})
}

// TestCrashKeepsWhatWasAcknowledged kills the node at a random moment of many concurrent creations, keeping only what was synced and a seeded
// part of what was not.
func TestCrashKeepsWhatWasAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range int64(12) {
			fs := vfs.NewMem()
			static := map[string]string{"metadata.log.max.record.bytes.between.snapshots": "2000"}
			acknowledged := []string{}
			for round := range 3 {
				n := startNode(t, fs, static)
				for _, name := range acknowledged {
					if n.Image().Topic(name) == nil {
						t.Fatalf("seed %d, round %d: %s was acknowledged and is lost", seed, round, name)
					}
				}
				if !n.agrees() {
					t.Fatalf("seed %d, round %d: __cluster_metadata-0 and the image differ", seed, round)
				}
				crashed := n.createUntil(t, seed, round, &acknowledged, func() *vfs.Mem { return fs.Crash(seed*10 + int64(round)) })
				n.close()
				fs = crashed
			}
		}
	})
}

// createUntil creates topics from several goroutines and crashes the disk in their midst. What was acknowledged before is noted.
func (n *node) createUntil(t *testing.T, seed int64, round int, acknowledged *[]string, crash func() *vfs.Mem) *vfs.Mem {
	var (
		mu      sync.Mutex // guards acknowledged and crashed
		crashed *vfs.Mem
		writers sync.WaitGroup
	)
	const each = 12
	for w := range 4 {
		writers.Go(func() {
			for i := range each {
				name := fmt.Sprintf("s%d-r%d-w%d-%02d", seed, round, w, i)
				if err := n.create(t.Context(), name); err != nil {
					t.Errorf("create %s: %v", name, err)
					return
				}
				mu.Lock()
				if crashed == nil {
					*acknowledged = append(*acknowledged, name)
					if w == 0 && i == int(seed)%each {
						crashed = crash()
					}
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	return crashed
}

func TestSnapshotsAreKeptAndTheLogIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		n := startNode(t, fs, map[string]string{"metadata.log.max.record.bytes.between.snapshots": "5000", "metadata.max.retention.bytes": "1"})
		q := n.quorum.(*raftQuorum)
		for i := 0; ; i++ {
			if err := n.create(t.Context(), fmt.Sprintf("t%04d", i)); err != nil {
				t.Fatal(err)
			}
			if q.machine.log.Offsets().LogStart > 0 {
				if first, err := q.entries.FirstIndex(); err != nil || first <= 1 {
					continue // the raft log is cut a moment later
				}
				break
			}
			if i == 2000 {
				t.Fatal("no log was cut after 2000 topics")
			}
		}
		want := encodeImage(n.Image().Records())
		if !n.agrees() {
			t.Error("snapshot and log do not describe the image")
		}
		n.close()
		if got := checkpoints(t, fs); len(got) != 2 {
			t.Errorf("checkpoints %v", got)
		}
		n = startNode(t, fs, nil)
		if got := n.topics(); len(got) == 0 || n.Image().Topic(got[len(got)-1]) == nil || !bytes.Contains(want, []byte(got[len(got)-1])) {
			t.Errorf("topics after a restart: %d", len(got))
		}
		topics := len(n.topics())
		n.close()

		// A damaged newest checkpoint: the one before and the raft log lead to the same image.
		names := checkpoints(t, fs)
		f, err := fs.Open("/data/__cluster_metadata-0/" + names[1])
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		if err := errors.Join(f.Truncate(size-10), f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		n = startNode(t, fs, nil)
		if got := len(n.topics()); got != topics {
			t.Errorf("%d topics from the older checkpoint, want %d", got, topics)
		}
		if !n.agrees() {
			t.Error("the log differs from the image after starting from the older checkpoint")
		}
	})
}

func checkpoints(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	entries, err := fs.List("/data/__cluster_metadata-0")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".checkpoint") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestThousandTopicsAreOneEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, vfs.NewMem(), nil)
		if err := n.create(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		q := n.quorum.(*raftQuorum)
		before, err := q.entries.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 30_000}
		for i := range 1000 {
			req.Topics = append(req.Topics, newTopicRequest(fmt.Sprintf("t%04d", i), 2, 1))
		}
		resp, err := n.Handle(t.Context(), req, Caller{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.(*kmsg.CreateTopicsResponse).Topics {
			if r.ErrorCode != 0 {
				t.Fatalf("%s: %v", r.Topic, protocol.Code(r.ErrorCode))
			}
		}
		after, err := q.entries.LastIndex()
		if err != nil || after != before+1 {
			t.Errorf("the raft log went from entry %d to %d (%v)", before, after, err)
		}
		if n.Image().TopicCount() != 1001 {
			t.Errorf("%d topics", n.Image().TopicCount())
		}
	})
}

// TestElectionTakesNoTimeout: on the real disk, whose syncs take none of the bubble's time, a node that is alone leads at once.
func TestElectionTakesNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, kind := range []string{"first start", "restart"} {
			begin := time.Now()
			n, err := tryStartNode(t, vfs.OS(), dir, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			n.close()
			t.Logf("%s: leader after %v", kind, took)
			if took > electionTimeout/2 {
				t.Errorf("%s: leader after %v, which is a timeout", kind, took)
			}
		}
	})
}

func TestCloseAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, vfs.NewMem(), nil)
		if err := n.create(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		started := make(chan struct{}, 16)
		for w := range 16 {
			callers.Go(func() {
				for i := 0; ; i++ {
					err := n.create(context.Background(), fmt.Sprintf("w%d-%d", w, i))
					if i == 0 {
						started <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, protocol.NotController) {
							t.Errorf("after Close: %v", err)
						}
						return
					}
				}
			})
		}
		for range 16 {
			<-started
		}
		n.close()
		callers.Wait()
		if _, err := n.Handle(t.Context(), &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 1000}, Caller{}); !errors.Is(err, protocol.NotController) {
			t.Errorf("a request to a closed controller: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestQuorumStateSurvivesAHalfDoneFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/data/__raft-0"); err != nil {
			t.Fatal(err)
		}
		s, err := openQuorumState(fs, "/data/__raft-0", &health{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetUint64([]byte("CurrentTerm"), 1); err != nil {
			t.Fatal(err)
		}
		n := startNode(t, fs, nil)
		if err := n.create(t.Context(), "t"); err != nil {
			t.Error(err)
		}
		if !slices.Contains(n.topics(), "t") {
			t.Error("the topic is not there")
		}
	})
}
