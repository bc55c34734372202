package storage

import (
	"io"
	"math"

	"github.com/ottla/ottla/protocol/record"
)

// batchRules is how the records of one batch are judged.
type batchRules struct {
	control    bool // a marker that stays
	expired    bool // tombstones have been kept for long enough
	tombstones int  // that stay
	records    int
}

// rewrite replaces the segments below end, in groups that fill segment.bytes, by what must stay of them.
func (p *pass) rewrite(firstDirty, end int64) error {
	n := 0
	for n < len(p.rest) && p.rest[n].base < end {
		n++
	}
	p.rest = p.rest[:n]
	p.stats.SegmentsBefore = n
	p.legacyHorizon = 0
	if i := p.view.find(firstDirty - 1); firstDirty > p.view.segments[0].base {
		modified, err := p.modified(p.view.segments[i])
		if err != nil {
			return err
		}
		p.legacyHorizon = modified - p.config.DeleteRetentionMs
	}
	aborted, err := p.abortedTxns(p.rest[0].base, p.view.segments[n].base) // the last segment may go on above end
	if err != nil {
		return err
	}
	p.txns.begin(aborted)
	groups, err := p.groups()
	if err != nil {
		return err
	}
	for _, group := range groups {
		if err := p.rewriteGroup(group); err != nil {
			return err
		}
		p.stats.Segments++
	}
	return nil
}

// groups divides the segments so that each group's sizes fit one segment, whatever stays of them (Cleaner.groupSegmentsBySize).
func (p *pass) groups() ([][]*segment, error) {
	var out [][]*segment
	var size, index, times int64
	for i, s := range p.rest {
		offsets, stamps, err := s.indexSizes()
		if err != nil {
			return nil, err
		}
		bytes := s.size.Load()
		last := p.upper - 1
		if i+1 < len(p.rest) {
			last = p.rest[i+1].base - 1
		}
		if limit := int64(p.config.SegmentIndexBytes); i > 0 && size+bytes <= int64(p.config.SegmentBytes) && index+offsets <= limit && times+stamps <= limit {
			if group := &out[len(out)-1]; bytes == 0 || last-(*group)[0].base <= math.MaxInt32 {
				*group = append(*group, s)
				size, index, times = size+bytes, index+offsets, times+stamps
				continue
			}
		}
		out = append(out, []*segment{s})
		size, index, times = bytes, offsets, stamps
	}
	return out, nil
}

// rewriteGroup writes what must stay of a group into a new segment, and puts that in the group's place.
func (p *pass) rewriteGroup(group []*segment) error {
	modified, err := p.modified(group[len(group)-1])
	if err != nil {
		return err
	}
	dest, err := p.newCleaned(group)
	if err != nil {
		return err
	}
	p.producers = p.log.lastRecords()
	p.txns.retain = dest.seg.txns.append
	for _, source := range group {
		if err = source.held(func() error { return p.rewriteSegment(source, dest) }); err != nil {
			break
		}
	}
	if err == nil && dest.same(group[0]) {
		dest.seg.abandonCleaned(p.log.fs)
		p.stats.BytesWritten += dest.pos
		p.rest = p.rest[1:]
		return nil
	}
	if err == nil {
		err = dest.finish(modified)
	}
	replaced := false
	if err == nil {
		replaced, err = p.replace(group, dest.seg)
	}
	if !replaced {
		dest.seg.abandonCleaned(p.log.fs)
	}
	if err != nil {
		return err
	}
	p.stats.BytesWritten += dest.pos
	p.rest = p.rest[len(group):]
	return nil
}

// rewriteSegment appends to dest what must stay of source.
func (p *pass) rewriteSegment(source *segment, dest *cleanedSegment) error {
	modified, err := p.modified(source)
	if err != nil {
		return err
	}
	keepLegacy := modified > p.legacyHorizon
	r := batchReader{file: source.file, end: source.size.Load(), buf: p.read}
	defer func() { p.read = keptBuffer(r.buf, p.read) }()
	for {
		h, b, err := r.next()
		if done, err := p.walked(source, &h, b, err); done || err != nil {
			return err
		}
		p.stats.BytesRead += int64(h.size)
		if h.magic < record.Magic2 {
			err = p.rewriteLegacy(b, keepLegacy, dest)
		} else {
			err = p.rewriteBatch(b, dest)
		}
		if err != nil {
			return p.inSegment(source, &h, err)
		}
	}
}

// rewriteBatch appends to dest what must stay of one batch: as it is if that is all of it.
func (p *pass) rewriteBatch(b record.Batch, dest *cleanedSegment) error {
	horizon, dated := b.DeleteHorizon()
	expired := dated && horizon <= p.now
	useless, err := p.useless(b)
	if err != nil {
		return err
	}
	p.batch = batchRules{control: b.IsControl(), expired: expired}
	if useless && (!b.IsControl() || expired) {
		p.stats.Records += int64(b.Count())
		return p.remains(b, dest)
	}
	kept, err := p.rewriter.Filter(b, p.judge)
	if err != nil {
		return err
	}
	p.stats.Records += int64(p.batch.records)
	p.stats.RecordsKept += int64(kept)
	if kept == 0 {
		return p.remains(b, dest)
	}
	undated := !dated && (p.batch.tombstones > 0 || useless && b.IsControl())
	if kept == int(b.Count()) && !undated {
		return dest.keep(b)
	}
	switch {
	case undated:
		horizon = p.now + min(max(p.config.DeleteRetentionMs, 0), math.MaxInt64-p.now)
	case !dated:
		horizon = record.NoTimestamp
	}
	return dest.change(func(buf []byte) ([]byte, error) { return p.rewriter.Rebuild(buf, b, horizon) })
}

// useless reports whether all records of b may go: those of an aborted transaction, and a marker whose transaction has nothing left.
func (p *pass) useless(b record.Batch) (bool, error) {
	if b.IsControl() {
		return p.txns.control(b)
	}
	return p.txns.data(b), nil
}

// remains writes what stays of a batch without records: nothing, but for a producer's last batch and the last one that the pass may touch. These hold a sequence number or
// an epoch, and the offset at which the next segment begins.
func (p *pass) remains(b record.Batch, dest *cleanedSegment) error {
	if !p.lastOfProducer(b) && b.NextOffset() != p.upper {
		return dest.drop()
	}
	if b.Count() == 0 {
		return dest.keep(b)
	}
	return dest.change(func(buf []byte) ([]byte, error) { return record.AppendEmpty(buf, b), nil })
}

func (p *pass) lastOfProducer(b record.Batch) bool {
	if !b.HasProducerID() {
		return false
	}
	last, ok := p.producers[b.ProducerID()]
	if !ok {
		return false
	}
	if last.lastData != noOffset {
		return b.LastOffset() == last.lastData
	}
	return b.IsControl() && b.ProducerEpoch() == last.epoch
}

// judges marks the records that go.
func (p *pass) judges(some []record.RawRecord) {
	p.batch.records += len(some)
	if p.batch.control {
		return
	}
	p.keys.look(some)
	for i := range some {
		r := &some[i]
		if r.Dropped = !p.stays(i, r); !r.Dropped && r.Tombstone {
			p.batch.tombstones++
		}
	}
}

// stays reports whether the i-th record of those that were looked up stays (Cleaner.shouldRetainRecord).
func (p *pass) stays(i int, r *record.RawRecord) bool {
	switch {
	case r.Offset > p.keys.latest:
		return true
	case r.Key == nil:
		p.stats.WithoutKey++
		return false
	}
	return r.Offset >= p.keys.get(i) && (!r.Tombstone || !p.batch.expired)
}

// cleanedSegment is the segment that a group becomes, while it is written. As long as that is the same as its one source, nothing is written.
type cleanedSegment struct {
	p       *pass
	seg     *segment
	config  LogConfig
	pos     int64 // end of what was appended
	written int64 // of it, bytes in the file; the others are in p.write
	copied  *segment
}

func (p *pass) newCleaned(group []*segment) (*cleanedSegment, error) {
	seg, err := createCleaned(p.log.fs, p.log.folder, group[0].base, nowMs())
	if err != nil {
		return nil, err
	}
	p.write = p.write[:0]
	d := &cleanedSegment{p: p, seg: seg, config: p.config}
	if len(group) == 1 {
		d.copied = group[0]
	}
	return d, nil
}

// same reports whether nothing had to be changed.
func (d *cleanedSegment) same(source *segment) bool {
	return d.copied == source && d.pos == source.size.Load()
}

// keep appends a batch as it is in the source.
func (d *cleanedSegment) keep(b record.Batch) error {
	if d.copied == nil {
		d.p.write = append(d.p.write, b...)
	}
	return d.note(b)
}

// change appends one batch that build appends to its argument.
func (d *cleanedSegment) change(build func([]byte) ([]byte, error)) error {
	if err := d.drop(); err != nil {
		return err
	}
	start := len(d.p.write)
	buf, err := build(d.p.write)
	if err != nil {
		return err
	}
	d.p.write = buf
	return d.note(buf[start:])
}

// drop says that a batch of the source does not come: from here on the two differ, and what they share is copied.
func (d *cleanedSegment) drop() error {
	if d.copied == nil {
		return nil
	}
	source := d.copied
	d.copied = nil
	for d.written < d.pos {
		n := int(min(int64(cap(d.p.write)), d.pos-d.written))
		buf := d.p.write[:n]
		if got, err := source.file.ReadAt(buf, d.written); got < n {
			return unexpectedEnd(err)
		}
		if err := d.put(buf); err != nil {
			return err
		}
	}
	d.p.write = d.p.write[:0]
	return nil
}

// note enters the batch that was just appended into the indexes, and writes what has gathered.
func (d *cleanedSegment) note(b []byte) error {
	h, _ := parseHeader(b[:min(len(b), maxHeaderSize)], d.pos)
	d.pos += int64(len(b))
	d.seg.noteBatch(&h, d.config.IndexIntervalBytes, d.config.SegmentIndexBytes/offsetEntrySize)
	if d.seg.offsets.crowded() || d.seg.times.crowded() {
		if err := d.seg.flushIndexes(); err != nil {
			return err
		}
	}
	if len(d.p.write) < cap(d.p.write)/2 {
		return nil
	}
	return d.flush()
}

func (d *cleanedSegment) flush() error {
	err := d.put(d.p.write)
	d.p.write = d.p.write[:0]
	if cap(d.p.write) > 8<<20 {
		d.p.write = make([]byte, 0, cap(d.p.read))
	}
	return err
}

func (d *cleanedSegment) put(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := d.seg.file.WriteAt(b, d.written); err != nil {
		return err
	}
	d.written += int64(len(b))
	return d.p.check(len(b))
}

// finish completes the segment's files and brings them to disk. modified is the time (ms) that the .log file is to show.
func (d *cleanedSegment) finish(modified int64) error {
	if err := d.drop(); err != nil { // the source had more: only its end is gone
		return err
	}
	if err := d.flush(); err != nil {
		return err
	}
	d.seg.size.Store(d.pos)
	d.seg.fileEnd = d.pos
	return d.seg.completeCleaned(d.p.log.fs, modified)
}

func isEnd(err error) bool { return err == io.EOF } //nolint:errorlint // readers return it bare

// unexpectedEnd is the error of a read that came short.
func unexpectedEnd(err error) error {
	if err == nil || isEnd(err) {
		return io.ErrUnexpectedEOF
	}
	return err
}
