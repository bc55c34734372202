// Package logdump prints the files of a log dir: segments with their batches and records, indexes, producer snapshots, checkpoints, and the records that
// coordinators and controllers keep, decoded. It reads, never writes, and takes a running broker's files as well as a stopped one's.
//
//	dump.go      Dump: which files there are, and what each is
//	segment.go   batches and records of .log and .checkpoint files
//	index.go     .index, .timeindex, .txnindex, .snapshot and the text files
//	decode.go    records of __consumer_offsets, __transaction_state and __cluster_metadata
//	line.go      one line of the output, as text or JSON
//
// A Dumper belongs to one goroutine.
package logdump
