package config

// brokerTransactionKeys are the broker keys about transactions and producer ids.
var brokerTransactionKeys = []Key{
	{Name: "add.partitions.to.txn.retry.backoff.max.ms", Type: Int, Default: "100", Allowed: "[0,...]", Doc: "Longest wait of the broker before it asks again to add a partition to a transaction, in milliseconds."},
	{Name: "add.partitions.to.txn.retry.backoff.ms", Type: Int, Default: "20", Allowed: "[1,...]", Doc: "First wait of the broker before it asks again to add a partition to a transaction, in milliseconds."},
	{Name: "producer.id.expiration.check.interval.ms", Type: Int, Default: "600000", Allowed: "[1,...]", Internal: true, Doc: "How often it is checked which producers are forgotten, in milliseconds."},
	{Name: "producer.id.expiration.ms", Type: Int, Default: "86400000", Allowed: "[1,...]", Update: ClusterWide, Doc: "How long a partition remembers an idempotent producer that writes nothing, in milliseconds."},
	{Name: "transaction.abort.timed.out.transaction.cleanup.interval.ms", Type: Int, Default: "10000", Allowed: "[1,...]", Doc: "How often it is checked which transactions took too long, in milliseconds."},
	{Name: "transaction.max.timeout.ms", Type: Int, Default: "900000", Allowed: "[1,...]", Doc: "Longest time in milliseconds that clients may ask for a transaction to take."},
	{Name: "transaction.partition.verification.enable", Type: Boolean, Default: "true", Update: ClusterWide, Doc: "Whether a partition checks that a transaction is really open before it takes records of it."},
	{Name: "transaction.remove.expired.transaction.cleanup.interval.ms", Type: Int, Default: "3600000", Allowed: "[1,...]", Doc: "How often it is checked which transactional ids are forgotten, in milliseconds."},
	{Name: "transaction.state.log.load.buffer.size", Type: Int, Default: "5242880", Allowed: "[1,...]", NoEffect: noLoadBuffer, Doc: "Bytes that are read at a time when transactions are loaded."},
	{Name: "transaction.state.log.min.isr", Type: Int, Default: "2", Allowed: "[1,...]", Doc: "In-sync replicas that a write to __transaction_state needs."},
	{Name: "transaction.state.log.num.partitions", Type: Int, Default: "50", Allowed: "[1,...]", Doc: "Number of partitions of __transaction_state when it is created."},
	{Name: "transaction.state.log.replication.factor", Type: Short, Default: "3", Allowed: "[1,...]", Doc: "Number of replicas of __transaction_state when it is created."},
	{Name: "transaction.state.log.segment.bytes", Type: Int, Default: "104857600", Allowed: "[1,...]", Doc: "Segment size of __transaction_state, in bytes."},
	{Name: "transaction.two.phase.commit.enable", Type: Boolean, Default: "false", NoEffect: noUnstable, Doc: "Whether clients may hold transactions open for an outside coordinator."},
	{Name: "transactional.id.expiration.ms", Type: Int, Default: "604800000", Allowed: "[1,...]", Doc: "How long a transactional id without transactions is remembered, in milliseconds."},
}
