package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// detach copies a request: the copy's strings and bytes share one buffer of their own. What the request's version
// does not carry gets its default.
func detach[R kmsg.Request](req R) R {
	buf := req.AppendTo(nil)
	copied := kmsg.RequestForKey(req.Key())
	copied.SetVersion(req.GetVersion())
	r := copied.(R)
	if err := any(r).(interface{ UnsafeReadFrom([]byte) error }).UnsafeReadFrom(buf); err != nil {
		panic("a request that was just encoded cannot be read: " + err.Error())
	}
	return r
}

// detachTxnCommit copies a TxnOffsetCommit with the topic names that its version may not carry.
func detachTxnCommit(req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitRequest {
	r := *req
	r.Group, r.MemberID, r.InstanceID = strings.Clone(req.Group), strings.Clone(req.MemberID), cloned(req.InstanceID)
	r.TransactionalID = strings.Clone(req.TransactionalID)
	r.Topics = slices.Clone(req.Topics)
	for i := range r.Topics {
		t := &r.Topics[i]
		t.Topic = strings.Clone(t.Topic)
		t.Partitions = slices.Clone(t.Partitions)
		for j := range t.Partitions {
			t.Partitions[j].Metadata = cloned(t.Partitions[j].Metadata)
		}
	}
	return &r
}

// detachFetch copies the groups of an OffsetFetch, in the form of version 8 and later, with the topic names that version 10 does not carry.
func detachFetch(req *kmsg.OffsetFetchRequest) []kmsg.OffsetFetchRequestGroup {
	var groups []kmsg.OffsetFetchRequestGroup
	if req.Version >= 8 {
		groups = slices.Clone(req.Groups)
	} else {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = req.Group
		if req.Topics != nil {
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
		}
		for _, t := range req.Topics {
			g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
		groups = append(groups, g)
	}
	for i := range groups {
		g := &groups[i]
		g.Group, g.MemberID = strings.Clone(g.Group), cloned(g.MemberID)
		g.Topics = slices.Clone(g.Topics)
		for j := range g.Topics {
			t := &g.Topics[j]
			t.Topic, t.Partitions = strings.Clone(t.Topic), slices.Clone(t.Partitions)
		}
	}
	return groups
}

func cloned(s *string) *string {
	if s == nil {
		return nil
	}
	return kmsg.StringPtr(strings.Clone(*s))
}
