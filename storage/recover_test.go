package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// testHost is the host of logs in tests: it keeps what it is asked to do until the test does it.
type testHost struct {
	flushes  []int64
	deleted  []string
	failures []error
	points   []int64
}

func (h *testHost) flushLater(_ *Log, offset int64) { h.flushes = append(h.flushes, offset) }
func (h *testHost) flush(*Log) *flushTicket         { return nil }
func (h *testHost) deleteLater(_ *Log, _ int64, paths ...string) {
	h.deleted = append(h.deleted, paths...)
}
func (h *testHost) failed(_ *Log, err error) { h.failures = append(h.failures, err) }
func (h *testHost) truncated(l *Log) error {
	h.points = append(h.points, l.recoveryPoint.Load())
	return nil
}

// openHosted opens a log as a Store would.
func openHosted(t testing.TB, fsys vfs.FS, h host, c LogConfig, set func(*openOptions)) *Log {
	t.Helper()
	codecs := record.NewCodecs()
	o := openOptions{fs: fsys, dir: testDir, tp: testPartition, config: c, codecs: codecs, logger: zap.NewNop(), host: h, fresh: true,
		producers: producerConfig{expirationMs: 1 << 40}}
	if set != nil {
		set(&o)
	}
	if err := fsys.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.discard()
		codecs.Close()
	})
	return l
}

func file(base int64, suffix string) string { return filepath.Join(testDir, segmentName(base)+suffix) }

func mustRead(t testing.TB, fsys vfs.FS, path string) []byte {
	t.Helper()
	b, err := fsys.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// appendTo adds bytes to a file behind the log's back.
func appendTo(t testing.TB, fsys vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fsys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt(b, size)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRecoveryCutsTheTornTail(t *testing.T) {
	whole := plainBatch(t, 3, 500)
	whole.SetBaseOffset(10)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-1]++
	old := plainBatch(t, 3, 500)
	old.SetBaseOffset(4)
	for name, tail := range map[string][]byte{
		"part of a header": whole[:30], "part of a batch": whole[:80], "zeros": make([]byte, 500), "wrong checksum": flipped,
		"an offset that was used": old, "noise": []byte(strings.Repeat("noise", 50)),
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			l := openTestLog(t, mem, testConfig(1<<20))
			for i := range 5 {
				mustAppend(t, l, plainBatch(t, 2, int64(i)))
			}
			good := mustRead(t, mem, file(0, logSuffix))
			appendTo(t, mem, file(0, logSuffix), tail)
			core, logs := observer.New(zapcore.WarnLevel)
			again, err := OpenLog(mem, testDir, testPartition, testConfig(1<<20), record.NewCodecs(), zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if end := checkDense(t, again); end != 10 {
				t.Errorf("log ends at %d", end)
			}
			if !bytes.Equal(mustRead(t, mem, file(0, logSuffix)), good) {
				t.Error("the file is not what was appended")
			}
			if logs.Len() != 1 {
				t.Fatalf("%d warnings: %v", logs.Len(), logs.All())
			}
			f := logs.All()[0].ContextMap()
			if f["path"] != file(0, logSuffix) || f["end offset"] != int64(10) || f["bytes cut"] != int64(len(tail)) {
				t.Errorf("warning says %v", f)
			}
			if info := mustAppend(t, again, plainBatch(t, 1, 9)); info.FirstOffset != 10 {
				t.Errorf("append after recovery at %d", info.FirstOffset)
			}
		})
	}
}

func TestRecoveryBuildsIndexesAndEpochsAnew(t *testing.T) {
	mem := vfs.NewMem()
	l := openTestLog(t, mem, testConfig(1<<20))
	for i := range 50 {
		if _, err := l.Append(plainBatch(t, 2, int64(i)), AppendOptions{LeaderEpoch: int32(i / 10), Origin: OriginCoordinator}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for _, name := range []string{segmentName(0) + indexSuffix, segmentName(0) + timeIndexSuffix, epochCheckpointName, segmentName(100) + snapshotSuffix} {
		want[name] = mustRead(t, mem, filepath.Join(testDir, name))
		if len(want[name]) == 0 {
			t.Fatalf("%s is empty", name)
		}
		if err := mem.Remove(filepath.Join(testDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := mem.Remove(filepath.Join(testDir, cleanShutdownName)); err != nil {
		t.Fatal(err)
	}
	again := openTestLog(t, mem, testConfig(1<<20))
	checkDense(t, again)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range want {
		if got := mustRead(t, mem, filepath.Join(testDir, name)); !bytes.Equal(got, b) {
			t.Errorf("%s is not the same: %d and %d bytes", name, len(got), len(b))
		}
	}
}

func TestCleanStopIsTrusted(t *testing.T) {
	mem := vfs.NewMem()
	l := openTestLog(t, mem, testConfig(400))
	for i := range 10 {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	faulty := vfs.NewFaulty(mem)
	hits, _ := faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Pattern: "*.log"})
	created, _ := faulty.Inject(vfs.Fault{Op: vfs.OpCreate, Pattern: "*index"})
	l = openTestLog(t, faulty, testConfig(400))
	if end := checkDense(t, l); end != 20 || hits() != 0 || created() != 0 {
		t.Errorf("end %d, %d writes, %d indexes made", end, hits(), created())
	}
}

func TestLeftoversAtLoad(t *testing.T) {
	mem := vfs.NewMem()
	l := openTestLog(t, mem, testConfig(400))
	for i := range 9 {
		mustAppend(t, l, plainBatch(t, 2, int64(i)))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile := func(from, to string) {
		if err := writeFile(mem, to, mustRead(t, mem, from), false); err != nil {
			t.Fatal(err)
		}
	}
	both := append(mustRead(t, mem, file(0, logSuffix)), mustRead(t, mem, file(6, logSuffix))...)
	if err := writeFile(mem, file(0, logSuffix+swapSuffix), both, false); err != nil { // segments 0 and 6 compacted into one
		t.Fatal(err)
	}
	copyFile(file(0, indexSuffix), file(0, indexSuffix+swapSuffix))
	copyFile(file(0, timeIndexSuffix), file(0, timeIndexSuffix+swapSuffix))
	copyFile(file(12, logSuffix), file(12, logSuffix+cleanedSuffix))
	copyFile(file(12, logSuffix), file(12, logSuffix+deletedSuffix))
	copyFile(file(12, indexSuffix), file(77, indexSuffix))
	l = openTestLog(t, mem, testConfig(400))
	if end := checkDense(t, l); end != 18 {
		t.Errorf("log ends at %d", end)
	}
	if n := len(l.view.Load().segments); n != 2 {
		t.Errorf("%d segments", n)
	}
	entries, err := mem.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), swapSuffix) || strings.Contains(e.Name(), cleanedSuffix) || strings.Contains(e.Name(), deletedSuffix) ||
			strings.HasPrefix(e.Name(), segmentName(77)) || strings.HasPrefix(e.Name(), segmentName(6)) && !strings.HasSuffix(e.Name(), snapshotSuffix) {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// TestHostedCrashes stops a log at random moments by power loss, many times in a row. What was synced must be there, what is there must be a dense
// first part of what was appended, and the log must go on from there.
func TestHostedCrashes(t *testing.T) {
	eachSeed(t, 150, crashRun)
}

func crashRun(t *testing.T, seed int64) {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	mem := vfs.NewMem()
	var appended [][]byte // by offset: one record each
	var synced, point int64
	config := testConfig(500 + rng.IntN(2000))
	for round := range 4 {
		h := &testHost{}
		l := openHosted(t, mem, h, config, func(o *openOptions) { o.recoveryPoint, o.fresh = point, round == 0 })
		end := checkDense(t, l)
		if end < synced || end > int64(len(appended)) {
			t.Fatalf("round %d: log ends at %d; %d were synced of %d", round, end, synced, len(appended))
		}
		compareLog(t, l, appended[:end])
		appended = appended[:end]
		crashWork(t, rng, l, h, &appended, &synced, &point)
		mem = mem.Crash(rng.Int64())
		l.discard()
	}
}

// crashWork appends, syncs, flushes and truncates at random. point is what the store's checkpoint says.
func crashWork(t *testing.T, rng *rand.Rand, l *Log, h *testHost, appended *[][]byte, synced, point *int64) {
	for range 20 + rng.IntN(60) {
		switch n := rng.IntN(20); {
		case n < 15:
			w := record.NewBuilder()
			w.Add(int64(len(*appended)), nil, bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(300)))
			b := finished(t, w)
			if info := mustAppend(t, l, b); info.FirstOffset != int64(len(*appended)) {
				t.Fatalf("appended at %d", info.FirstOffset)
			}
			*appended = append(*appended, b)
		case n == 15:
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			*synced = l.Offsets().LogEnd
		case n == 16 && len(h.flushes) > 0:
			if err := l.flushTo(h.flushes[0]); err != nil {
				t.Fatal(err)
			}
			*synced = max(*synced, h.flushes[0])
			h.flushes = h.flushes[1:]
		case n == 17:
			*point, _, _ = l.checkpoints()
		case n == 18 && rng.IntN(3) == 0:
			o := l.Offsets()
			to := max(0, o.LogEnd-rng.Int64N(10))
			if err := l.TruncateTo(to); err != nil {
				t.Fatal(err)
			}
			*appended = (*appended)[:to]
			*synced = min(*synced, to)
			if n := len(h.points); n > 0 {
				*point, h.points = min(*point, h.points[n-1]), nil
			}
			h.flushes = nil
		}
	}
}

func compareLog(t *testing.T, l *Log, want [][]byte) {
	t.Helper()
	i := 0
	if err := l.Batches(t.Context(), 0, func(b record.Batch) error {
		if !bytes.Equal(b[21:], want[i][21:]) {
			return fmt.Errorf("batch %d has other bytes", i)
		}
		i++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range l.view.Load().segments { // the indexes lead to every offset
		if s.base < int64(len(want)) {
			got, err := l.Read(s.base, int64(len(want)), 1, true)
			if err != nil {
				t.Fatal(err)
			}
			if b := basesOf(t, readAll(t, got)); len(b) != 1 || b[0] != s.base {
				t.Fatalf("read at %d gives %v", s.base, b)
			}
		}
	}
}

// TestStandaloneCrashes is the same for a log on its own, which has neither checkpoints nor anybody to flush later.
func TestStandaloneCrashes(t *testing.T) {
	eachSeed(t, 100, func(t *testing.T, seed int64) {
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		mem := vfs.NewMem()
		var appended [][]byte
		var synced int64
		config := testConfig(500 + rng.IntN(1000))
		for range 4 {
			l := openTestLog(t, mem, config)
			end := checkDense(t, l)
			if end < synced || end > int64(len(appended)) {
				t.Fatalf("seed %d: log ends at %d; %d were synced of %d", seed, end, synced, len(appended))
			}
			compareLog(t, l, appended[:end])
			appended = appended[:end]
			var point int64
			crashWork(t, rng, l, &testHost{}, &appended, &synced, &point)
			if rng.IntN(4) == 0 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				synced = int64(len(appended))
			}
			mem = mem.Crash(rng.Int64())
			l.discard()
		}
	})
}

func TestMissingFolderFails(t *testing.T) {
	o := openOptions{fs: vfs.NewMem(), dir: testDir, tp: testPartition, config: testConfig(1000), logger: zap.NewNop()}
	if _, err := openLog(o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// FuzzRecover puts any bytes behind a good log: loading must not fail, keep what was good, and leave a log that can be appended to.
func FuzzRecover(f *testing.F) {
	next := record.NewBuilder()
	next.Add(1, []byte("k"), []byte("v"))
	b, err := next.Build(nil)
	if err != nil {
		f.Fatal(err)
	}
	b.SetBaseOffset(4)
	for _, seed := range [][]byte{nil, {0}, make([]byte, 100), bytes.Clone(b), bytes.Clone(b[:40]), append(bytes.Clone(b), b...)} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, tail []byte, onlyTail bool) {
		mem := vfs.NewMem()
		l := openTestLog(t, mem, testConfig(1<<20))
		least := int64(0)
		if !onlyTail {
			mustAppend(t, l, plainBatch(t, 2, 1))
			mustAppend(t, l, plainBatch(t, 2, 1))
			least = 4
		}
		appendTo(t, mem, file(0, logSuffix), tail)
		l.discard()
		l = openTestLog(t, mem, testConfig(1<<20))
		end := l.Offsets().LogEnd
		if end < least {
			t.Fatalf("log ends at %d", end)
		}
		if err := l.Batches(t.Context(), 0, func(record.Batch) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if end > 1<<62 {
			return
		}
		if info := mustAppend(t, l, plainBatch(t, 1, 5)); info.FirstOffset != end {
			t.Fatalf("appended at %d where the log ended at %d", info.FirstOffset, end)
		}
	})
}
