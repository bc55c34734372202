package server

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The system holds as many connections that nobody has accepted as was asked for.
func TestSetBacklog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := setBacklog(l, 7); err != nil {
		t.Fatal(err)
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if info.Sacked != 7 { // of a listening socket
		t.Errorf("the backlog is %d", info.Sacked)
	}
	if nc, err := net.Dial("tcp", l.Addr().String()); err != nil {
		t.Error(err)
	} else {
		_ = nc.Close()
	}
}
