// Package record is Kafka's record batch (format v2): a view over its bytes, its checks, its records and how it is built, and the codecs
// that compress it. Batches are byte slices, owned by whoever made them; methods that patch say so.
//
// State: Codecs, the pools of one broker, safe for concurrent use and without locks of its own. Everything else is a value or
// belongs to its caller. No goroutines, no finalizers, nothing package-wide, so that it works inside testing/synctest bubbles.
//
// Nothing is allocated by what a length claims: buffers grow with the bytes that are there, zstd windows are cut down to what the blocks
// of a frame can hold, and a limit bounds what a batch may decompress to.
//
// Files:
//
//	batch.go             header fields, patches, Split
//	check.go             integrity of one batch
//	iterate.go           records of a batch, one after the other
//	skim.go              the same without keys and values, for validation
//	stream.go            decompressed bytes with a limit and a look ahead
//	builder.go           a new batch; the empty batch that compaction leaves
//	control.go           control records and transaction markers
//	validate.go          what a produced batch must be, and its stamps
//	rebuild.go           a produced batch in another codec
//	rewrite.go           a batch without some of its records, for compaction
//	legacy.go            the same for messages of magic 0 and 1
//	validation_error.go  bad records and Kafka's messages for them
//	codecs.go            the pools, and one file for each codec
package record
