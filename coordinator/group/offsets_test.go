package group

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

func TestCommitAndFetchByVersion(t *testing.T) {
	run(t, nil, func(h *harness) {
		id := protocol.NewUUID()
		for commit := int16(0); commit <= 10; commit++ {
			for fetch := int16(0); fetch <= 10; fetch++ {
				name := fmt.Sprintf("commit %d, fetch %d", commit, fetch)
				c := h.client()
				c.group = strings.ReplaceAll(name, " ", "-")
				req := c.commitRequest(commit, 42)
				p := &req.Topics[0].Partitions[0]
				p.Metadata, p.LeaderEpoch, p.Timestamp = kmsg.StringPtr("måde 😀"), 7, -1
				req.Topics[0].TopicID, req.RetentionTimeMillis = id, -1
				resp := runtimetest.Now(t, h.c.OffsetCommit(req))
				if resp.Version != commit || resp.Topics[0].Topic != "topic" || resp.Topics[0].TopicID != id {
					t.Errorf("%s: %+v", name, resp)
				}
				wantCode(t, name, resp.Topics[0].Partitions[0].ErrorCode, protocol.None)

				offset, epoch, metadata := h.fetchVersion(fetch, c.group)
				wantEpoch := int32(-1)
				if commit >= 6 {
					wantEpoch = 7
				}
				if offset != 42 || metadata != "måde 😀" || epoch != wantEpoch {
					t.Errorf("%s: %d, epoch %d, %q", name, offset, epoch, metadata)
				}
			}
		}
	})
}

// fetchVersion asks for topic-0 in the form of a version.
func (h *harness) fetchVersion(version int16, group string) (offset int64, epoch int32, metadata string) {
	h.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = version
	if version < 8 {
		req.Group, req.Topics = group, []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: []int32{0}}}
		resp := runtimetest.Now(h.t, h.c.OffsetFetch(req))
		p := resp.Topics[0].Partitions[0]
		return p.Offset, p.LeaderEpoch, *p.Metadata
	}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "topic", Partitions: []int32{0}}}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	resp := runtimetest.Now(h.t, h.c.OffsetFetch(req))
	if resp.Version != version || resp.Groups[0].Group != group {
		h.t.Errorf("version %d: %+v", version, resp)
	}
	p := resp.Groups[0].Topics[0].Partitions[0]
	return p.Offset, p.LeaderEpoch, *p.Metadata
}

func TestFetchOfWhatIsNotCommitted(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.client().commit(1)
		for version := int16(0); version <= 10; version++ {
			if offset, epoch, metadata := h.fetchVersion(version, "missing"); offset != -1 || epoch != -1 || metadata != "" {
				t.Errorf("version %d: %d, %d, %q", version, offset, epoch, metadata)
			}
		}
		if got := h.fetchFrom(h.c, testGroup, "other"); got != -1 {
			t.Errorf("an uncommitted topic has %d", got)
		}
	})
}

func TestFetchAll(t *testing.T) {
	run(t, nil, func(h *harness) {
		req := h.client().commitRequest(9, 1)
		req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: "another", Partitions: []kmsg.OffsetCommitRequestTopicPartition{
			{Partition: 3, Offset: 33, LeaderEpoch: 5}, {Partition: 1, Offset: 31, LeaderEpoch: -1, Metadata: kmsg.StringPtr("m")},
		}})
		runtimetest.Now(t, h.c.OffsetCommit(req))
		for version := int16(2); version <= 9; version++ {
			ask := kmsg.NewPtrOffsetFetchRequest()
			ask.Version, ask.Group = version, testGroup
			a, b := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
			a.Group, b.Group = testGroup, "missing"
			ask.Groups = []kmsg.OffsetFetchRequestGroup{a, b}
			resp := runtimetest.Now(t, h.c.OffsetFetch(ask))
			var got []string
			if version < 8 {
				for _, topic := range resp.Topics {
					for _, p := range topic.Partitions {
						got = append(got, fmt.Sprint(topic.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata))
					}
				}
			} else {
				for _, topic := range resp.Groups[0].Topics {
					for _, p := range topic.Partitions {
						got = append(got, fmt.Sprint(topic.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata))
					}
				}
				if len(resp.Groups) != 2 || len(resp.Groups[1].Topics) != 0 || resp.Groups[1].ErrorCode != 0 {
					t.Errorf("version %d: the missing group is %+v", version, resp.Groups[1:])
				}
			}
			want := []string{
				fmt.Sprint("another", 1, 31, -1, "m"), fmt.Sprint("another", 3, 33, 5, ""), fmt.Sprint("topic", 0, 1, -1, ""),
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("version %d: %q, want %q", version, got, want)
			}
		}
	})
}

func TestFetchErrorsByVersion(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.c.runtime.Resign(0, 1)
		for version := int16(0); version <= 10; version++ {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Version, req.Group, req.Topics = version, testGroup, []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: []int32{0}}}
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.Topics = testGroup, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "topic", Partitions: []int32{0}}}
			req.Groups = []kmsg.OffsetFetchRequestGroup{g}
			resp := runtimetest.Now(t, h.c.OffsetFetch(req))
			switch {
			case version < 2:
				p := resp.Topics[0].Partitions[0]
				wantCode(t, fmt.Sprint("version ", version), p.ErrorCode, protocol.NotCoordinator)
				if p.Offset != -1 {
					t.Errorf("version %d: offset %d", version, p.Offset)
				}
			case version < 8:
				wantCode(t, fmt.Sprint("version ", version), resp.ErrorCode, protocol.NotCoordinator)
			default:
				wantCode(t, fmt.Sprint("version ", version), resp.Groups[0].ErrorCode, protocol.NotCoordinator)
			}
		}
	})
}

func TestSimpleCommits(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		wantCode(t, "missing group", int16(c.commit(1)), protocol.None)
		h.wantState("Empty")
		if g := h.describe(testGroup); g.ProtocolType != "" {
			t.Errorf("protocol type %q", g.ProtocolType)
		}
		nameless := h.client()
		nameless.group = ""
		wantCode(t, "empty group id", int16(nameless.commit(9)), protocol.None)
		if got := h.fetch(""); got != 9 {
			t.Errorf("empty group id has %d", got)
		}
		member := h.client()
		h.stable(member)
		wantCode(t, "a group with members", int16(c.commit(2)), protocol.UnknownMemberID)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d", got)
		}
	})
}

func TestCommitToAMissingGroupAsAMember(t *testing.T) {
	run(t, nil, func(h *harness) {
		for version := int16(1); version <= 10; version++ {
			c := h.client()
			c.memberID, c.generation = "m", 3
			want := protocol.IllegalGeneration
			if version >= 9 {
				want = protocol.GroupIDNotFound
			}
			resp := runtimetest.Now(t, h.c.OffsetCommit(c.commitRequest(version, 1)))
			wantCode(t, fmt.Sprint("version ", version), resp.Topics[0].Partitions[0].ErrorCode, want)
		}
	})
}

func TestMetadataLimit(t *testing.T) {
	run(t, map[string]string{"offset.metadata.max.bytes": "4"}, func(h *harness) {
		for metadata, want := range map[string]protocol.Code{
			"abcd": protocol.None, "abcde": protocol.OffsetMetadataTooLarge,
			"ææææ": protocol.None, "😀😀": protocol.None, "😀😀a": protocol.OffsetMetadataTooLarge,
		} {
			req := h.client().commitRequest(9, 1)
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{
				Partition: 1, Offset: 2, Metadata: &metadata,
			})
			resp := runtimetest.Now(t, h.c.OffsetCommit(req))
			wantCode(t, "the other partition", resp.Topics[0].Partitions[0].ErrorCode, protocol.None)
			wantCode(t, metadata, resp.Topics[0].Partitions[1].ErrorCode, want)
		}
	})
}

func TestFetchAnswersWhatIsDurable(t *testing.T) {
	run(t, nil, func(h *harness) {
		c := h.client()
		c.commit(1)
		h.log.Hold(true)
		second := h.c.OffsetCommit(c.commitRequest(9, 2))
		synctest.Wait()
		third := h.c.OffsetCommit(c.commitRequest(9, 3))
		runtimetest.Parked(t, second)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d is not durable", got)
		}
		stable := kmsg.NewPtrOffsetFetchRequest()
		stable.Version, stable.Group, stable.RequireStable = 7, testGroup, true
		waiting := h.c.OffsetFetch(stable)
		runtimetest.Parked(t, waiting)
		h.log.Commit(h.log.LogEndOffset() - 1)
		runtimetest.Now(t, second)
		runtimetest.Parked(t, third)
		if got := h.fetch(testGroup); got != 2 {
			t.Errorf("offset %d, want the committed 2", got)
		}
		h.log.Commit(-1)
		runtimetest.Now(t, third)
		if got := runtimetest.Now(t, waiting).Topics[0].Partitions[0].Offset; got != 3 {
			t.Errorf("require stable answered %d", got)
		}
		h.inspect(func(s *shard) {
			if e := s.offsets.groups[testGroup]["topic"][0]; e.older != nil || s.offsets.written != nil {
				t.Errorf("old values are kept: %+v", e)
			}
		})
	})
}

func TestDeletedOffsetsStayUntilTheTombstoneIsDurable(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.client().commit(1)
		h.log.Hold(true)
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{testGroup}
		f := h.c.DeleteGroups(req)
		runtimetest.Parked(t, f)
		if got := h.fetch(testGroup); got != 1 {
			t.Errorf("offset %d", got)
		}
		h.log.Commit(-1)
		runtimetest.Now(t, f)
		if got := h.fetch(testGroup); got != -1 {
			t.Errorf("offset %d", got)
		}
		h.inspect(func(s *shard) {
			if n := len(s.offsets.groups); n != 0 {
				t.Errorf("%d groups are kept", n)
			}
		})
	})
}

func TestPendingTransactionalOffsets(t *testing.T) {
	run(t, nil, func(h *harness) {
		h.client().commit(1)
		h.c.runtime.Resign(0, 1)
		put := func(control bool, r ...func(*record.Builder)) {
			b := record.NewBuilder()
			b.ProducerID, b.ProducerEpoch, b.Transactional, b.Control = 9, 0, true, control
			for _, add := range r {
				add(b)
			}
			if err := h.log.Put(b); err != nil {
				t.Fatal(err)
			}
		}
		key := offsetKey{testGroup, "topic", 0}
		rec := offsetRecord(key, offsetValue{offset: 5, leaderEpoch: -1, expireTimestamp: noTimestamp})
		put(false, func(b *record.Builder) { b.Add(0, rec.Key, rec.Value) })
		h.c.runtime.Elect(0, 2)
		synctest.Wait()

		ask := kmsg.NewPtrOffsetFetchRequest()
		ask.Version, ask.Group, ask.RequireStable = 7, testGroup, true
		ask.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: []int32{0}}}
		p := runtimetest.Now(t, h.c.OffsetFetch(ask)).Topics[0].Partitions[0]
		wantCode(t, "require stable", p.ErrorCode, protocol.UnstableOffsetCommit)
		if got := h.fetch(testGroup); p.Offset != -1 || got != 1 {
			t.Errorf("unstable %d, last committed %d", p.Offset, got)
		}
		pass(365 * 24 * time.Hour) // an open transaction holds the group
		if got := h.list(nil, nil); len(got) != 1 {
			t.Errorf("groups %v", got)
		}
		h.c.runtime.Resign(0, 3)
		put(true, func(b *record.Builder) { b.Add(0, []byte{0, 0, 0, 1}, []byte{0, 0, 0, 0, 0, 0}) })
		h.c.runtime.Elect(0, 4)
		synctest.Wait()
		if got := h.fetch(testGroup); got != 5 {
			t.Errorf("after the commit: %d", got)
		}
	})
}
