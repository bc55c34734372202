package logdump

import (
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"strings"
)

// The sizes of entries in bytes.
const (
	offsetEntrySize   = 8
	timeEntrySize     = 12
	txnEntrySize      = 34
	producerEntrySize = 46
	snapshotHeadSize  = 10
)

// baseOf is the offset in the name of a file.
func baseOf(path string) int64 {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	base, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return 0 // the file was renamed: its offsets are shown as they stand in it
	}
	return base
}

// index prints an offset, time or transaction index.
func (d *Dumper) index(k kind, path string, b []byte) error {
	base, size := baseOf(path), map[kind]int{offsetIndex: offsetEntrySize, timeIndex: timeEntrySize, txnIndex: txnEntrySize}[k]
	last := int64(-1)
	at := func(e []byte, i int) int64 { return int64(binary.BigEndian.Uint64(e[i:])) }
	for ; len(b) >= size; b = b[size:] {
		l, e := line{}, b[:size]
		var order int64
		switch k {
		case offsetIndex:
			order = base + int64(binary.BigEndian.Uint32(e))
			l.set("offset", order)
			l.set("position", binary.BigEndian.Uint32(e[4:]))
		case timeIndex:
			order = at(e, 0)
			l.set("timestamp", order)
			l.set("offset", base+int64(binary.BigEndian.Uint32(e[8:])))
		default:
			order = at(e, 18)
			l.set("version", binary.BigEndian.Uint16(e))
			l.set("producerId", at(e, 2))
			l.set("firstOffset", at(e, 10))
			l.set("lastOffset", order)
			l.set("lastStableOffset", at(e, 26))
		}
		if zero(e) && last >= 0 {
			return nil // room that Kafka reserved in advance
		}
		if err := l.write(d.out, d.o.JSON); err != nil {
			return err
		}
		if order < last {
			if err := d.wrong("the entry before is larger: %d comes after %d", order, last); err != nil {
				return err
			}
		}
		last = order
	}
	if len(b) > 0 {
		return d.wrong("%d bytes at the end are no whole entry", len(b))
	}
	return nil
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// snapshot prints the producers of a .snapshot file.
func (d *Dumper) snapshot(b []byte) error {
	if len(b) < snapshotHeadSize {
		return d.wrong("%d bytes are no snapshot", len(b))
	}
	if crc := binary.BigEndian.Uint32(b[2:]); crc != crc32.Checksum(b[6:], crc32.MakeTable(crc32.Castagnoli)) {
		if err := d.wrong("the checksum %d is wrong", crc); err != nil {
			return err
		}
	}
	for b = b[snapshotHeadSize:]; len(b) >= producerEntrySize; b = b[producerEntrySize:] {
		u64 := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }
		u32 := func(i int) int32 { return int32(binary.BigEndian.Uint32(b[i:])) }
		l := line{}
		l.set("producerId", u64(0))
		l.set("producerEpoch", int16(binary.BigEndian.Uint16(b[8:])))
		l.set("lastSequence", u32(10))
		l.set("lastOffset", u64(14))
		l.set("offsetDelta", u32(22))
		l.set("lastTimestamp", u64(26))
		l.set("coordinatorEpoch", u32(34))
		if first := u64(38); first >= 0 {
			l.set("currentTxnFirstOffset", first)
		}
		if err := l.write(d.out, d.o.JSON); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return d.wrong("%d bytes at the end are no whole entry", len(b))
	}
	return nil
}

// text prints a checkpoint or properties file.
func (d *Dumper) text(b []byte) error {
	if !d.o.JSON {
		_, err := d.out.WriteString(strings.TrimRight(string(b), "\n") + "\n")
		return err
	}
	for row := range strings.Lines(string(b)) {
		l := line{}
		l.set("line", strings.TrimRight(row, "\n"))
		if err := l.write(d.out, true); err != nil {
			return err
		}
	}
	return nil
}
