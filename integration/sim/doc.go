// Package sim runs whole clusters in a bubble of testing/synctest: brokers of package server, franz-go clients, a network and disks in memory that
// fail by a seed, and checkers of what must hold nevertheless. A run of minutes takes a second.
//
// A seed decides which faults come when, and which workloads run; the order of goroutines is the scheduler's. So a run that fails prints its seed and what
// happened last; the seed often fails again (OTTLA_SIM_FIRST=n OTTLA_SIM_SEEDS=1), but a bug is pinned down by a scripted test of the piece at fault. docs/correctness.md lists the bugs that
// were found.
//
// OTTLA_SIM_SEEDS is how many seeds run (default: some tens), OTTLA_SIM_FIRST the first of them; OTTLA_SIM_CHAOS how long things fail in each; OTTLA_SIM_TRACE=1 prints what happens as it happens. `make sim` runs thousands.
//
// Owner of state: a network owns its links and connections (network.mu, a leaf); a disk its switch; a cluster is used by the run's goroutine, which
// alone starts and stops nodes. The history of what clients saw is guarded by history.mu.
//
// What a bubble asks for: nobody sleeps while holding a mutex that others wait for, as the clock stands still meanwhile. So a slow disk delays only fsyncs of the group commit.
//
// The tests are built with the tag synctests, which makes franz-go's mutexes fit for a bubble: go test -tags synctests. Without it, there is one test, which runs that.
//
// Files (all of them tests):
//
//	run_test.go         runs the others with their tag
//	network_test.go     the network: hosts, links, faults
//	conn_test.go        one connection: delay, bandwidth, stall, reset
//	disk_test.go        a node's disk: kill, power loss, slow fsyncs
//	trace_test.go       what happened, kept for a run that fails
//	cluster_test.go     nodes: start, stop, kill, restart
//	faults_test.go      what goes wrong, by the seed
//	produce_test.go     producers; consume_test.go consumers and groups; copy_test.go transactions; admin_test.go changes of metadata
//	ledger_test.go      offsets of groups without members, by all versions; trim_test.go topics that lose records: deleted, too much, or compacted
//	history_test.go     what was acknowledged and read, and what must hold of it
//	failover_test.go    what coordinators know after others
//	rest_test.go        what must hold of a cluster at rest
//	sim_test.go         the runs
package sim
