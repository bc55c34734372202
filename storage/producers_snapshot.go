package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// Layout of a producer snapshot: int16 version, uint32 CRC-32C of all that follows it, int32 count, and the entries, in big endian.
const (
	snapshotSuffix     = ".snapshot"
	snapshotVersion    = 1
	snapshotHeaderSize = 10
	snapshotCRCEnd     = 6
	snapshotEntrySize  = 46
)

// errCorruptSnapshot is the error of a snapshot that is not whole; such a file is deleted and the one before it used.
var errCorruptSnapshot = errors.New("corrupt producer snapshot")

// snapshotPath names the snapshot of the state at offset.
func snapshotPath(dir string, offset int64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", offset)+snapshotSuffix)
}

// snapshotOffset is the opposite of snapshotPath, for the last name of a path.
func snapshotOffset(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, snapshotSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseUint(digits, 10, 63)
	return int64(offset), err == nil
}

// appendSnapshot encodes entries, which are in order of their producer ids.
func appendSnapshot(b []byte, entries []*producerEntry) []byte {
	be := binary.BigEndian
	start := len(b)
	b = be.AppendUint16(b, snapshotVersion)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		last := batchMetadata{lastSequence: noSequence, lastOffset: noOffset}
		if e.n > 0 {
			last = e.batches[e.n-1]
		}
		b = be.AppendUint64(b, uint64(e.id))
		b = be.AppendUint16(b, uint16(e.epoch))
		b = be.AppendUint32(b, uint32(last.lastSequence))
		b = be.AppendUint64(b, uint64(last.lastOffset))
		b = be.AppendUint32(b, uint32(last.offsetDelta))
		b = be.AppendUint64(b, uint64(e.lastTimestamp))
		b = be.AppendUint32(b, uint32(e.coordinatorEpoch))
		b = be.AppendUint64(b, uint64(e.txnStart))
	}
	be.PutUint32(b[start+2:], crc32.Checksum(b[start+snapshotCRCEnd:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// parseSnapshot decodes a snapshot file. Only a producer's last batch is in it.
func parseSnapshot(b []byte) ([]producerEntry, error) {
	be := binary.BigEndian
	if len(b) < snapshotHeaderSize {
		return nil, fmt.Errorf("%w: %d bytes", errCorruptSnapshot, len(b))
	}
	if v := be.Uint16(b); v != snapshotVersion {
		return nil, fmt.Errorf("%w: unknown version %d", errCorruptSnapshot, v)
	}
	if crc32.Checksum(b[snapshotCRCEnd:], crc32.MakeTable(crc32.Castagnoli)) != be.Uint32(b[2:]) {
		return nil, fmt.Errorf("%w: checksum does not match", errCorruptSnapshot)
	}
	count := be.Uint32(b[snapshotCRCEnd:])
	b = b[snapshotHeaderSize:]
	if uint64(len(b)) != uint64(count)*snapshotEntrySize {
		return nil, fmt.Errorf("%w: %d entries in %d bytes", errCorruptSnapshot, count, len(b))
	}
	entries := make([]producerEntry, 0, count)
	for ; len(b) > 0; b = b[snapshotEntrySize:] {
		e := producerEntry{
			id: int64(be.Uint64(b)), epoch: int16(be.Uint16(b[8:])), lastTimestamp: int64(be.Uint64(b[26:])),
			coordinatorEpoch: int32(be.Uint32(b[34:])), txnStart: max(noOffset, int64(be.Uint64(b[38:]))),
		}
		if offset := int64(be.Uint64(b[14:])); offset >= 0 {
			e.add(batchMetadata{lastSequence: int32(be.Uint32(b[10:])), lastOffset: offset, offsetDelta: int32(be.Uint32(b[22:])), timestamp: e.lastTimestamp})
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// listSnapshots learns which snapshots are on disk.
func (p *producerStates) listSnapshots() error {
	names, err := p.fs.List(p.dir)
	if err != nil {
		return err
	}
	p.snapshots = p.snapshots[:0]
	for _, e := range names {
		if offset, ok := snapshotOffset(e.Name()); ok && !e.IsDir() {
			p.snapshots = append(p.snapshots, offset)
		}
	}
	slices.Sort(p.snapshots)
	return nil
}

// latestSnapshot returns the offset of the newest snapshot.
func (p *producerStates) latestSnapshot() (int64, bool) {
	if len(p.snapshots) == 0 {
		return 0, false
	}
	return p.snapshots[len(p.snapshots)-1], true
}

// takeSnapshot writes the state as of end() unless that offset has one. sync says whether to bring it to disk now; a roll leaves that to flushTo,
// which syncs the files named by unsyncedSnapshot.
func (p *producerStates) takeSnapshot(sync bool) error {
	if p.mapEnd <= p.snapEnd {
		return nil
	}
	entries := make([]*producerEntry, 0, len(p.entries))
	for _, e := range p.entries {
		if !e.tentative {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *producerEntry) int { return int(max(-1, min(1, a.id-b.id))) })
	b := appendSnapshot(make([]byte, 0, snapshotHeaderSize+len(entries)*snapshotEntrySize), entries)
	if err := writeFile(p.fs, snapshotPath(p.dir, p.mapEnd), b, sync); err != nil {
		return err
	}
	p.snapUnsynced = !sync
	if i, ok := slices.BinarySearch(p.snapshots, p.mapEnd); !ok {
		p.snapshots = slices.Insert(p.snapshots, i, p.mapEnd)
	}
	p.snapEnd = p.mapEnd
	return nil
}

// truncateAndReload makes the state that of a log in [logStart, logEnd): snapshots outside are removed, and unless the state is that of logEnd already, the newest
// valid snapshot is loaded. One at logEnd is kept even if the log is empty (Kafka drops it): retention must not make a producer unknown. The caller then replays the batches from end() to logEnd with check (OriginReplication) and apply, and takes a snapshot.
func (p *producerStates) truncateAndReload(logStart, logEnd, now int64) error {
	p.discard()
	if err := p.removeSnapshots(func(o int64) bool { return o > logEnd || o <= logStart && o < logEnd }); err != nil {
		return err
	}
	if p.mapEnd == logEnd {
		p.logStartAdvanced(logStart)
		return nil
	}
	p.clearState()
	return p.load(logStart, now)
}

func (p *producerStates) clearState() {
	clear(p.entries)
	p.ongoing, p.unreplicated = p.ongoing[:0], p.unreplicated[:0]
}

// load takes the newest valid snapshot, removing the corrupt ones above it; without any, the state is empty as of logStart.
func (p *producerStates) load(logStart, now int64) error {
	for len(p.snapshots) > 0 {
		offset := p.snapshots[len(p.snapshots)-1]
		path := snapshotPath(p.dir, offset)
		var entries []producerEntry
		data, err := p.fs.ReadFile(path)
		switch {
		case err == nil:
			entries, err = parseSnapshot(data)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err != nil {
			p.logger.Warn("producer snapshot is not usable", zap.String("path", path), zap.Error(err))
			if err := p.removeSnapshots(func(o int64) bool { return o == offset }); err != nil {
				return err
			}
			continue
		}
		for i := range entries {
			p.restore(&entries[i], now)
		}
		p.snapEnd, p.mapEnd = offset, offset
		return nil
	}
	p.snapEnd, p.mapEnd = logStart, logStart
	return nil
}

func (p *producerStates) restore(e *producerEntry, now int64) {
	if p.expired(e, now) {
		return
	}
	own := *e
	p.enter(&own)
	if e.txnStart != noOffset {
		p.ongoing = insertTxn(p.ongoing, txn{producerID: e.id, firstOffset: e.txnStart, lastOffset: noOffset})
	}
}

// logStartAdvanced follows the log start offset: what lies below it no longer holds back the last stable offset. Producers stay known.
func (p *producerStates) logStartAdvanced(logStart int64) {
	p.highWatermarkAdvanced(logStart)
	p.mapEnd = max(p.mapEnd, logStart)
	p.snapEnd = logStart
	if latest, ok := p.latestSnapshot(); ok {
		p.snapEnd = latest
	}
}

// resetTo forgets everything and removes all snapshots; the log is empty and starts at offset.
func (p *producerStates) resetTo(offset int64) error {
	p.discard()
	p.clearState()
	p.snapEnd, p.mapEnd = 0, offset
	return p.removeSnapshots(func(int64) bool { return true })
}

// detachSnapshot forgets the snapshot at offset, if there is one, and returns its path: the caller deletes the file with its segment.
func (p *producerStates) detachSnapshot(offset int64) (path string, ok bool) {
	i, ok := slices.BinarySearch(p.snapshots, offset)
	if !ok {
		return "", false
	}
	p.snapshots = slices.Delete(p.snapshots, i, i+1)
	return snapshotPath(p.dir, offset), true
}

// removeStraySnapshots keeps the snapshots at the segments' base offsets and the newest of all: what an earlier stop left otherwise is not needed.
func (p *producerStates) removeStraySnapshots(bases []int64) error {
	newest := int64(math.MinInt64)
	for _, o := range p.snapshots {
		if !slices.Contains(bases, o) {
			newest = o
		}
	}
	if len(bases) > 0 && newest < slices.Max(bases) {
		newest = math.MinInt64
	}
	return p.removeSnapshots(func(o int64) bool { return o != newest && !slices.Contains(bases, o) })
}

func (p *producerStates) removeSnapshots(which func(offset int64) bool) error {
	var failed error
	p.snapshots = slices.DeleteFunc(p.snapshots, func(o int64) bool {
		if !which(o) {
			return false
		}
		if err := p.fs.Remove(snapshotPath(p.dir, o)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = err
			return false
		}
		return true
	})
	return failed
}

// syncSnapshot brings the snapshot at offset to disk, if it is there: part of flushing the segments below offset.
func syncSnapshot(fsys vfs.FS, dir string, offset int64) error {
	f, err := fsys.Open(snapshotPath(dir, offset))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// moved tells the state that its log's folder is now dir.
func (p *producerStates) moved(dir string) { p.dir = dir }
