// Package config turns what a node is started with into typed settings: Apache Kafka's server.properties as it is, values
// given by variables of the environment and on the command line, or nothing at all.
//
// Names, types, defaults and rules of the keys are protocol/config's; this package reads the file, finds every mistake in it
// at once with its line, and works out what spans several keys: listeners and their advertised addresses, the node's id and
// roles, the quorum, the folders. The result, Server, is made once at start and never changes; what changes at run time is
// laid over its Values by the broker.
//
// Files:
//
//	properties.go   the .properties format, as java.util.Properties reads it
//	load.go         file, overrides and defaults to a Server; mistakes with their places
//	environment.go  the variables of Kafka's images: KAFKA_NUM_PARTITIONS
//	listeners.go    listeners, advertised.listeners and listener.security.protocol.map
//	dynamic_listeners.go  what may become of listeners while a broker runs
//	node.go         node id and roles
//	quorum.go       the metadata quorum, and what the roles want of listeners
//	metrics.go      the address of the metrics
//	cluster.go      several brokers on one machine
//	folders.go      data folders, and where a user's own is
package config
