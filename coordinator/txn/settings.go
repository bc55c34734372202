package txn

import (
	"time"

	"github.com/ottla/ottla/protocol/config"
)

// writeTimeout bounds the wait for the commit of a record. Kafka takes the timeout of the transaction itself, which clients leave at a minute.
const writeTimeout = time.Minute

// settings are the config keys that a shard reads. All are read-only in Kafka, so they are taken once.
type settings struct {
	partitions    int32
	maxTimeout    int32         // ms
	abortInterval time.Duration // between looks for transactions that took too long
	expiration    time.Duration // of transactional ids
	expiryCheck   time.Duration // between looks for expired ones
}

func settingsOf(v config.Values) settings {
	return settings{
		partitions:    int32(v.Int("transaction.state.log.num.partitions")),
		maxTimeout:    int32(v.Int("transaction.max.timeout.ms")),
		abortInterval: v.Duration("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		expiration:    v.Duration("transactional.id.expiration.ms"),
		expiryCheck:   v.Duration("transaction.remove.expired.transaction.cleanup.interval.ms"),
	}
}
