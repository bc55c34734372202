// Package controller decides every change of the cluster's metadata and puts the decisions into one durable order.
//
// A decision is a pure function of a View: the committed Image, the changes that are proposed but not yet committed, and the soft
// state of the brokers' sessions. It returns metadata records in Kafka's own schemas; all records of one decision are one batch and
// one entry of the quorum. A committed entry is appended to __cluster_metadata-0, an ordinary log in Kafka's format that brokers
// follow, at an offset that is the same everywhere.
//
// # Who owns what
//
// The Controller's goroutine (controller.go, run) owns the leadership: pending view, sessions, proposals in flight, waiting answers.
// The quorum's own goroutine (raft's state machine) owns the committed image and the writing of __cluster_metadata-0; it publishes the
// image through an atomic pointer and tells the controller through a mailbox (mailbox.go) that never blocks it. There is one mutex in
// mailbox.go, one in raftlog.go (the read cache), one in raftstate.go (the vote), one in raftsnapshot.go (the list of snapshots) and one in
// raft.go that makes the listener's calls one at a time; a mailbox's is the only one that is taken while another (that last one) is held. A quorum
// of several adds one in raftnetwork.go (its connections) and one in raftpeers.go (what is known of the others), held for a look or a note.
// Controller.Close stops the controller's goroutine first, then the quorum, then closes the two logs.
//
// # Files
//
//   - controller.go  the goroutine: queued decisions, proposals, commits, waiting for brokers; handle.go serves requests through it
//   - view.go        what a decision sees; commit.go turns committed batches into images
//   - topics.go partitions.go placement.go configs.go brokers.go elections.go reassignments.go isr.go directories.go producer_ids.go
//     features.go quotas.go scram.go   the decisions; partition_change.go what follows of a change of one partition: leader, epoch, ELR
//   - handle_partitions.go describe_quorum.go   answers beside handle.go's
//   - index.go       finds the partitions that a change of a broker or directory touches; duties.go what is due from time to time; counts.go for metrics
//   - sessions.go    which brokers are alive and how far they have applied the metadata (soft state)
//   - quorum.go      the total order as an interface
//   - raft.go        that order on hashicorp/raft; raftmachine.go applies its entries and captures the state, raftlog.go its log as
//     a storage.Log, raftstate.go its term and vote, raftsnapshot.go its snapshots as Kafka's .checkpoint files, raftlogger.go its logging, raftroom.go what a full disk means
//   - rafttransport.go the seam to the network; raftnetwork.go its connections and how they begin; raftidentity.go ids, addresses and the first
//     configuration; raftmembers.go who joins, votes and is forgotten; raftpeers.go how far the others are, and the news of a commit
//   - voters.go voters_registration.go voters_record.go   AddRaftVoter, RemoveRaftVoter and ControllerRegistration; kraft.version and the voters in the log
//   - raftformatted.go what kafka-storage format has left for the first start
//   - raftrecover.go a quorum of one folder that is left, offline
//   - checkpoint.go  the format of .checkpoint files
//   - following.go observers.go   what a controller listener shows of the log to nodes that follow it; who follows (both have a mutex of their own)
package controller
