package storage

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// recoveryReadSize is how much of a file is read at a time where all of it is read.
const recoveryReadSize = 256 << 10

// batchReader reads the whole batches of a file from pos to end. A batch is valid until the next call.
type batchReader struct {
	file     vfs.File
	pos, end int64
	buf      []byte
	rest     []byte // of buf, from pos on
}

// next returns the entry at the reader's position and moves behind it. io.EOF at the end; CorruptMessage if no whole, legal entry is there: then the
// reader stays. Nothing is allocated for a length that the file does not have.
func (r *batchReader) next() (batchHeader, record.Batch, error) {
	if r.pos >= r.end {
		return batchHeader{}, nil, io.EOF
	}
	if err := r.fill(min(maxHeaderSize, r.end-r.pos)); err != nil {
		return batchHeader{}, nil, err
	}
	h, ok := parseHeader(r.rest[:min(len(r.rest), maxHeaderSize)], r.pos)
	if !ok || h.end() > r.end {
		return batchHeader{}, nil, protocol.Errorf(protocol.CorruptMessage, "no valid record batch at position %d", r.pos)
	}
	if err := r.fill(int64(h.size)); err != nil {
		return batchHeader{}, nil, err
	}
	b := record.Batch(r.rest[:h.size:h.size])
	r.pos, r.rest = h.end(), r.rest[h.size:]
	return h, b, nil
}

// fill makes rest hold at least n bytes.
func (r *batchReader) fill(n int64) error {
	if int64(len(r.rest)) >= n {
		return nil
	}
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, max(n, min(recoveryReadSize, r.end-r.pos)))
	}
	part := r.buf[:min(int64(cap(r.buf)), r.end-r.pos)]
	got, err := r.file.ReadAt(part, r.pos)
	if int64(got) < n {
		if err == nil || err == io.EOF { //nolint:errorlint // ReadAt returns it bare
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	r.rest = part[:got]
	return nil
}

// checkEntry verifies the checksum of a whole entry of any magic.
func checkEntry(h *batchHeader, b record.Batch) error {
	if h.magic == record.Magic2 {
		return b.Check()
	}
	const posCRC = record.LogOverhead
	if stored, computed := binary.BigEndian.Uint32(b[posCRC:]), crc32.ChecksumIEEE(b[posMagic:]); stored != computed {
		return protocol.Errorf(protocol.CorruptMessage, "Record is corrupt (stored crc = %d, computed crc = %d)", stored, computed)
	}
	return nil
}
