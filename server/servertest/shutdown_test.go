package servertest_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/servertest"
)

// TestControlledShutdown: a broker that stops hands over what it leads while producers go on; nobody waits for a session to end.
func TestControlledShutdown(t *testing.T) {
	b := servertest.Start(t, servertest.Brokers(3), servertest.With("broker.session.timeout.ms", "300000"))
	client := clusterClient(t, b, "handed-over", 6)
	for range 50 {
		if err := client.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	worst := make(chan time.Duration)
	acked := make(chan struct{}, 1)
	go func() {
		longest := time.Duration(0)
		for {
			select {
			case <-stop:
				worst <- longest
				return
			default:
			}
			begin := time.Now()
			if err := client.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
				t.Error(err)
			}
			longest = max(longest, time.Since(begin))
			select {
			case acked <- struct{}{}:
			default: // nobody waits for it
			}
		}
	}()
	begin := time.Now()
	b.Stop(t, 1)
	took := time.Since(begin)
	for range 100 { // as many as there were meanwhile, and more
		<-acked
	}
	close(stop)
	longest := <-worst
	t.Logf("the stop took %v, the slowest record meanwhile %v", took, longest)
	if took > time.Minute || longest > time.Minute { // generous, as for a busy machine; a session takes five minutes
		t.Errorf("the stop took %v, the slowest record meanwhile %v", took, longest)
	}
	fresh, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	eventually(t, "other leaders, and ISRs without the broker that stopped", func() (bool, any) {
		metadata, err := kadm.NewClient(fresh).Metadata(t.Context(), "handed-over")
		if err != nil {
			return false, err
		}
		for _, p := range metadata.Topics["handed-over"].Partitions {
			if p.Leader == 2 || p.Leader < 0 || len(p.ISR) != 2 {
				return false, p
			}
		}
		return len(metadata.Topics["handed-over"].Partitions) == 6, metadata
	})
}
