// Package servertest gives Go tests a broker of their own: in the test's process, on a free port of the loopback, with its
// data in memory, closed with the test.
//
//	func TestOrders(t *testing.T) {
//		broker := servertest.Start(t)
//		client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
//		...
//	}
//
// Brokers makes it a cluster, whose brokers are killed, stopped, restarted and cut off from each other:
//
//	cluster := servertest.Start(t, servertest.Brokers(3))
//	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs...))
//	...
//	cluster.Kill(t, 0)
//	cluster.Partition(1, 2)
//	cluster.Heal()
//	cluster.Restart(t, 0)
//
// Brokers of one process share nothing, so tests may run in parallel. A broker does not work in a bubble of testing/synctest:
// its sockets are real, and a goroutine that waits for one keeps the bubble's clock from moving on.
//
// Files: servertest.go a broker and what they have in common, cluster.go several, network.go the loopback between them; package port keeps their ports.
package servertest
