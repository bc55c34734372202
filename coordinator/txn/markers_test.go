package txn

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestMarkersByCode holds what becomes of a transaction whose markers are answered with a code for a while.
func TestMarkersByCode(t *testing.T) {
	const again, done, stuck = "again", "done", "stuck"
	for code, want := range map[protocol.Code]string{
		protocol.UnknownTopicOrPartition:      again,
		protocol.NotLeaderOrFollower:          again,
		protocol.NotEnoughReplicas:            again,
		protocol.NotEnoughReplicasAfterAppend: again,
		protocol.RequestTimedOut:              again,
		protocol.KafkaStorageError:            again,
		protocol.UnknownServerError:           again,
		protocol.UnsupportedForMessageFormat:  done,
		protocol.UnsupportedVersion:           done,
		protocol.InvalidProducerEpoch:         stuck,
		protocol.TransactionCoordinatorFenced: stuck,
	} {
		t.Run(code.String(), func(t *testing.T) {
			run(t, nil, func(h *harness) {
				h.leaders.answer = func(node int32, _ *kmsg.WriteTxnMarkersRequestMarker, _ protocol.TopicPartition) (protocol.Code, bool) {
					if node == 2 {
						return code, true
					}
					return protocol.None, true
				}
				p := h.init()
				h.must("add", h.add(5, p, 0, 1))
				ended, _ := h.end(5, p, true)
				h.must("commit", ended)
				sleep(10 * time.Second)
				if (h.describe() == "CompleteCommit 101/1 []") != (want == done) {
					t.Errorf("while a leader answers so it is %s", h.describe())
				}
				h.leaders.set(func(f *fakeLeaders) { f.answer = nil })
				sleep(10 * time.Second)
				if (h.describe() == "CompleteCommit 101/1 []") != (want != stuck) {
					t.Errorf("afterwards it is %s", h.describe())
				}
				got := h.leaders.markers()
				slices.Sort(got)
				written := []string{"1 101/1 COMMIT a-0"}
				if want == again {
					written = append(written, "2 101/1 COMMIT a-1")
				}
				if !slices.Equal(got, written) {
					t.Errorf("markers %v, want %v", got, written)
				}
			})
		})
	}
}

func TestALeaderThatDoesNotAnswer(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.leaders.answer = func(int32, *kmsg.WriteTxnMarkersRequestMarker, protocol.TopicPartition) (protocol.Code, bool) {
			return 0, false
		}
		p := h.init()
		h.must("add", h.add(5, p, 0))
		ended, _ := h.end(5, p, true)
		h.must("commit", ended)
		sleep(time.Minute)
		if h.leaders.calls < 10 || h.leaders.calls > 100 {
			t.Errorf("asked %d times in a minute", h.leaders.calls)
		}
		h.leaders.set(func(f *fakeLeaders) { f.answer = nil })
		sleep(2 * maxMarkerRetry)
		h.expect("CompleteCommit 101/1 []")
	})
}

func TestPartitionsThatAreGoneNeedNoMarker(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0, 1, 7)) // the third was never there
		h.change(&schema.RemoveTopicRecord{TopicID: topicID(1)})
		ended, _ := h.end(5, p, true)
		h.must("commit", ended)
		synctest.Wait()
		h.expect("CompleteCommit 101/1 []")
		if got := h.leaders.markers(); len(got) != 0 {
			t.Errorf("markers %v", got)
		}
	})
}

// TestAnOldImageDoesNotKnowWhatIsGone starts a coordinator with an image from before its registration, which lacks a topic.
func TestAnOldImageDoesNotKnowWhatIsGone(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0))
		h.leaders.block()
		ended, _ := h.end(5, p, true)
		h.must("commit", ended)
		h.c.Close()
		h.leaders.set(func(f *fakeLeaders) { f.gate = nil })
		full := h.image.Load()
		old, _, err := full.With(full.Offset()+1, 1, []schema.MetadataRecord{&schema.RemoveTopicRecord{TopicID: topicID(1)}})
		if err != nil {
			t.Fatal(err)
		}
		h.image.Store(old)
		registered := full.Offset() + 2
		h.o.Registered = imageFrom(registered)
		h.start()
		sleep(10 * time.Second)
		h.expect("PrepareCommit 101/1 [a-0]")
		h.change(&schema.TopicRecord{Name: "a", TopicID: topicID(1)}, partitionOn(topicID(1), 0, 2, 0))
		if got := h.leaders.markers(); !slices.Equal(got, []string{"2 101/1 COMMIT a-0"}) {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteCommit 101/1 []")
	})
}

func TestMarkersFollowTheLeader(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0))
		h.change(partitionOn(topicID(1), 0, -1, 1))
		ended, _ := h.end(5, p, false)
		h.must("abort", ended)
		sleep(time.Hour)
		h.expect("PrepareAbort 101/1 [a-0]")
		h.change(partitionOn(topicID(1), 0, 2, 2))
		if got := h.leaders.markers(); !slices.Equal(got, []string{"2 101/1 ABORT a-0"}) {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteAbort 101/1 []")
	})
}

// TestMarkersForABrokerThatDies has a leader that is replaced while it owes an answer, after many that it did not give: its successor is asked at once.
func TestMarkersForABrokerThatDies(t *testing.T) {
	for name, during := range map[string]bool{"during a request": true, "between requests": false} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(h *harness) {
				h.leaders.answer = func(node int32, _ *kmsg.WriteTxnMarkersRequestMarker, _ protocol.TopicPartition) (protocol.Code, bool) {
					return protocol.None, node != 1
				}
				p := h.init()
				h.must("add", h.add(5, p, 0))
				ended, _ := h.end(5, p, true)
				h.must("commit", ended)
				sleep(time.Minute)
				release := func() {}
				if during {
					release = h.leaders.block()
					sleep(maxMarkerRetry)
				}
				begin := time.Now()
				h.change(partitionOn(topicID(1), 0, 2, 1))
				release()
				synctest.Wait()
				h.expect("CompleteCommit 101/1 []")
				if took := time.Since(begin); took != 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestMarkersWaitInLine checks that a broker gets one request at a time, with all that came meanwhile.
func TestMarkersWaitInLine(t *testing.T) {
	run(t, nil, func(h *harness) {
		release := h.leaders.block()
		const ids = 20
		for i := range ids {
			id := string(rune('a' + i))
			resp := runtimetest.Now(t, h.initAs(5, id, nil, 60_000))
			add := kmsg.NewPtrAddPartitionsToTxnRequest()
			add.Version, add.TransactionalID, add.ProducerID, add.Topics = 3, id, resp.ProducerID, []kmsg.AddPartitionsToTxnRequestTopic{
				{Topic: "b", Partitions: []int32{0}},
			}
			runtimetest.Now(t, h.c.AddPartitionsToTxn(add))
			end := kmsg.NewPtrEndTxnRequest()
			end.Version, end.TransactionalID, end.ProducerID, end.Commit = 4, id, resp.ProducerID, true
			runtimetest.Now(t, h.c.EndTxn(end))
		}
		if h.leaders.calls != 1 {
			t.Errorf("%d requests under way, want 1", h.leaders.calls)
		}
		release()
		if got := h.leaders.markers(); len(got) != ids || h.leaders.calls != 2 {
			t.Errorf("%d markers in %d requests, want %d in 2", len(got), h.leaders.calls, ids)
		}
	})
}

// TestTheEndIsAppendedAgain lets the record of the completed transaction fail.
func TestTheEndIsAppendedAgain(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0))
		release := h.leaders.block()
		ended, _ := h.end(5, p, true)
		h.must("commit", ended)
		h.log.Refuse(protocol.NotEnoughReplicas)
		release()
		sleep(time.Minute)
		h.expect("PrepareCommit 101/1 [a-0]")
		h.log.Refuse(nil)
		sleep(completionRetry)
		h.expect("CompleteCommit 101/1 []")
	})
}

// TestDecisionsAreDurableBeforeTheirMarkers restarts over a log whose end is not committed yet.
func TestDecisionsAreDurableBeforeTheirMarkers(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(5, p, 0))
		h.log.Hold(true)
		runtimetest.Parked(t, h.endFuture(5, p, true))
		h.restart()
		sleep(10 * time.Minute)
		if got := h.leaders.markers(); len(got) != 0 {
			t.Errorf("markers of a decision that may be lost: %v", got)
		}
		h.log.Hold(false)
		h.log.Commit(-1)
		sleep(time.Second)
		if got := h.leaders.markers(); !slices.Equal(got, []string{"1 101/1 COMMIT a-0"}) {
			t.Errorf("markers %v", got)
		}
		h.expect("CompleteCommit 101/1 []")
	})
}

// TestAnswersInAnyOrder: only an answer in the order of the request is taken as a whole, and every other one partition by partition.
func TestAnswersInAnyOrder(t *testing.T) {
	tp := func(topic string, partition int32) protocol.TopicPartition {
		return protocol.TopicPartition{Topic: topic, Partition: partition}
	}
	e := &markerEntry{partitions: []protocol.TopicPartition{tp("a", 0), tp("a", 1), tp("b", 0)}}
	answer := func(first, second, third protocol.TopicPartition, code protocol.Code) *kmsg.WriteTxnMarkersResponseMarker {
		m := &kmsg.WriteTxnMarkersResponseMarker{}
		for _, p := range []protocol.TopicPartition{first, second, third} {
			t := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: p.Topic}
			t.Partitions = append(t.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
			m.Topics = append(m.Topics, t)
		}
		return m
	}
	if whole := answer(tp("a", 0), tp("a", 1), tp("b", 0), protocol.None); !e.writtenBy(whole) {
		t.Error("all are written")
	}
	for name, m := range map[string]*kmsg.WriteTxnMarkersResponseMarker{
		"another order":     answer(tp("b", 0), tp("a", 1), tp("a", 0), protocol.None),
		"another partition": answer(tp("a", 0), tp("a", 1), tp("a", 2), protocol.None),
		"an error":          answer(tp("a", 0), tp("a", 1), tp("b", 0), protocol.NotLeaderOrFollower),
		"too few":           {Topics: answer(tp("a", 0), tp("a", 1), tp("b", 0), protocol.None).Topics[:2]},
		"none":              nil,
	} {
		if e.writtenBy(m) {
			t.Errorf("%s: all are said to be written", name)
		}
	}
	if codes := codesOf(answer(tp("b", 0), tp("a", 1), tp("a", 0), protocol.None)); len(codes) != 3 {
		t.Errorf("%v", codes)
	}
}

func TestRecordTopicsThatAlternate(t *testing.T) {
	got := recordTopics([]protocol.TopicPartition{{Topic: "a", Partition: 3}, {Topic: "b", Partition: 1}, {Topic: "a", Partition: 4}, {Topic: "a", Partition: 5}})
	if len(got) != 2 || got[0].Topic != "a" || !slices.Equal(got[0].Partitions, []int32{3, 4, 5}) || got[1].Topic != "b" || !slices.Equal(got[1].Partitions, []int32{1}) {
		t.Errorf("%+v", got)
	}
}
