// Package threads bounds how many goroutines do one kind of work at once: what Apache Kafka's num.io.threads and its like say of thread pools, where there are
// none.
//
// A Pool is used by many goroutines. Its free count is atomic, which is all that is touched while there is room; its mutex guards the queue of those that
// wait, and is never held while anything waits.
//
//	pool.go   Pool
package threads
