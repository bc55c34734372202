// Package schema holds the records that Kafka writes into logs of its own and for which no wire type exists: the records of
// the metadata log (__cluster_metadata), those of consumer groups in __consumer_offsets, and the control records of a Raft log and of its
// snapshots.
//
// A metadata record is a Go struct with Kafka's fields; Append writes it as Kafka's MetadataRecordSerde does (frame version,
// api key, version, then the flexible encoding of the fields) and ParseMetadata reads it back. Every struct describes its
// fields once, in a method named fields, which the same coder walks to write and to read.
//
// The newest version that the cluster's metadata.version allows is written (of BrokerRegistrationChangeRecord, as in Kafka, the lowest
// that holds the change), so that nodes of an older release can follow until the level is raised; every older version is read, and so
// are the records that came with 4.4.
//
// Nothing here has state, starts a goroutine or does I/O. Parsing never panics, and never allocates by what a length claims.
//
//	metadata.go          framing, ParseMetadata, the table of record types
//	levels.go            which version of a record is written at which level of metadata.version
//	metadata_topic.go    topics and partitions
//	metadata_broker.go   registrations of brokers and controllers, fencing
//	metadata_cluster.go  configs, features, producer ids, metadata transactions
//	metadata_access.go   ACLs, SCRAM credentials, quotas, delegation tokens
//	group.go             consumer groups (KIP-848) in __consumer_offsets
//	control.go           control records: leader change, snapshot header and footer, quorum version and voters
//	coder.go             the flexible encoding, both ways
package schema
