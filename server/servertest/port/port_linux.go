package port

import (
	"os"
	"syscall"
)

// Reserve returns a TCP port of 127.0.0.1 that stays the caller's until release: the system gives it to nobody who asks for any port, yet a process may listen there, again and
// again. The socket that holds it is bound and does not listen, so that whoever connects meanwhile is refused. An error is that of a system call.
func Reserve() (port int, release func(), err error) {
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, nil, os.NewSyscallError("socket", err)
	}
	release = func() { _ = syscall.Close(fd) }
	err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)) // as listeners have it, of Go and of Java
	if err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	}
	if err != nil {
		release()
		return 0, nil, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		release()
		return 0, nil, os.NewSyscallError("getsockname", err)
	}
	return name.(*syscall.SockaddrInet4).Port, release, nil
}
