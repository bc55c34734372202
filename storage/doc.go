// Package storage is one broker's disk, in Apache Kafka's own format: log dirs with a folder for each replica, in it segments with their indexes,
// producer snapshots, leader epochs and the topic's id.
//
// A Store owns the log dirs and the background work; a Log is one replica and serves appends and reads; a Slice is a pinned range of a segment on its
// way to a socket. A log can also be opened on its own (OpenLog): that of the metadata quorum.
//
// Owner of state: a Store the set of its logs, the state of its dirs and their checkpoint files; a Log its segments, offsets, producer state and leader epochs. A
// log asks its Store (host) for what is slow or concerns the whole dir.
//
// Durability: appends, rolls and the creation of a partition do not wait for fsync (unless flush.messages says so). What was appended above the recovery point
// is checked and, if torn, cut off after an unclean stop. The mark of a clean one is written when all else is on the disk. Leader epochs, partition.metadata and the names in the folder reach the disk before the recovery point rises; it is lowered on
// disk before recovery rewrites an index below it.
//
// Moves between log dirs: the partition is claimed (Store.claim), its owner's own lock is taken (Relocation.Replace), then those below.
//
// Lock order: Log.mu, Log.syncMu, Log.offMu; the epoch cache's own; dirWorker.mu, cleaner.mu and Store.mu last. No I/O and no call of a Log happens under Store.mu or
// dirWorker.mu. A dir's flusher.mu is a leaf. logDir.checkpointing serializes the writers of a dir's checkpoints and is taken before all others.
//
// File map:
//
//	store.go                 Store: what it owns, its dirs, Close, failure of a dir
//	store_open.go            Open: identity, scan and load of the dirs
//	store_dir.go             one log dir: lock, meta.properties, clean-shutdown mark, checkpoints
//	store_logs.go            Create, Delete, SetAside and the names of folders
//	store_names.go           topics whose folders a file system cannot keep
//	flusher.go               fsyncs that acknowledgements wait for, those of a dir together
//	store_work.go            background: the worker of a dir, periodic tasks
//	open_files.go            bounds on open files
//	full.go                  a disk without room; what is kept in reserve
//	future.go                copies of logs on their way to another dir; what a start finds of them
//	mover.go                 moves: queue, threads, throttle
//	move_copy.go             a copy follows its log
//	move_swap.go             a copy takes its log's place
//	host.go                  what a Log asks of its Store, and what it is opened with
//	retention.go             deletion of segments by log start, size and time
//	cleaner.go cleaner_throttle.go   compaction in the background: threads, choice of logs, limit of I/O
//	compact.go               one pass of compaction over one log: is it due, and the last offset of each key
//	compact_map.go           offset map of bounded memory
//	compact_rewrite.go compact_legacy.go  what stays of segments, batches and records
//	compact_txn.go           transactions and producers during a pass
//	compact_swap.go          new segments in the place of old ones
//	scrub.go                 slow reading of cold segments, which finds what the disk has damaged
//	config.go                LogConfig
//	metaproperties.go        meta.properties
//	partition_metadata.go    partition.metadata
//	checkpoint.go            text checkpoint files
//	epochs.go                leader epochs and leader-epoch-checkpoint
//	producers.go             producer state: entries, check and apply, transactions
//	producers_append.go      the rules for one batch or marker
//	producers_snapshot.go    .snapshot files
//	producers_verify.go      verification of transactional appends (KIP-890)
//	log.go                   Log: its state, marks and small questions
//	loading.go               progress of a start, and its end before time
//	split.go                 segments with more offsets than an index can tell
//	load.go recover.go       opening a log; checking it after an unclean stop
//	standalone.go            what a log without a Store keeps by itself
//	append.go roll.go        writing, new segments, fsync
//	close.go                 the end of a log, and of all logs of a dir together
//	replicate.go             what a follower may append of what its leader sent
//	read.go timestamp.go     reading by offset and by time
//	truncate.go              TruncateTo, ResetTo, DeleteBefore
//	segment.go segments.go   one segment, and the list of them
//	index_*.go               offset, time and transaction index
//	batch_header.go batch_reader.go  walking over the batches of a file
//	slice.go                 Slice
package storage
