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
// Partition.followersMu guards what a leader knows of its followers: a fetch of a replica takes it and Partition.mu for reading, and costs as much as there are replicas. A change of the
// ISR that the controller was asked for is part of the role until the answer: it counts for what is committed, as the controller may have decided already. Manager.changes sends such changes, one
// request at a time.
//
// Lock order: Manager.applying, Manager.mu, Partition.mu, Partition.followersMu, the log's own lock, waiters.mu; isrChanges.mu is taken with none of them held. No lock is held while a waiter waits, and
// commit listeners are called without any lock of this package.
//
// # Who is woken
//
// Appends wake the fetches of followers, moves of the high watermark those of consumers. A fetch without a session waits on each of its partitions (fetchWaiter). A session has a Watch
// on each, which puts the partition into the session's WatchSet when something changes, so that a session of ten thousand partitions looks at those that did. What it did not look
// at counts as fetched for the follower's progress (FetchClock). Followers ask to be woken by commits (KIP-1166) only where consumers may read from them
// (replica.selector.class): else they learn of a commit with the next records, or when their fetch has waited for long enough, as in Apache Kafka 4.3.1, where only
// followers of the metadata ask.
//
// fetchers.mu guards which fetcher has which partition, and inbox.mu what a fetcher is told; neither is held over anything that waits, and inbox.mu is the last of all. All else of a
// fetcher belongs to its goroutine. Manager.Close ends them.
//
// # Files
//
//	manager.go         hosted partitions; applies metadata changes
//	partition.go       one replica: role, epochs, leadership checks
//	leader.go          pure rules of a leader: minimum ISR, what is committed
//	progress.go        pure rules of what a leader knows of a follower
//	leading.go         fetches of followers; proposing and taking changes of the ISR
//	isr.go             asking the controller for them
//	selector.go        which replica a consumer is sent to
//	throttle.go        bytes per second of throttled replicas
//	append.go          produce: checks, validation, append, commit
//	transactions.go    verification before an append, markers
//	fetch.go           reads for consumers and followers over many partitions
//	waiters.go         parked fetches and producers that wait for a commit
//	watch.go           what fetch sessions are told of
//	delete_records.go  raising the log start, here and on the followers
//	peer.go            connections to other brokers, as this package needs them
//	follower.go        pure rules of a follower: truncation, offsets out of range, errors
//	follower_log.go    what followers do with their logs
//	fetcher.go         which partition is fetched by whom
//	fetcher_run.go     one fetcher: its rounds
//	fetcher_answer.go  what an answer brings
//	fetcher_troubles.go    what it logs of its partitions, one line a round
//	fetcher_session.go requests and the fetch session
//	fetcher_inbox.go   what a fetcher is told from outside
//	fetcher_missing.go replicas whose logs could not be created
//	scrub.go           repair of a replica whose log is damaged
//	log_dirs.go        moves between log dirs; logs that could not be created
package replication
