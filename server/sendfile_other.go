//go:build !linux

package server

import (
	"net"

	"github.com/ottla/ottla/storage"
)

// sendfile is not used on this system: slices are copied through a buffer.
func sendfile(*conn, *net.TCPConn, storage.Slice) (done bool, err error) { return false, nil }
