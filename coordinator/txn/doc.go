// Package txn is the transaction coordinator: the shards of __transaction_state (Kafka's TransactionCoordinator, TransactionStateManager,
// TransactionMetadata and TransactionMarkerChannelManager). A shard holds the transactional ids of one partition; an id lives in the partition
// that it hashes to, on the broker that leads it.
//
// # A transaction's end
//
// A commit or abort is two records of the id: Prepare*, after which the decision stands and the producer is answered, and Complete*, after the leader of
// each of its partitions has written a marker. Whatever happens between the two, the markers are sent again until all are there: by this coordinator, by
// its next start or by another one, which finds Prepare* in the log. Writing a marker twice does no harm.
//
// # Ownership
//
// A shard's state belongs to its loop in coordinator/runtime. An id changes when the record that says so is committed, not before: meanwhile it is
// pending, and requests that would change it are answered ConcurrentTransactions. Decisions never block: where one needs a producer id that is not at
// hand, it is run again with one. Everything a request carries is copied before it is queued.
//
// Markers are sent by one goroutine for each broker that there are some for. They know a transaction as a completion, and come back into the
// loop of its shard when all markers are written; if that shard was dropped meanwhile, nothing is done, as the load of the next one begins again.
//
// # Locks
//
// Coordinator.mu guards the mark of Close; markers.mu guards the queues of markers. Neither is held while the
// other is taken, nor over a request.
//
// # Files
//
//	coordinator.go     Options, elections, routing
//	settings.go        the config keys that are read
//	api_producer.go    InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn
//	api_admin.go       DescribeTransactions, ListTransactions
//	operations.go      how requests get into shards; producer ids
//	shard.go           one partition's state; replay, and the write of a transition
//	state.go           the states and which may follow which
//	transaction.go     one transactional id and its transitions
//	records.go         the records of __transaction_state
//	init_producer.go   decides InitProducerId
//	add_partitions.go  decides AddPartitionsToTxn, and verifies for it
//	end_txn.go         decides EndTxn and aborts by the coordinator
//	finish.go          from Prepare* to Complete*
//	markers.go         the queues and senders of markers
//	expiry.go          transactions that took too long, ids that nobody uses
package txn
