package api

import (
	"github.com/ottla/ottla/replication/metadata"
)

// endpoint is where one broker is reached through the listener a request came in by (KIP-951).
type endpoint struct {
	NodeID int32
	Host   string
	Port   int32
	Rack   *string
}

// leaderHint is the leader of a partition that the metadata knows, for a client that asked the wrong broker. -1 where there is none.
func leaderHint(image *metadata.Image, topic string, partition int32) (leader, epoch int32) {
	p := image.Partition(topic, partition)
	if p == nil {
		return -1, -1
	}
	return p.Leader, p.LeaderEpoch
}

// endpointOf is where node listens under the name of a listener; ok is false for an unknown node, a fenced one, or one without that listener.
func endpointOf(image *metadata.Image, node int32, listener string) (e endpoint, ok bool) {
	b := image.Broker(node)
	if b == nil || b.Fenced {
		return endpoint{}, false
	}
	for i := range b.Endpoints {
		if at := &b.Endpoints[i]; at.Listener == listener {
			return endpoint{NodeID: node, Host: at.Host, Port: int32(at.Port), Rack: b.Rack}, true
		}
	}
	return endpoint{}, false
}
