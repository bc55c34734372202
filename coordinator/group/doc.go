// Package group is the group coordinator: the shards of __consumer_offsets (Kafka's GroupCoordinatorShard, GroupMetadataManager
// and OffsetMetadataManager). A shard holds the groups and the committed offsets of one partition; a group lives in the
// partition that its id hashes to, on the broker that leads it.
//
// # Ownership
//
// The Coordinator routes requests to shards through coordinator/runtime, which runs everything that touches a shard one after
// the other. A shard's code is plain decisions: it is given the time, answers through futures, and returns the records to write. Everything a request carries is copied
// before it is queued, because its frame may be gone when the shard runs.
//
// The durable part of a classic group is one record, written when the leader's assignment arrives, when the last member is gone, and when a
// static member returns under a new id. What happens between those is memory: a new coordinator finds the last written generation, gives its
// members a full session timeout, and lets the others rejoin. Of a consumer group everything is durable but its timers: its state changes only in
// the replay of records, those of a heartbeat as those of the log. Offsets are one record each; an offset keeps the committed value beside the
// ones that are still on their way, so that OffsetFetch answers at once with what is durable.
//
// # Locks
//
// Nothing here is locked but what coordinator/runtime locks.
//
// # Tests
//
// Behaviour is tested in a bubble of fake time. sim_*_test.go runs groups of both protocols through seeded faults; `make sim` runs thousands.
//
// # Files
//
//	coordinator.go         Options, elections, routing
//	settings.go            the config keys that are read
//	api_classic.go         JoinGroup, SyncGroup, Heartbeat, LeaveGroup
//	api_offsets.go         OffsetCommit, OffsetFetch, OffsetDelete
//	api_admin.go           ListGroups, DescribeGroups, DeleteGroups
//	detach.go              copies of requests
//	shard.go               one partition's state; replay
//	group.go               what all kinds of groups have in common
//	records.go             the records of __consumer_offsets
//	classic_group.go       state of a classic group: members, votes, states
//	classic_member.go      one member, and its parked requests
//	classic_join.go        JoinGroup
//	classic_static.go      JoinGroup of a static member that returns (KIP-345, KIP-814)
//	classic_rebalance.go   preparing and completing rebalances, timeouts
//	classic_sync.go        SyncGroup
//	classic_heartbeat.go   Heartbeat and session expiry
//	classic_leave.go       LeaveGroup
//	classic_view.go        a classic group as one group among others
//	api_consumer.go        ConsumerGroupHeartbeat, ConsumerGroupDescribe
//	consumer_group.go      state of a consumer group (KIP-848): members, target assignment, who has a partition
//	consumer_member.go     one member, and partitions with the epoch since when it has them
//	consumer_records.go    the records of a consumer group; replay
//	consumer_heartbeat.go  ConsumerGroupHeartbeat: joins, epochs, answers
//	consumer_target.go     new epochs and target assignments
//	consumer_reconcile.go  one member on its way to its target
//	consumer_leave.go      leaves, fencing, timeouts
//	consumer_topics.go     which groups subscribe to a topic; hashes of topics
//	consumer_describe.go   ConsumerGroupDescribe
//	consumer_view.go       a consumer group as one group among others
//	xxh3.go                the hash of topics
//	consumer_regex.go      subscriptions by regular expression
//	consumer_classic.go    members of the classic protocol in a consumer group
//	migrate.go             classic groups become consumer groups, and back
//	embedded.go            the consumer protocol inside the classic one
//	subscription.go        topics in a consumer's subscription
//	offset_store.go        committed and pending values by group, topic, partition
//	offset_pending.go      values that open transactions have written
//	offset_commit.go       OffsetCommit
//	offset_txn.go          TxnOffsetCommit and the ends of transactions
//	offset_fetch.go        OffsetFetch
//	offset_expiry.go       retention, deleted topics, OffsetDelete
//	offset_vanished.go     offsets of topics that were deleted unseen
//	metrics.go             what is counted, and a look at all groups
//	admin.go               ListGroups, DescribeGroups, DeleteGroups on one shard
package group
