package golden

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/integration/datadir"
	"github.com/ottla/ottla/integration/process"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

const (
	bigTopic      = "big"
	bigValue      = 1000
	defaultBig    = 32 << 20
	cleaningLimit = 5 * time.Minute
)

// TestCompactionAsApacheKafka has Apache Kafka and Ottla compact one and the same folder, and leave the same records. The folder has OTTLA_COMPACT_BYTES, else few; what both
// spend on a large one is measured by integration/bench.
func TestCompactionAsApacheKafka(t *testing.T) {
	size := int64(defaultBig)
	if text := os.Getenv("OTTLA_COMPACT_BYTES"); text != "" {
		var err error
		size, err = strconv.ParseInt(text, 10, 64)
		must(t, err)
	}
	from := t.TempDir()
	writeBig(t, from, size)

	b := process.New(t, "node.id=1", "process.roles=broker,controller", "log.cleaner.backoff.ms=200", "offsets.topic.num.partitions=1")
	b.Start(t)
	must(t, datadir.CreateCompacted(t.Context(), b.Addr, bigTopic))
	b.Stop(t)
	_, err := datadir.Adopt(from, b.Dir, true)
	must(t, err)
	b.Start(t)
	own := compacted(t, b.Addr, b.Dir)
	b.Stop(t)

	// Apache Kafka calls a log uncleanable for good when a segment that is left has more index entries than a new index may have.
	k := newKafka(t, newest, "log.cleaner.dedupe.buffer.size=134217728", "log.index.size.max.bytes=10485760")
	k.start(t)
	must(t, datadir.CreateCompacted(t.Context(), k.addr, bigTopic))
	k.stop(t)
	_, err = datadir.Adopt(from, k.data, true)
	must(t, err)
	k.start(t)
	theirs := compacted(t, k.addr, k.data)
	report(t, "compacted by Ottla", own.Sealed().WithoutEpochs(), theirs.Sealed().WithoutEpochs())
}

// writeBig writes a folder of the topic: each key ten times over, in batches of 16 KiB.
func writeBig(t *testing.T, dir string, size int64) {
	t.Helper()
	codecs := record.NewCodecs()
	defer codecs.Close()
	c := storage.LogConfigOf(config.Defaults().Topic(nil))
	c.SegmentBytes = int(min(100<<20, size/4))
	tp := protocol.TopicPartition{Topic: bigTopic}
	l, err := storage.OpenLog(vfs.OS(), filepath.Join(dir, tp.String()), tp, c, codecs, zap.NewNop())
	must(t, err)
	rng, now := rand.New(rand.NewPCG(1, 1)), time.Now().UnixMilli()
	keys, value := size/bigValue/10, make([]byte, bigValue)
	w := record.NewBuilder()
	for l.Offsets().LogEnd*bigValue < size {
		w.Reset()
		w.ProducerID, w.ProducerEpoch, w.BaseSequence, w.LeaderEpoch = -1, -1, -1, 0
		for range 16 {
			for i := 0; i < len(value); i += 8 {
				binary.LittleEndian.PutUint64(value[i:], rng.Uint64())
			}
			w.Add(now, fmt.Appendf(nil, "key-%012d", rng.Int64N(keys)), value)
		}
		b, err := w.Build(nil)
		must(t, err)
		_, err = l.Append(b, storage.AppendOptions{Origin: storage.OriginClient, Now: now})
		must(t, err)
	}
	must(t, l.Roll())
	must(t, l.Close())
}

// compacted lets the cleaner of a running broker begin, and returns what it leaves.
func compacted(t *testing.T, addr, dir string) datadir.Partitions {
	t.Helper()
	must(t, datadir.CompactTopics(t.Context(), addr, bigTopic))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(cleaningLimit); ; {
		done, err := datadir.Cleaned(dir, bigTopic)
		must(t, err)
		if done {
			break
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the cleaner did not come to an end")
		}
	}
	left, err := datadir.Observe(t.Context(), addr, bigTopic)
	must(t, err)
	return left
}
