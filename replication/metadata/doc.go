// Package metadata holds the cluster's metadata as one immutable value, the Image, and turns the records of the metadata log
// into the next one.
//
// An Image is never changed after it was made, so it is read without a lock and shared by everybody; what its methods return
// is shared too and must not be changed. With gives the next Image and a Delta, which names what changed; the cost of both is
// that of the change, as topics, configs and the rest lie in persistent radix trees. A Loader does the same for batches as
// they stand in the log, and holds back the records of a metadata transaction until it ends.
//
// The Observer is the only thing here with a goroutine: it owns a Loader, follows the metadata log of this node, and publishes
// each Image in order. Close stops it. There are no mutexes: the latest Image is an atomic pointer.
//
//	image.go        Image and its look-ups
//	entities.go     Topic, Partition, Broker and the rest of what an Image holds
//	delta.go        Delta: what a change touched; the difference of two images
//	builder.go      an Image in the making: clusters, configs, features
//	builder_topic.go   topics and partitions in the making
//	records.go      an Image as records
//	loader.go       batches of the log into images; metadata transactions
//	checkpoint.go   Kafka's checkpoint files (snapshots), read and written
//	observer.go     the goroutine that follows the log
package metadata
