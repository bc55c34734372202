// Package replication holds the replicas that this broker hosts, and knows which of their records are committed.
//
// A Manager follows the metadata image: each delta creates, deletes, re-elects and reconfigures partitions. A Partition is
// one hosted replica: its role, its log, and whoever waits for its high watermark. Producers append through
// Partition.Append; consumers read many partitions at once through Manager.Fetch, which parks until there is enough to
// answer.
//
// A partition that another broker leads belongs to a fetcher, one for each leader and number of num.replica.fetchers: a goroutine with a connection of its own, which asks for what is new of
// all its partitions at once. Fetch sessions make a round cost what has changed, whatever the number of partitions. What a fetch brings is appended only while the replica still
// follows in the leader epoch that it was asked in: Partition.mu holds the role still over the append.
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
// fetchers.mu guards which fetcher has which partition, and inbox.mu what a fetcher is told; neither is held over anything that waits, and inbox.mu is the last of all. All else of a
// fetcher belongs to its goroutine. Manager.Close ends them.
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
//	follower.go        pure rules of a follower: truncation, offsets out of range, errors
//	follower_log.go    what followers do with their logs
//	fetcher.go         which partition is fetched by whom
//	fetcher_run.go     one fetcher: its rounds
//	fetcher_answer.go  what an answer brings
//	fetcher_session.go requests and the fetch session
//	fetcher_inbox.go   what a fetcher is told from outside
//	log_dirs.go        moves between log dirs; logs that could not be created
package replication
