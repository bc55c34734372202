package runtime

import (
	"time"

	"github.com/ottla/ottla/replication/metadata"
)

// Shard is the state machine of one partition. Its methods and its operations are never run concurrently, never read the
// clock, never block and start no goroutine.
type Shard interface {
	// Replay applies one record: from the log during the load, else one that an operation just returned, before it is
	// appended. offset is the record's own. producerID is -1 unless the record is part of a transaction. A nil value is a tombstone. key and value
	// are valid only during the call. A record of an unknown type must be skipped without an error.
	Replay(offset int64, producerID int64, producerEpoch int16, key, value []byte) error
	// ReplayMarker applies the end of a transaction, whose marker is the record at offset.
	ReplayMarker(offset int64, producerID int64, producerEpoch int16, commit bool) error
	// Loaded runs after the load, before the first operation.
	Loaded(env Env)
	// Committed tells that all records below highWatermark are durable, before the first Replay too: a shard need not keep what a record of the log
	// replaces if both are. It never goes back.
	Committed(highWatermark int64)
	// ImageChanged tells of a change of the cluster's metadata; its result may be split over several batches.
	ImageChanged(env Env, d *metadata.Delta) Result
	// Unloaded runs when the shard is dropped, because of err: whoever is parked inside it must be answered. It is the last call.
	Unloaded(env Env, err error)
}

// Record is one key and value to append. A nil value is a tombstone.
type Record struct{ Key, Value []byte }

// Env is what an operation may use besides its shard.
type Env struct {
	Now   time.Time
	Image *metadata.Image
	// Epoch is the leader epoch of the partition: the coordinator epoch.
	Epoch int32
	// Timers holds the operations of this shard that run later.
	Timers *Timers

	slot background
}

// Result is what an operation decided: records to append, and what to do afterwards. The zero Result is fine.
type Result struct {
	// Records are appended in one batch, all or none, unless Split is set.
	Records []Record
	// Applied says that the operation itself has made the records' changes to the shard, or makes them in Then; the records are then not
	// replayed. An operation that returns records without Applied must not have changed the shard.
	Applied bool
	// Split allows the records to be spread over several batches.
	Split bool
	// Producer makes the records a transactional batch of this producer, which are replayed once the log has taken them. Such a result is neither
	// Applied nor Split. nil: no transaction.
	Producer *Producer
	// Then runs in the shard's loop, exactly once: with nil when these records, and all that the operation could have seen, are committed;
	// else with the reason: RequestTimedOut after Options.WriteTimeout, an append's error, NotCoordinator when the shard
	// is dropped. CodeFor maps the error for clients. nil: nothing.
	Then func(env Env, err error)
}
