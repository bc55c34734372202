package storage

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// crcFrom is where in a batch the bytes begin that its checksum covers.
const crcFrom = 21

var damagedLog = tpOf("t", 0)

// damageRun is one log dir whose files are damaged between two lives of its Store.
type damageRun struct {
	rng     *rand.Rand
	mem     *vfs.Mem
	batches [][]byte // as appended, by number; each holds its number as the value of its first record
	ends    []int64  // offsets after them
	synced  int64    // the log is flushed up to here
	clean   bool
	hit     map[string]bool // suffixes and names of the files that were damaged
}

// TestDamage flips bits in the files of a stopped or killed Store, cuts them and appends noise to them. The next start neither panics nor hands out bytes that were not
// appended and pass for good; damage of what can be built anew changes nothing; and where offsets are lost, a warning says so.
func TestDamage(t *testing.T) {
	run := func(t *testing.T, seed int64) {
		d := &damageRun{rng: rand.New(rand.NewPCG(uint64(seed), 11)), mem: vfs.NewMem(), hit: map[string]bool{}}
		d.write(t)
		for range 1 + d.rng.IntN(3) {
			d.damage(t)
		}
		d.reopen(t)
	}
	eachSeedInBubble(t, 400, run)
	for _, seed := range []int64{867, 1774, 2316, 2590} { // the index points into a batch, at what passes for a header
		synctest.Test(t, func(t *testing.T) { run(t, seed) })
	}
}

// write fills a log with idempotent and transactional batches over several segments and epochs, and ends the Store.
func (d *damageRun) write(t *testing.T) {
	s := openStore(t, storeOptions(t, d.mem, nil, "a"))
	if err := s.SetClusterID("c"); err != nil {
		t.Fatal(err)
	}
	l := create(t, s, damagedLog, protocol.NewUUID())
	config := l.Config()
	config.SegmentBytes, config.IndexIntervalBytes = 2000+d.rng.IntN(3000), 200
	l.Configure(config)
	sequence := int32(0)
	for i := range 40 + d.rng.IntN(60) {
		w := record.NewBuilder()
		w.ProducerID, w.ProducerEpoch, w.BaseSequence = 7, 0, sequence
		for range 1 + d.rng.IntN(4) {
			w.Add(time.Now().UnixMilli(), []byte("key"), append(binary.BigEndian.AppendUint32(nil, uint32(i)), make([]byte, d.rng.IntN(200))...))
			sequence++
		}
		b := finish(t, w)
		info, err := l.Append(b, AppendOptions{LeaderEpoch: int32(i / 20), Origin: OriginClient, Now: time.Now().UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		d.batches, d.ends = append(d.batches, bytes.Clone(b)), append(d.ends, info.LastOffset+1)
		if d.rng.IntN(15) == 0 {
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			d.synced = info.LastOffset + 1
		}
		time.Sleep(time.Duration(d.rng.IntN(3000)) * time.Millisecond)
	}
	if d.clean = d.rng.IntN(2) == 0; d.clean {
		closeStore(t, s)
		return
	}
	synctest.Wait()
	kill(t, s)
}

// damage spoils one file.
func (d *damageRun) damage(t *testing.T) {
	var files []string
	for _, dir := range []string{"a", "a/" + damagedLog.String()} {
		for _, name := range names(t, d.mem, dir) {
			if strings.Contains(name, ".") || strings.Contains(name, "checkpoint") {
				files = append(files, dir+"/"+name)
			}
		}
	}
	files = slices.DeleteFunc(files, func(p string) bool {
		return path.Base(p) == damagedLog.String() || path.Base(p) == metaPropertiesName || path.Base(p) == lockName
	})
	name := files[d.rng.IntN(len(files))]
	if d.rng.IntN(2) == 0 { // the .log files are what matters most
		logs := slices.DeleteFunc(files, func(p string) bool { return !strings.HasSuffix(p, logSuffix) })
		name = logs[d.rng.IntN(len(logs))]
	}
	data := mustRead(t, d.mem, name)
	switch n := d.rng.IntN(6); {
	case len(data) == 0 || n == 0:
		noise := make([]byte, 1+d.rng.IntN(200))
		for i := range noise {
			noise[i] = byte(d.rng.Uint32())
		}
		data = append(data, noise...)
	case n == 1:
		data = data[:d.rng.IntN(len(data))]
	case n == 2:
		from := d.rng.IntN(len(data))
		clear(data[from:min(len(data), from+1+d.rng.IntN(500))])
	default:
		for range 1 + d.rng.IntN(3) {
			data[d.rng.IntN(len(data))] ^= 1 << d.rng.IntN(8)
		}
	}
	if err := writeFile(d.mem, name, data, false); err != nil {
		t.Fatal(err)
	}
	d.hit[filepath.Ext(name)+" "+path.Base(name)] = true
}

// damaged reports whether any file was hit whose name ends so.
func (d *damageRun) damaged(suffix string) bool {
	for name := range d.hit {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func (d *damageRun) reopen(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	o := storeOptions(t, d.mem, nil, "a")
	o.Logger = zap.New(core)
	s, err := Open(o)
	if err != nil {
		if !d.damaged(logSuffix) && !d.damaged(partitionMetadataName) && !d.damaged(epochCheckpointName) {
			t.Errorf("%v: %v", d.hit, err)
		}
		return
	}
	defer closeOrKill(s)
	l := s.Log(damagedLog)
	if l == nil {
		if s.Dirs()[0].Offline == nil {
			t.Errorf("%v: the log is gone and its dir is well", d.hit)
		}
		return
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
	offsets, end := l.Offsets(), d.ends[len(d.ends)-1]
	if offsets.LogEnd < end && logs.Len() == 0 {
		t.Errorf("%v: ends at %d and not %d, and nobody was told", d.hit, offsets.LogEnd, end)
	}
	whole := !d.damaged(logSuffix) && !d.damaged(logStartCheckpoint)
	if whole && (offsets.LogEnd != end || offsets.LogStart != 0) {
		t.Errorf("%v: %+v, want 0 to %d", d.hit, offsets, end)
	}
	d.read(t, l, whole)
	d.readOn(t, l)
}

// closeOrKill stops a Store whose files may not let it stop cleanly.
func closeOrKill(s *Store) { _ = s.Close() }

// read reads from the start to the end; all of it must be there if whole.
func (d *damageRun) read(t *testing.T, l *Log, whole bool) {
	t.Helper()
	next, o := 0, l.Offsets()
	for offset := o.LogStart; offset < o.LogEnd; {
		b, err := d.readAt(t, l, offset)
		if err != nil || len(b) == 0 {
			if whole {
				t.Errorf("%v: at %d of %d: %v", d.hit, offset, o.LogEnd, err)
				return
			}
			offset++ // as a client that skips what it cannot read
			continue
		}
		if whole && !bytes.Equal(b[crcFrom:], d.batches[next][crcFrom:]) {
			t.Errorf("%v: batch %d at %d is another one", d.hit, next, offset)
			return
		}
		next++
		offset = max(offset+1, b.NextOffset())
	}
	if whole && next != len(d.batches) {
		t.Errorf("%v: %d batches of %d", d.hit, next, len(d.batches))
	}
}

// readAt reads the batch with offset, and verifies that it is one that was appended, or that its checksum tells that it is not.
func (d *damageRun) readAt(t *testing.T, l *Log, offset int64) (record.Batch, error) {
	t.Helper()
	s, err := l.Read(offset, l.Offsets().LogEnd, 1, true)
	if err != nil {
		return nil, err
	}
	defer s.Release()
	data := make([]byte, s.Len())
	if _, err := io.ReadFull(io.NewSectionReader(s, 0, int64(s.Len())), data); err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, nil
	}
	b, _, err := record.NextBatch(data)
	if err == nil {
		err = b.Check()
	}
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(d.batches, func(w []byte) bool { return bytes.Equal(w[crcFrom:], b[crcFrom:]) }) {
		t.Errorf("%v: offset %d gives bytes that were never appended, with a valid checksum", d.hit, offset)
	}
	return b, nil
}

// readOn appends behind what is left and reads that.
func (d *damageRun) readOn(t *testing.T, l *Log) {
	t.Helper()
	end := l.Offsets().LogEnd
	w := record.NewBuilder()
	w.Add(time.Now().UnixMilli(), nil, []byte("after"))
	b := finish(t, w)
	info, err := l.Append(b, AppendOptions{LeaderEpoch: 100, Origin: OriginClient, Now: time.Now().UnixMilli()})
	if err != nil || info.FirstOffset != end {
		t.Errorf("%v: appended at %d and not %d: %v", d.hit, info.FirstOffset, end, err)
		return
	}
	d.batches = append(d.batches, bytes.Clone(b))
	got, err := d.readAt(t, l, end)
	if err != nil || len(got) == 0 || !bytes.Equal(got[crcFrom:], b[crcFrom:]) {
		t.Errorf("%v: read %x at %d, %v", d.hit, got, end, err)
	}
}
