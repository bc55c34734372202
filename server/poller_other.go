//go:build !linux

package server

import (
	"errors"
	"net"
	"time"
)

const pollerSupported = false

// poller is not there on this system: connections never rest.
type poller struct{}

func newPoller() (*poller, error)           { return nil, errors.ErrUnsupported }
func (*poller) add(int32) error             { return errors.ErrUnsupported }
func (*poller) remove(int32)                {}
func (*poller) wait([]int32) (int, error)   { return 0, errors.ErrUnsupported }
func (*poller) setDeadline(time.Time) error { return errors.ErrUnsupported }
func (*poller) close()                      {}

func duplicate(*net.TCPConn) (int32, error) { return -1, errors.ErrUnsupported }
func noDescriptor(error) bool               { return false }
func closeSocket(int32)                     {}
