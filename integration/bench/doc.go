// Command bench compares Ottla with Apache Kafka on this machine: the same load for each, in alternating rounds, with CPU time and
// memory of the servers read from the operating system. It prints one table of medians and ratios with the goals beside them, and writes it
// as JSON, as charts and as a page if told where; cases that a run does not have keep the figures that are there. Linux only.
//
// Two more peers put the figures in place: kfake, franz-go's broker for tests, which keeps records in memory; and a limit server, the least
// program that writes produce frames to files and answers fetches with sendfile, which is what the machine itself costs.
//
// Most load comes from plain sockets with batches made in advance (wire.go), so that the server is what is measured; the franz-, librdkafka-
// and tool- cases are what clients do. Folder soak is a program of its own: one broker, everything at once, with faults.
//
// Files:
//
//	main.go          flags, the order of cases and rounds
//	budget.go        how many rounds of which case the time is enough for; warming up
//	goals.go         what each figure is to reach
//	result.go        medians, the table, bench.json
//	chart.go         bars as SVG
//	page.go          docs/bench/README.md
//	machine.go       what was measured with; dropping the page cache
//	peer.go          the servers: how each is prepared, started and stopped
//	proc.go          CPU time and memory of a process
//	limit.go         the limit server
//	wire.go          requests over a plain socket
//	batch.go         record batches made in advance
//	produce.go       the producer on wire, its first cases, single records
//	loads.go         produce by size, acks, codec, connections and partitions
//	fetch.go         the fetcher on wire, consumption from the cache and from the disk
//	reader.go        a fetcher that takes batches of any size
//	mixed.go         producers, tails and catch-up at once
//	franz.go         producers and a group of franz-go
//	librdkafka.go    the program in librdkafka/load.c, compiled when it is needed
//	tools.go         the performance tools of Apache Kafka
//	latency.go       end to end latency, with franz-go
//	transactions.go  transactions, and consumption of committed records
//	start.go         start, restart, idle memory, idle connections
//	restart.go       restart with many topics
//	partitions.go    many partitions: created, held, stopped and started
//	admin.go         topics and offset commits
//	rebalance.go     rebalances of groups of both protocols
//	groups.go        loading offsets, memory of groups and members
//	compaction.go    compaction of a large topic
//	cluster.go       three nodes of a peer
//	cluster_cases.go what is measured of them
package main
