// Package replication holds the replicas that this broker hosts, and knows which of their records are committed.
//
// A Manager follows the metadata image: each delta creates, deletes, re-elects and reconfigures partitions. A Partition is
// one hosted replica: its role, its log, and whoever waits for its high watermark. Producers append through
// Partition.Append; consumers read many partitions at once through Manager.Fetch, which parks until there is enough to
// answer.
//
// # Who owns what
//
// Manager.mu guards the map of hosted partitions. Partition.mu guards a replica's role: appends hold it for reading over
// the log write, so that a change of leadership waits for the appends of the old epoch; nobody else's partition is behind
// it. waiters.mu guards the partition's waiters and commit listeners and is held for a few instructions only.
//
// Lock order: Manager.applying, Manager.mu, Partition.mu, the log's own lock, waiters.mu. No lock is held while a waiter waits, and
// commit listeners are called without any lock of this package.
//
// # Files
//
//	manager.go         hosted partitions; applies metadata changes
//	partition.go       one replica: role, epochs, leadership checks
//	leader.go          pure rules of a leader: minimum ISR, what is committed
//	append.go          produce: checks, validation, append, commit
//	transactions.go    verification before an append, markers
//	fetch.go           reads for consumers over many partitions
//	waiters.go         parked fetches and producers that wait for a commit
//	delete_records.go  raising the log start
//	peer.go            connections to other brokers, as this package needs them
//	log_dirs.go        moves between log dirs; logs that could not be created
package replication
