package storage

import (
	"encoding/binary"
	"io"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// Positions and sizes that a walk over a file needs before it may treat an entry as a record.Batch.
const (
	maxHeaderSize    = record.HeaderSize
	legacyHeaderSize = 26 // a message of magic 1 up to its timestamp
	minSizeMagic0    = record.LogOverhead + 14
	minSizeMagic1    = record.LogOverhead + 22
	posMagic         = 16
	posLegacyTime    = 18
)

// batchHeader is what a walk knows of one entry of a .log file, of any magic.
type batchHeader struct {
	pos          int64 // in the file
	size         int   // bytes, with the 12 bytes of offset and length
	baseOffset   int64 // of magic 0 and 1: the last offset, for the first is not in the header
	lastOffset   int64
	maxTimestamp int64 // ms; -1 none
	leaderEpoch  int32 // -1 none
	magic        int8
}

func (h *batchHeader) end() int64 { return h.pos + int64(h.size) }

// parseHeader reads the header at the start of b, which holds the whole header or all that the file has of it. It is false if
// no legal entry begins so.
func parseHeader(b []byte, pos int64) (batchHeader, bool) {
	size, ok := record.EntrySize(b)
	if !ok || len(b) <= posMagic {
		return batchHeader{}, false
	}
	h := batchHeader{pos: pos, size: size, magic: int8(b[posMagic]), maxTimestamp: record.NoTimestamp, leaderEpoch: record.NoLeaderEpoch}
	h.baseOffset = int64(binary.BigEndian.Uint64(b))
	h.lastOffset = h.baseOffset
	switch h.magic {
	case 0:
		ok = size >= minSizeMagic0
	case 1:
		if ok = size >= minSizeMagic1 && len(b) >= legacyHeaderSize; ok {
			h.maxTimestamp = int64(binary.BigEndian.Uint64(b[posLegacyTime:]))
		}
	case record.Magic2:
		if ok = size >= maxHeaderSize && len(b) >= maxHeaderSize; ok {
			v2 := record.Batch(b)
			h.lastOffset, h.maxTimestamp, h.leaderEpoch = v2.LastOffset(), v2.MaxTimestamp(), v2.LeaderEpoch()
			ok = h.lastOffset >= h.baseOffset
		}
	default:
		ok = false
	}
	return h, ok && h.baseOffset >= 0
}

// scanner walks the headers of a file from pos to end, reading through a buffer of at least maxHeaderSize bytes.
type scanner struct {
	file     vfs.File
	pos, end int64
	buf      []byte
	from     int64 // file position of buf[0]
	have     int   // valid bytes of buf
}

// next returns the entry at the scanner's position and moves behind it. io.EOF at the end; CorruptMessage if no whole, legal
// entry is there (then the scanner stays).
func (s *scanner) next() (batchHeader, error) {
	if s.pos >= s.end {
		return batchHeader{}, io.EOF
	}
	need := min(maxHeaderSize, s.end-s.pos)
	if s.pos < s.from || s.pos+need > s.from+int64(s.have) {
		n := min(int64(len(s.buf)), s.end-s.pos)
		got, err := s.file.ReadAt(s.buf[:n], s.pos)
		s.from, s.have = s.pos, got
		if int64(got) < need {
			if err == nil || err == io.EOF { //nolint:errorlint // ReadAt returns it bare
				err = io.ErrUnexpectedEOF
			}
			return batchHeader{}, err
		}
	}
	at := int(s.pos - s.from)
	h, ok := parseHeader(s.buf[at:min(s.have, at+maxHeaderSize)], s.pos)
	if !ok || h.end() > s.end {
		return batchHeader{}, protocol.Errorf(protocol.CorruptMessage, "no valid record batch at position %d", s.pos)
	}
	s.pos = h.end()
	return h, nil
}
