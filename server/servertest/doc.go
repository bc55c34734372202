// Package servertest gives Go tests a broker of their own: in the test's process, on a free port of the loopback, with its
// data in memory, closed with the test.
//
//	func TestOrders(t *testing.T) {
//		broker := servertest.Start(t)
//		client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
//		...
//	}
//
// Brokers of one process share nothing, so tests may run in parallel. A broker does not work in a bubble of testing/synctest:
// its sockets are real, and a goroutine that waits for one keeps the bubble's clock from moving on.
package servertest
