package golden

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	clockTicks    = 100 // per second, of /proc/<pid>/stat on Linux
	cleaningLimit = 10 * time.Minute
)

// TestCompactionAsApacheKafka has Apache Kafka and Ottla compact one and the same folder, and leave the same records; how much CPU time each takes is logged. The folder has
// OTTLA_COMPACT_BYTES, else few.
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
	ottla := cleaningCost(t, b.Pid(), b.Addr, b.Dir)
	own, err := datadir.Observe(t.Context(), b.Addr, bigTopic)
	must(t, err)
	b.Stop(t)
	for line := range strings.Lines(b.Output()) {
		if strings.Contains(line, "compacted log") {
			t.Log(strings.TrimSpace(line))
		}
	}

	k := newKafka(t, newest)
	k.jvm = []string{"-Xmx1g", "-Xms1g"} // as its start script does
	f, err := os.OpenFile(k.properties, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("log.cleaner.dedupe.buffer.size=134217728\n")
	must(t, err)
	must(t, f.Close())
	k.start(t)
	must(t, datadir.CreateCompacted(t.Context(), k.addr, bigTopic))
	k.stop(t)
	_, err = datadir.Adopt(from, k.data, true)
	must(t, err)
	k.start(t)
	kafka := cleaningCost(t, k.cmd.Process.Pid, k.addr, k.data)
	theirs, err := datadir.Observe(t.Context(), k.addr, bigTopic)
	must(t, err)
	t.Logf("compaction of %d MiB: Ottla %.2f CPU seconds, Apache Kafka %.2f: %.2f of it", size>>20, ottla, kafka, ottla/kafka)
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

// cleaningCost lets the cleaner of a running broker begin, and returns the CPU seconds until it is done.
func cleaningCost(t *testing.T, pid int, addr, dir string) float64 {
	t.Helper()
	rest := time.NewTimer(0)
	for last := math.Inf(-1); ; { // until a start's own work is done
		rest.Reset(2 * time.Second)
		<-rest.C
		now := cpuSeconds(t, pid)
		if now-last < 0.3 {
			break
		}
		last = now
	}
	began := cpuSeconds(t, pid)
	must(t, datadir.CompactTopics(t.Context(), addr, bigTopic))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(cleaningLimit)
	for {
		done, err := datadir.Cleaned(dir, bigTopic)
		must(t, err)
		if done {
			return cpuSeconds(t, pid) - began
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("the cleaner did not come to an end")
		}
	}
}

func cpuSeconds(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.ParseFloat(fields[11], 64)
	must(t, err)
	system, err := strconv.ParseFloat(fields[12], 64)
	must(t, err)
	return (user + system) / clockTicks
}
