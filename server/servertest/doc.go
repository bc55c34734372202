// Package servertest gives Go tests a broker of their own: in the test's process, on a free port of the loopback, with its
// data in memory, closed with the test.
//
//	func TestOrders(t *testing.T) {
//		broker := servertest.Start(t)
//		client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
//		...
//	}
package servertest
