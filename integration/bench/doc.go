// Command bench compares Ottla with Apache Kafka on this machine: the same load for each, in alternating rounds, with CPU time and
// memory of the servers read from the operating system. It prints one table of medians and ratios. Linux only.
//
// Two more peers put the figures in place: kfake, franz-go's broker for tests, which keeps records in memory; and a limit server, the least
// program that writes produce frames to files and answers fetches with sendfile, which is what the machine itself costs.
//
// Files:
//
//	main.go        flags, the order of cases and rounds
//	result.go      medians, the table, bench.json
//	chart.go       bars as SVG
//	peer.go        the servers: how each is prepared, started and stopped
//	proc.go        CPU time and memory of a process
//	limit.go       the limit server
//	wire.go        requests over a plain socket
//	batch.go       record batches made in advance
//	produce.go     the producer on wire, and its cases
//	fetch.go       the fetcher on wire, and its cases
//	latency.go     end to end latency, with franz-go
//	start.go       start, restart, idle memory, idle connections
//	admin.go       topics and offset commits
//	rebalance.go   rebalances of groups of both protocols
//	groups.go      loading offsets, memory of groups and members
//	compaction.go  compaction of a large topic
//	partitions.go  many partitions: created, held, stopped and started
package main
