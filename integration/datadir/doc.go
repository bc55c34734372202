// Package datadir says what the partitions of a log dir hold, once as a consumer sees them over the wire and once as package storage sees the
// files, so that the two can be compared, whoever wrote the files and whoever serves them.
//
// It owns no state. File map:
//
//	partition.go   Partition: what is compared, and the differences in words
//	observe.go     Observe: asked of a running broker, Apache Kafka or Ottla
//	cluster.go     ObserveCluster: groups, transactions, features, configs and places, asked of a running broker
//	describe.go    Describe: read from the files
//	fill.go        Fill: topics of every kind, written to a running broker
//	move.go        Adopt: partition folders under the topics of another broker
//	archive.go     Pack and Unpack: a small log dir, kept
package datadir
