// Package txn is the transaction coordinator: the shards of __transaction_state (Kafka's TransactionCoordinator, TransactionStateManager and
// TransactionMarkerChannelManager).
package txn
