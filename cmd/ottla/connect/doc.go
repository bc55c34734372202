// Package connect makes the clients that the commands speak to a cluster with: addresses, a file of client settings as Apache Kafka's tools take it, TLS and
// SASL; and it says in plain words why a cluster could not be reached and what a broker refused.
//
//	connect.go   Settings, Open and the wait for a first address
//	security.go  security.protocol, sasl.* and ssl.* as options of the client
//	jaas.go      the value of sasl.jaas.config
//	refusal.go   Refusal, an error code that a broker answered, and Kafka's text for it
//
// Nothing here has state; a client belongs to its caller, who closes it.
package connect
