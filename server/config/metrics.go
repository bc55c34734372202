package config

import (
	"net"
	"strconv"
)

// metrics reads the address of the metrics.
func (b *builder) metrics() {
	const key = "ottla.metrics.listener"
	address := b.server.Values.String(key)
	if address == "" {
		return
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		b.fail(key, "%s: cannot read %q as host:port", key, address)
		return
	}
	b.server.Metrics = address
}
