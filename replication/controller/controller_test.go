package controller

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// register registers a broker and unfences it.
func register(t *testing.T, c *Controller, id int32) int64 {
	t.Helper()
	resp, err := c.Handle(t.Context(), registration(id, testCluster), Caller{})
	if err != nil || resp.(*kmsg.BrokerRegistrationResponse).ErrorCode != 0 {
		t.Fatalf("register %d: %+v, %v", id, resp, err)
	}
	epoch := resp.(*kmsg.BrokerRegistrationResponse).BrokerEpoch
	if r := tell(t, c, id, epoch, c.Image().Offset()); r.IsFenced {
		t.Fatalf("broker %d is fenced: %+v", id, r)
	}
	return epoch
}

// tell sends a heartbeat.
func tell(t *testing.T, c *Controller, id int32, epoch, applied int64) *kmsg.BrokerHeartbeatResponse {
	t.Helper()
	resp, err := c.Handle(t.Context(), &kmsg.BrokerHeartbeatRequest{BrokerID: id, BrokerEpoch: epoch, CurrentMetadataOffset: applied}, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.(*kmsg.BrokerHeartbeatResponse)
}

// createAsync creates a topic from another goroutine and gives its code, or the error's.
func createAsync(ctx context.Context, c *Controller, name string, timeout time.Duration) <-chan protocol.Code {
	out := make(chan protocol.Code, 1)
	go func() {
		req := &kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: int32(timeout / time.Millisecond), Topics: []kmsg.CreateTopicsRequestTopic{newTopicRequest(name, 1, 1)}}
		resp, err := c.Handle(ctx, req, Caller{})
		if err != nil {
			out <- protocol.CodeOf(err)
			return
		}
		out <- protocol.Code(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	}()
	return out
}

func answered(out <-chan protocol.Code) (protocol.Code, bool) {
	select {
	case code := <-out:
		return code, true
	default:
		return 0, false
	}
}

func TestCreatedMeansThatTheLeaderKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startListed(t, nil)
		epoch := register(t, c, 1)
		out := createAsync(t.Context(), c, "t", time.Minute)
		synctest.Wait()
		if code, ok := answered(out); ok {
			t.Fatalf("answered %v before the leader has applied it", code)
		}
		if c.Image().Topic("t") == nil {
			t.Fatal("it is not committed")
		}
		tell(t, c, 1, epoch, c.Image().Offset()-1)
		synctest.Wait()
		if _, ok := answered(out); ok {
			t.Fatal("answered while the leader lacks a record")
		}
		tell(t, c, 1, epoch, c.Image().Offset())
		if code := <-out; code != protocol.None {
			t.Errorf("%v", code)
		}
	})
}

func TestCreateTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startListed(t, map[string]string{"broker.session.timeout.ms": "600000"})
		register(t, c, 1)
		begin := time.Now()
		if code := <-createAsync(t.Context(), c, "applied-late", 3*time.Second); code != protocol.None || time.Since(begin) != 3*time.Second {
			t.Errorf("committed but not applied: %v after %v", code, time.Since(begin))
		}
		q.hold()
		begin = time.Now()
		if code := <-createAsync(t.Context(), c, "committed-late", 2*time.Second); code != protocol.RequestTimedOut || time.Since(begin) != 2*time.Second {
			t.Errorf("not committed: %v after %v", code, time.Since(begin))
		}
		if code := <-createAsync(t.Context(), c, "at-once", 0); code != protocol.RequestTimedOut {
			t.Errorf("no time at all: %v", code)
		}
		q.release()
		synctest.Wait()
		if c.Image().Topic("committed-late") == nil {
			t.Error("what was decided did not come about after its timeout")
		}
	})
}

// TestAGoneCallerIsNotReadAgain: its request's memory may be in use for something else.
func TestAGoneCallerIsNotReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startListed(t, nil)
		register(t, c, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			if _, err := c.Handle(ctx, &kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 1000}, Caller{}); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	})
}

func TestDecisionsSeeWhatIsProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startListed(t, nil)
		epoch := register(t, c, 1)
		q.hold()
		first := createAsync(t.Context(), c, "t", time.Minute)
		synctest.Wait()
		second := createAsync(t.Context(), c, "t", time.Minute)
		synctest.Wait()
		if code, ok := answered(second); ok {
			t.Fatalf("the second was answered %v before the first is committed", code)
		}
		q.release()
		synctest.Wait()
		if code := <-second; code != protocol.TopicAlreadyExists {
			t.Errorf("the second: %v", code)
		}
		tell(t, c, 1, epoch, c.Image().Offset())
		if code := <-first; code != protocol.None {
			t.Errorf("the first: %v", code)
		}
	})
}

func TestLostLeadershipDropsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startListed(t, nil)
		epoch := register(t, c, 1)
		q.hold()
		out := createAsync(t.Context(), c, "t", time.Minute)
		synctest.Wait()
		q.depose()
		if code := <-out; code != protocol.NotController {
			t.Errorf("the pending one: %v", code)
		}
		if code := <-createAsync(t.Context(), c, "u", time.Minute); code != protocol.NotController {
			t.Errorf("without a leader: %v", code)
		}
		q.elect()
		q.release()
		synctest.Wait()
		if c.Image().Topic("t") != nil {
			t.Fatal("the lost proposal was committed")
		}
		out = createAsync(t.Context(), c, "t", time.Minute)
		synctest.Wait()
		tell(t, c, 1, epoch, c.Image().Offset())
		if code := <-out; code != protocol.None {
			t.Errorf("after the new election: %v", code)
		}
	})
}

func TestSilentBrokersAreFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startListed(t, nil)
		epochs := map[int32]int64{1: register(t, c, 1), 2: register(t, c, 2)}
		for range 6 {
			time.Sleep(2 * time.Second)
			tell(t, c, 1, epochs[1], c.Image().Offset())
		}
		synctest.Wait()
		if c.Image().Broker(1).Fenced || !c.Image().Broker(2).Fenced {
			t.Errorf("broker 1 fenced: %v, broker 2 fenced: %v", c.Image().Broker(1).Fenced, c.Image().Broker(2).Fenced)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !c.Image().Broker(1).Fenced {
			t.Error("broker 1 was silent for 10 s and is not fenced")
		}
		if r := tell(t, c, 2, epochs[2], c.Image().Offset()); r.IsFenced {
			t.Errorf("broker 2 came back: %+v", r)
		}
	})
}

// TestAFencedLeaderIsNotWaitedFor: nobody can use what it leads anyway.
func TestAFencedLeaderIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startListed(t, nil)
		register(t, c, 1)
		begin := time.Now()
		if code := <-createAsync(t.Context(), c, "t", time.Minute); code != protocol.None {
			t.Error(code)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("answered after %v, the session ends after 9 s", took)
		}
	})
}

func TestConcurrentRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, q := startListed(t, nil)
		epoch := register(t, c, 1)
		before := q.committed()
		var callers sync.WaitGroup
		starts := make(chan int64, 400)
		for range 8 {
			callers.Go(func() {
				for range 50 {
					resp, err := c.Handle(t.Context(), &kmsg.AllocateProducerIDsRequest{BrokerID: 1, BrokerEpoch: epoch}, Caller{})
					if err != nil {
						t.Error(err)
						return
					}
					starts <- resp.(*kmsg.AllocateProducerIDsResponse).ProducerIDStart
				}
			})
		}
		callers.Wait()
		close(starts)
		var all []int64
		for s := range starts {
			all = append(all, s)
		}
		slices.Sort(all)
		for i, s := range all {
			if s != int64(i)*1000 {
				t.Fatalf("block %d starts at %d", i, s)
			}
		}
		if got := q.committed() - before; got != 400 {
			t.Errorf("%d batches", got)
		}
	})
}

func TestUnservedRequest(t *testing.T) {
	c, _ := startListed(t, nil)
	if _, err := c.Handle(t.Context(), kmsg.NewPtrMetadataRequest(), Caller{}); protocol.CodeOf(err) != protocol.UnsupportedVersion {
		t.Error(err)
	}
}

func TestDescribeQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := startListed(t, nil)
		ask := func(topic string, partition int32) kmsg.DescribeQuorumResponseTopicPartition {
			req := kmsg.NewPtrDescribeQuorumRequest()
			req.Version = 2
			req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: topic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: partition}}}}
			resp, err := c.Handle(t.Context(), req, Caller{})
			if err != nil {
				t.Fatal(err)
			}
			return resp.(*kmsg.DescribeQuorumResponse).Topics[0].Partitions[0]
		}
		if p := ask("__cluster_metadata", 0); p.ErrorCode != 0 || p.LeaderID != 1 || len(p.CurrentVoters) != 1 || p.HighWatermark != c.Image().Offset()+1 {
			t.Errorf("%+v", p)
		}
		if p := ask("t", 0); protocol.Code(p.ErrorCode) != protocol.UnknownTopicOrPartition {
			t.Errorf("%+v", p)
		}
	})
}
