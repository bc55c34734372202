package server

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/ottla/ottla/storage"
)

// sendfileChunk bounds one system call in bytes, so that a slice that is truncated away meanwhile is noticed.
const sendfileChunk = 1 << 20

// sendfile sends s from the page cache to the socket. It gives the offset with every call, so the file's own offset stays where it is and one
// descriptor serves all readers. What may wait for the disk has one of c's threads. done is false, and nothing was sent, for a slice that has no descriptor or a file system without sendfile.
func sendfile(c *conn, tcp *net.TCPConn, s storage.Slice) (done bool, err error) {
	f, at := s.File()
	file := f.Raw()
	if file == nil {
		return false, nil
	}
	in, err := file.SyscallConn()
	if err != nil {
		return false, err
	}
	out, err := tcp.SyscallConn()
	if err != nil {
		return false, err
	}
	t := transfer{s: s, at: at, left: s.Len()}
	var outErr error
	inErr := in.Control(func(src uintptr) {
		outErr = out.Write(func(dst uintptr) (done bool) {
			if err := c.reading(func() error { done = t.run(int(dst), int(src)); return nil }); err != nil {
				t.err, done = err, true
			}
			return done
		})
	})
	if t.left == s.Len() && (errors.Is(t.err, syscall.EINVAL) || errors.Is(t.err, syscall.ENOSYS)) {
		return false, nil
	}
	for _, err := range []error{t.err, outErr, inErr} {
		if err != nil {
			return false, err
		}
	}
	return true, s.Valid()
}

// transfer is a slice on its way.
type transfer struct {
	s    storage.Slice
	at   int64 // in the file
	left int
	err  error
}

// run sends until all is sent, an error, or the socket is full: then it reports false, to be called again when there is room.
func (t *transfer) run(dst, src int) (done bool) {
	for t.left > 0 {
		if t.err = t.s.Valid(); t.err != nil {
			return true
		}
		n, err := syscall.Sendfile(dst, src, &t.at, min(t.left, sendfileChunk))
		switch {
		case n > 0:
			t.left -= n
		case errors.Is(err, syscall.EAGAIN):
			return false
		case errors.Is(err, syscall.EINTR):
		case err == nil:
			t.err = io.ErrUnexpectedEOF // the file is shorter than the slice
			return true
		default:
			t.err = err
			return true
		}
	}
	return true
}
