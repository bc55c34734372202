//go:build !unix

package server

import "net"

// setBacklog does nothing: the system's own limit cannot be changed for a socket that listens.
func setBacklog(net.Listener, int) error { return nil }
