package storage

import (
	"errors"
	"io"

	"github.com/ottla/ottla/storage/vfs"
)

// ErrTruncated is the error of a Slice whose bytes a truncation of the log has removed.
var ErrTruncated = errors.New("the log was truncated below the end of the slice")

// copySize is the unit in which WriteTo moves bytes.
const copySize = 64 << 10

// Slice is a pinned range of one segment on its way to a socket: whole batches. The zero Slice is empty. Release exactly once; then it is
// invalid. A slice that was truncated away answers ErrTruncated, never short or foreign bytes; one whose segment was deleted or
// whose log was closed stays readable.
type Slice struct {
	log  *Log
	seg  *segment
	pos  int64
	n    int64
	seen int64 // cuts of the segment before the slice was made
	next int64 // the offsets in it are below
}

// Len is the number of bytes.
func (s Slice) Len() int { return int(s.n) }

// File returns where the bytes are, for sendfile: f.Raw may be nil. The file must not be closed. Ask Valid after having sent: a
// truncation may have come in between.
func (s Slice) File() (f vfs.File, off int64) {
	if s.seg == nil {
		return nil, 0
	}
	return s.seg.file, s.pos
}

// Valid returns ErrTruncated if a truncation has removed any of the bytes.
func (s Slice) Valid() error {
	if s.seg != nil && s.seg.cuts.hit(s.seen, s.pos+s.n) {
		return ErrTruncated
	}
	return nil
}

// ReadAt is io.ReaderAt over the bytes of the slice.
func (s Slice) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= s.n {
		if len(p) == 0 && off == s.n {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := min(int64(len(p)), s.n-off)
	n, err := s.seg.file.ReadAt(p[:want], s.pos+off)
	if invalid := s.Valid(); invalid != nil {
		return 0, invalid
	}
	if int64(n) == want {
		err = nil
		if want < int64(len(p)) {
			err = io.EOF
		}
	} else if err == nil || err == io.EOF { //nolint:errorlint // ReadAt returns it bare
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo copies the bytes to w; each part is checked against truncation before it is written.
func (s Slice) WriteTo(w io.Writer) (int64, error) {
	if s.n == 0 {
		return 0, nil
	}
	buf := s.log.copies.get()
	defer s.log.copies.put(buf)
	for done := int64(0); done < s.n; {
		part := (*buf)[:min(copySize, s.n-done)]
		if n, err := s.ReadAt(part, done); n < len(part) {
			return done, err
		}
		n, err := w.Write(part)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return s.n, nil
}

// Release lets go of the segment. The zero Slice needs none.
func (s Slice) Release() {
	if s.seg != nil {
		unpin(s.seg.file)
		s.log.release(s.seg)
	}
}
