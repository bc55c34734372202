// Package protocol is Kafka's vocabulary: what a client can name. Error codes, ids, topic names, the frame and header of a
// request, and the encoder of the one response that carries files, Fetch. It does no I/O, starts no goroutine and owns no
// state; everything in it is safe for concurrent use unless a type says otherwise. It does not import the message types of
// any client library: those belong to the layers that handle requests.
//
// Files:
//
//	codes.go   error codes and their names
//	error.go   an error with its code and message for the client
//	feature.go the features of a cluster, their levels and what those depend on
//	uuid.go    Kafka's 16-byte ids and their text form
//	topic.go   topic names, partition folders, the partition of a coordinator key
//	frame.go   frame size and request header
//	body.go    what decoding a request's body may allocate, known before it is decoded
//	layout.go  how the bodies of all requests are built
//	fetch.go   encoder of the Fetch response around payloads that stay on disk
//
// The folders beside: record (batches and codecs), schema (records without types elsewhere) and config (keys and values).
package protocol
