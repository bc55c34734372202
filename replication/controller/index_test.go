package controller

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// checkIndex requires that the index is what the image gives.
func checkIndex(t *testing.T, v *View) {
	t.Helper()
	if want := newIndex(v.Image); !reflect.DeepEqual(v.index, want) {
		t.Fatalf("the index is\n%+v\nbut the image gives\n%+v", v.index, want)
	}
}

// TestIndexFollowsTheView through creation, fencing, a lost directory, a reassignment and deletion.
func TestIndexFollowsTheView(t *testing.T) {
	v := newTestView(t, nil, records(withELR("2"), threeLive(), existing("t", uuid(1), []int32{1, 2, 3}, []int32{2, 3, 1}), existing("u", uuid(2), []int32{3}))...)
	checkIndex(t, v)
	if v.index.partitions != 3 || v.index.led[3] != 1 || v.index.preferred[2] != 1 {
		t.Fatalf("%+v", v.index)
	}
	apply(t, v, Decision{Records: fence(v, 3, nil)})
	checkIndex(t, v)
	if len(v.index.leaderless) != 1 || len(v.index.imbalanced) != 1 {
		t.Errorf("3 is gone: %d without a leader, %d imbalanced", len(v.index.leaderless), len(v.index.imbalanced))
	}
	change := schema.NewPartitionChangeRecord(uuid(1), 0)
	change.Directories, change.Adding = []protocol.UUID{uuid(201), uuid(202), uuid(203)}, []int32{3}
	apply(t, v, Decision{Records: one(change)})
	checkIndex(t, v)
	if len(v.index.reassigning) != 1 || len(v.index.directories[uuid(201)]) != 1 {
		t.Errorf("%+v", v.index)
	}
	apply(t, v, Decision{Records: directoriesOffline(v, v.Image.Broker(1), []protocol.UUID{uuid(201)}, nil)})
	checkIndex(t, v)
	if p := v.Image.Partition("t", 0); p.Leader != 2 {
		t.Errorf("the leader's directory is lost: %+v", p)
	}
	apply(t, v, Decision{Records: one(&schema.RemoveTopicRecord{TopicID: uuid(1)}, &schema.RemoveTopicRecord{TopicID: uuid(2)})})
	checkIndex(t, v)
	if v.index.partitions != 0 || len(v.index.brokers) != 0 || len(v.index.led) != 0 || len(v.index.directories) != 0 {
		t.Errorf("something is left: %+v", v.index)
	}
}

// BenchmarkFence is the decision to fail over 3,000 partitions among 20,000, with the view of it.
func BenchmarkFence(b *testing.B) {
	t := &testing.T{}
	all := records(withELR("2"), threeLive())
	for i := range 20 {
		replicas := make([][]int32, 1000)
		for p := range replicas {
			replicas[p] = []int32{2, 3}
			if i < 3 {
				replicas[p] = []int32{1, 2, 3}
			}
		}
		all = append(all, existing(fmt.Sprintf("t%d", i), uuid(byte(i)), replicas...)...)
	}
	v := newTestView(t, nil, all...)
	img := v.Image
	for b.Loop() {
		b.StopTimer()
		v.Image, v.index = img, newIndex(img)
		b.StartTimer()
		r := fence(v, 1, nil)
		if len(r) != 3001 {
			b.Fatalf("%d records", len(r))
		}
		if err := v.advance(1, r); err != nil {
			b.Fatal(err)
		}
	}
}
