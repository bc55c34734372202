package main

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// What a service manager is told (sd_notify): with Type=notify a unit counts as started when the node serves, not when its process exists.
const (
	stateReady    = "READY=1"
	stateStopping = "STOPPING=1"
)

// notify tells the service manager that started this process a state; without one it does nothing. A datagram that cannot be sent is an error: the manager would wait for it
// and end the process.
func notify(state string) (err error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("NOTIFY_SOCKET: %w", err)
		}
	}()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // a name that begins with @ is one without a file
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}
