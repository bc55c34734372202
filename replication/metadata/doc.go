// Package metadata holds the cluster's metadata as one immutable value, the Image, and turns the records of the metadata log
// into the next one.
//
// An Image is never changed after it was made, so it is read without a lock and shared by everybody; what its methods return
// is shared too and must not be changed. With gives the next Image and a Delta, which names what changed; the cost of both is
// that of the change, as topics, configs and the rest lie in persistent radix trees. A Loader does the same for batches as
// they stand in the log, and holds back the records of a metadata transaction until it ends.
//
// The Observer owns a goroutine and a Loader: it follows the metadata log of this node, and publishes each Image in order. On a node with a controller that
// log is the controller's. On a broker only it is the Follower's, whose goroutine copies it from the controllers by Fetch and FetchSnapshot, takes checkpoints
// of what was published, and deletes what is old. Each is stopped by its Close, the Observer first. There are no mutexes: the latest Image is an atomic
// pointer, and so is the follower's history, by which the observer notices that its log was begun anew (odd while that lasts).
//
// Nothing stale comes into force: the first Image is published when the log has had all that the leader of the controllers had (Follower, Confirm).
//
//	image.go        Image and its look-ups
//	entities.go     Topic, Partition, Broker and the rest of what an Image holds
//	delta.go        Delta: what a change touched; the difference of two images
//	builder.go      an Image in the making: clusters, configs, features
//	builder_topic.go   topics and partitions in the making
//	records.go      an Image as records
//	loader.go       batches of the log into images; metadata transactions
//	checkpoint.go   Kafka's checkpoint files (snapshots), read and written
//	checkpoints.go  the folder of checkpoint files
//	observer.go     the goroutine that makes images of the log
//	follower.go     the goroutine that copies the log: rounds of Fetch, back-off, whom to ask
//	follower_log.go what it writes, and checks before; a start after a crash; beginning anew
//	follower_snapshot.go   FetchSnapshot
//	follower_confirm.go    whether the log of a node with a controller is up to date
//	upkeep.go       checkpoints of the follower, and the retention of log and checkpoints
package metadata
