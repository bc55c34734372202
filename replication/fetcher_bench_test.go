//go:build unix

package replication

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReplication is what a follower does with what it has received, on the system's files: processor seconds for each GB. An operation is one answer of
// 1 MiB.
func BenchmarkReplication(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("batches=%dKiB", size>>10), func(b *testing.B) { benchmarkReplication(b, size) })
	}
}

func benchmarkReplication(b *testing.B, size int) {
	values, codecs := config.Defaults(), record.NewCodecs()
	defer codecs.Close()
	store, err := storage.Open(storage.Options{FS: vfs.OS(), Dirs: []string{b.TempDir()}, NodeID: self, Config: values, Codecs: codecs, Logger: zap.NewNop()})
	if err == nil {
		err = store.SetClusterID("cluster")
	}
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	h := &host{t: b, store: store, image: metadata.Empty()}
	turn, done := make(chan struct{}), make(chan struct{})
	id := protocol.NewUUID()
	leader := newEndlessLeader(id, size)
	peer := peerFunc(func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
		select {
		case done <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		select {
		case <-turn:
			return leader.next(), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	h.Manager = NewManager(Options{NodeID: self, Store: store, Codecs: codecs, Logger: zap.NewNop(), Peers: peer, Config: func() config.Values { return values }})
	defer h.Close()
	h.register(1)
	h.follow(id, 0)
	<-done
	b.SetBytes(int64(leader.size()))
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime()
	for range b.N {
		turn <- struct{}{}
		<-done
	}
	b.StopTimer()
	b.ReportMetric((processorTime()-before).Seconds()/(float64(b.N)*float64(leader.size())/1e9), "cpu-s/GB")
}

// endlessLeader has always another answer of about 1 MiB.
type endlessLeader struct {
	resp    *kmsg.FetchResponse
	batches []record.Batch
	offset  int64
}

func newEndlessLeader(id protocol.UUID, size int) *endlessLeader {
	one := batch(string(make([]byte, size)))
	l := &endlessLeader{resp: kmsg.NewPtrFetchResponse()}
	var all []byte
	for range max(1, 1<<20/len(one)) {
		all = append(all, one...)
	}
	for rest := all; len(rest) > 0; rest = rest[len(one):] {
		l.batches = append(l.batches, record.Batch(rest[:len(one)]))
	}
	p := kmsg.NewFetchResponseTopicPartition()
	p.RecordBatches = all
	l.resp.Version, l.resp.SessionID = 18, 7
	l.resp.Topics = []kmsg.FetchResponseTopic{{TopicID: id, Partitions: []kmsg.FetchResponseTopicPartition{p}}}
	return l
}

func (l *endlessLeader) size() int { return len(l.resp.Topics[0].Partitions[0].RecordBatches) }

func (l *endlessLeader) next() *kmsg.FetchResponse {
	for _, b := range l.batches {
		b.SetBaseOffset(l.offset)
		b.SetLeaderEpoch(0)
		l.offset++
	}
	l.resp.Topics[0].Partitions[0].HighWatermark = l.offset
	return l.resp
}

// BenchmarkFullFetch is a fetcher's side of a new session of many partitions, up to the bytes of the request.
func BenchmarkFullFetch(b *testing.B) {
	topic, all := protocol.NewUUID(), map[followedKey]*followed{}
	for p := range int32(10_000) {
		key := followedKey{topic, p}
		all[key] = &followed{key: key, ready: true}
	}
	r := newFetchRound(1<<20, false)
	r.req.SetVersion(18)
	var out []byte
	for b.Loop() {
		r.restart(true, all)
		if !r.build(all) {
			b.Fatal("nothing to ask")
		}
		out = r.req.AppendTo(out[:0])
	}
}
