//go:build !linux

package port

import "net"

// Reserve returns a TCP port of 127.0.0.1 that nobody listened on a moment ago; release does nothing.
func Reserve() (port int, release func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	return l.Addr().(*net.TCPAddr).Port, func() {}, l.Close()
}
