// Package runtime runs coordinator shards: deterministic state machines, each over one led partition of an internal topic
// (Kafka's CoordinatorRuntime). An operation reads the shard's state and returns records; the runtime applies them to the
// state, appends them to the partition's log and tells the operation once they are committed. So whatever a client was
// told can be rebuilt by any later leader from the log alone.
//
// # Ownership
//
// A Runtime owns its slots, one for each partition that this broker leads. A slot owns one shard, and runs everything that
// touches it, in order, on one goroutine at a time: operations, timers, commits, the load. That goroutine exists only while
// its mailbox has work, so an idle partition costs none; an operation that finds the slot idle can run on the goroutine of its caller (WriteHere), who waits for the
// answer anyway, and has it when that returns if the log has no followers. There are no snapshots of the state: a shard whose append
// failed is dropped and loaded again from the log.
//
// # Locks
//
// leaders.mu orders elections, and is taken before the others. Runtime.mu guards the map of slots;
// slot.mu guards a slot's mailbox and phase. Runtime.mu is taken before slot.mu, never after.
// Neither is held over an operation, an append or a callback.
//
// # Files
//
//	runtime.go       Options, Runtime: elections, resignations, routing of operations
//	leaders.go       who leads the partitions of the topic, by the metadata
//	shard.go         what a shard implements and what its operations use
//	log.go           the log that a shard writes to
//	slot.go          one partition's mailbox and its goroutine
//	load.go          replay of the log
//	write.go         operations, the batch being filled, the append, replies parked for the commit
//	transactions.go  transactional batches and their markers
//	timers.go        operations that run later
//	future.go        an answer that comes later
//	errors.go        the codes that clients of a coordinator see
package runtime
