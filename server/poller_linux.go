package server

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

const pollerSupported = true

// poller tells which of many sockets can be read. It is an epoll set that the Go runtime watches in turn, so waiting takes a goroutine and no thread.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int

	events [64]syscall.EpollEvent // of wait, which one goroutine calls
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // else os.NewFile does not give it to the runtime's poller
		_ = syscall.Close(fd)
		return nil, err
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails if the runtime does not watch it
	}
	if err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// add watches a socket that belongs to the caller until remove. The poller must not be closed.
func (p *poller) add(fd int32) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: fd}
	return syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, int(fd), &event)
}

// remove ends what add began. The poller must not be closed.
func (p *poller) remove(fd int32) {
	_ = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_DEL, int(fd), nil)
}

// wait fills ready with sockets that can be read, at least one without an error. os.ErrDeadlineExceeded at the deadline, which stays until it is changed;
// os.ErrClosed after close.
func (p *poller) wait(ready []int32) (n int, err error) {
	var failed error
	err = p.raw.Read(func(fd uintptr) bool {
		n, failed = syscall.EpollWait(int(fd), p.events[:min(len(ready), len(p.events))], 0)
		for failed == syscall.EINTR {
			n, failed = syscall.EpollWait(int(fd), p.events[:min(len(ready), len(p.events))], 0)
		}
		return failed != nil || n > 0
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	for i := range n {
		ready[i] = p.events[i].Fd
	}
	return n, nil
}

// setDeadline has wait return at t; the zero time is never.
func (p *poller) setDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

func (p *poller) close() { _ = p.file.Close() }

// duplicate returns another descriptor of a socket, which does not end with tcp.
func duplicate(tcp *net.TCPConn) (int32, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, failed := uintptr(0), syscall.Errno(0)
	if err := raw.Control(func(of uintptr) {
		fd, _, failed = syscall.Syscall(syscall.SYS_FCNTL, of, syscall.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	if failed != 0 {
		return -1, failed
	}
	return int32(fd), nil
}

// noDescriptor reports whether err says that the process or the system has no descriptor left.
func noDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func closeSocket(fd int32) { _ = syscall.Close(int(fd)) }
