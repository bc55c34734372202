package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// fetchOne returns a group's offset of one-0.
func fetchOne(t *testing.T, n *Node, group string) int64 {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.Topics = 5, group, []kmsg.OffsetFetchRequestTopic{{Topic: "one", Partitions: []int32{0}}}
	resp := ask[*kmsg.OffsetFetchResponse](t, n, "PLAINTEXT", req)
	wantCode(t, "OffsetFetch", resp.ErrorCode, protocol.None)
	return resp.Topics[0].Partitions[0].Offset
}

func TestOffsetFetch(t *testing.T) {
	eachVersion(t, 9, func(t *testing.T, n *Node, version int16) {
		commitOne(t, n, "g", 7)
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group, req.RequireStable = version, "g", version >= 7
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "unknown", Partitions: []int32{3}}, {Topic: "one", Partitions: []int32{1, 0}}}
		g, other := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
		g.Group, other.Group = "g", "other"
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{
			{Topic: "unknown", TopicID: uid(77), Partitions: []int32{3}}, {Topic: "one", TopicID: uid(1), Partitions: []int32{1, 0}},
		}
		other.Topics = g.Topics
		req.Groups = []kmsg.OffsetFetchRequestGroup{g, other}
		resp := ask[*kmsg.OffsetFetchResponse](t, n, "PLAINTEXT", req)
		if version < 8 {
			if a, b, c := resp.Topics[0].Partitions[0], resp.Topics[1].Partitions[0], resp.Topics[1].Partitions[1]; a.Offset != -1 || b.Offset != -1 ||
				c.Offset != 7 || a.ErrorCode != 0 || *a.Metadata != "" || resp.Topics[0].Topic != "unknown" || c.Partition != 0 {
				t.Errorf("fetched %+v", resp.Topics)
			}
			return
		}
		if len(resp.Groups) != 2 || resp.Groups[0].Group != "g" || resp.Groups[1].Group != "other" {
			t.Fatalf("groups %+v", resp.Groups)
		}
		unknown := resp.Groups[0].Topics[0]
		want := protocol.None
		if version >= 10 {
			want = protocol.UnknownTopicID
			if unknown.TopicID != uid(77) || resp.Groups[0].Topics[1].TopicID != uid(1) {
				t.Errorf("ids %+v", resp.Groups[0].Topics)
			}
		}
		wantCode(t, "unknown topic", unknown.Partitions[0].ErrorCode, want)
		if a, b := unknown.Partitions[0], resp.Groups[0].Topics[1].Partitions[1]; a.Offset != -1 || *a.Metadata != "" || b.Offset != 7 || b.Partition != 0 {
			t.Errorf("fetched %+v", resp.Groups[0])
		}
		if got := resp.Groups[1].Topics[1].Partitions[1].Offset; got != -1 {
			t.Errorf("the other group has %d", got)
		}
	})
}

func TestOffsetFetchOfEverything(t *testing.T) {
	eachVersion(t, 9, func(t *testing.T, n *Node, version int16) {
		if version < 2 {
			return // cannot ask for everything
		}
		commitOne(t, n, "g", 7)
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.Group = version, "g"
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		req.Groups = []kmsg.OffsetFetchRequestGroup{g}
		resp := ask[*kmsg.OffsetFetchResponse](t, n, "PLAINTEXT", req)
		if version < 8 {
			if len(resp.Topics) != 1 || resp.Topics[0].Topic != "one" || resp.Topics[0].Partitions[0].Offset != 7 {
				t.Errorf("fetched %+v", resp.Topics)
			}
			return
		}
		topics := resp.Groups[0].Topics
		if len(topics) != 1 || (version >= 10) != (topics[0].TopicID == uid(1)) || topics[0].Partitions[0].Offset != 7 {
			t.Errorf("fetched %+v", topics)
		}
	})
}
