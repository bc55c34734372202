//go:build unix

package server

import (
	"net"
	"syscall"
)

// setBacklog has the system hold so many connections of a listener that are not accepted yet. It may hold fewer.
func setBacklog(l net.Listener, n int) error {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), n) }); err != nil {
		return err
	}
	return failed
}
