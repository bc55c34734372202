// Package server assembles a broker from the layers below and serves clients: the embedding API.
//
// New, Start and Shutdown are a Broker's life. Everything a broker holds hangs off it; nothing is global, so several live
// in one process.
//
// # Who owns what
//
// Broker owns its parts; Start and Shutdown are called by one goroutine. A socket server owns listeners, connections and
// the memory for requests; a node with a controller listener has a second one for it, with its own api.Node and table of APIs. controllers owns what is known of
// who leads, and the connections there; peers owns those to other brokers. The life cycle owns the registration with the controller; its goroutine is stopped by Shutdown.
// The publisher runs in the observer's goroutine and is the only writer of the dynamic configuration.
//
// # Files
//
//	broker.go           a node of one role or both: its parts, start and stop; assemble.go makes the parts
//	bind.go             opens the listeners of clients and controllers
//	controller_client.go     the way to the active controller; controller_transport.go the quorum's connections over the controller listener
//	controller_registrar.go  tells the active controller of this one
//	lifecycle.go        registration, heartbeats, and leaving the others
//	internal_topics.go  the replicas that internal topics get as brokers come
//	publisher.go        hands each metadata change to the parts, in order
//	background.go       a goroutine between start and stop
//	producer_ids.go     blocks of producer ids
//	peers.go            requests to the brokers of the cluster; peers_conn.go the connections to other nodes
//	scrape.go           the HTTP server of the metrics, which server/metrics makes, and of the probes
//	measure.go          counts requests and their times; logs the slow ones; answered.go finds the error codes in answers
//	coordinator_log.go  a led partition as a coordinator's shard sees it
//	listener.go         accepting connections, draining; limits.go: how many there may be
//	listener_keeper.go  listeners that are added and removed while a broker runs
//	conn.go             one connection: reading and handling; conn_write.go: answering
//	quota.go            what clients may use: limits, precedence, who shares one; quota_rate.go measures; quota_conn.go throttles and mutes connections (KIP-219);
//	                    quota_addresses.go keeps to the rates of new connections
//	threads.go          how many requests work on disks, and answers read them, at once
//	resting.go          connections between requests that are far apart, without goroutines; poller_*.go wakes them
//	frame.go            reading frames, several at once, within the memory budget; budget.go, buffers.go, memory_*.go
//	sendfile_*.go       log segments from disk to socket
package server
