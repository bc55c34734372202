package assignor_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/protocol"
)

// groupSpec makes a group of n members over topics with the given partitions. Unless all subscribe alike, each member leaves out every topic with
// probability 1/3.
func groupSpec(r *rand.Rand, n int, homogeneous bool, partitions ...int32) *assignor.Spec {
	spec := &assignor.Spec{Homogeneous: homogeneous, Topics: map[protocol.UUID]assignor.Topic{}}
	for i, count := range partitions {
		spec.Topics[testTopic(i)] = assignor.Topic{Partitions: count}
	}
	for i := range n {
		m := assignor.Member{ID: fmt.Sprintf("member-%05d", i)}
		for len(m.Topics) == 0 {
			for topic := range partitions {
				if homogeneous || r.IntN(3) > 0 {
					m.Topics = append(m.Topics, testTopic(topic))
				}
			}
		}
		spec.Members = append(spec.Members, m)
	}
	return spec
}

// assign runs an assignor, checks that each partition with subscribers has exactly one owner, who subscribes to it, and makes the result the group's
// target.
func assign(t testing.TB, a assignor.Assignor, spec *assignor.Spec) []assignor.Assignment {
	t.Helper()
	result, err := a.Assign(spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(result) != len(spec.Members) {
		t.Fatalf("%d assignments for %d members", len(result), len(spec.Members))
	}
	owners := map[protocol.UUID]map[int32]string{}
	subscribed := map[protocol.UUID]bool{}
	for i := range spec.Members {
		m := &spec.Members[i]
		for _, id := range m.Topics {
			subscribed[id] = true
		}
		for id, partitions := range result[i] {
			if !slices.Contains(m.Topics, id) || len(partitions) == 0 || !slices.IsSorted(partitions) {
				t.Fatalf("%s is assigned %v of topic %s", m.ID, partitions, id)
			}
			if owners[id] == nil {
				owners[id] = map[int32]string{}
			}
			for _, p := range partitions {
				if other, taken := owners[id][p]; taken || p < 0 || p >= spec.Topics[id].Partitions {
					t.Fatalf("partition %d of topic %s belongs to %q and %s", p, id, other, m.ID)
				}
				owners[id][p] = m.ID
			}
		}
	}
	for id := range subscribed {
		if len(owners[id]) != int(spec.Topics[id].Partitions) {
			t.Fatalf("%d of %d partitions of a topic have owners", len(owners[id]), spec.Topics[id].Partitions)
		}
	}
	for i := range spec.Members {
		spec.Members[i].Target = result[i]
	}
	return result
}

func size(a assignor.Assignment) (n int) {
	for _, partitions := range a {
		n += len(partitions)
	}
	return n
}

// kept counts the partitions that stay where they are.
func kept(before, after []assignor.Assignment) (n int) {
	for i := range after {
		for id, partitions := range after[i] {
			for _, p := range partitions {
				if slices.Contains(before[i][id], p) {
					n++
				}
			}
		}
	}
	return n
}

func TestUniformIsBalancedToWithinOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		spec := groupSpec(r, 1+r.IntN(20), true, r.Int32N(30), 1+r.Int32N(30), 1+r.Int32N(30))
		for range 4 {
			result := assign(t, assignor.Uniform{}, spec)
			least, most := size(result[0]), 0
			for _, a := range result {
				least, most = min(least, size(a)), max(most, size(a))
			}
			if most-least > 1 {
				t.Fatalf("members have %d to %d partitions", least, most)
			}
			shrinkOrGrow(r, spec)
		}
	}
}

// shrinkOrGrow takes a member out or lets a topic grow.
func shrinkOrGrow(r *rand.Rand, spec *assignor.Spec) {
	if len(spec.Members) > 1 && r.IntN(2) == 0 {
		i := r.IntN(len(spec.Members))
		spec.Members = slices.Delete(spec.Members, i, i+1)
		return
	}
	id := testTopic(r.IntN(len(spec.Topics)))
	spec.Topics[id] = assignor.Topic{Partitions: spec.Topics[id].Partitions + 1 + r.Int32N(5)}
}

func TestHeterogeneousGroupsAreValidWhateverHappens(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, a := range []assignor.Assignor{assignor.Uniform{}, assignor.Range{}} {
		for range 200 {
			spec := groupSpec(r, 1+r.IntN(20), false, 1+r.Int32N(9), 1+r.Int32N(30), 1+r.Int32N(30), 1+r.Int32N(3))
			for range 4 {
				assign(t, a, spec)
				shrinkOrGrow(r, spec)
			}
		}
	}
}

func TestUniformMovesOnlyWhatItMust(t *testing.T) {
	for _, homogeneous := range []bool{true, false} {
		r := rand.New(rand.NewPCG(3, 3))
		spec := groupSpec(r, 10, homogeneous, 40, 40, 20)
		before := assign(t, assignor.Uniform{}, spec)
		again := assign(t, assignor.Uniform{}, spec)
		if !reflect.DeepEqual(before, again) {
			t.Error("the assignment changes although nothing else does")
		}
		lost := size(before[4])
		spec.Members = slices.Delete(spec.Members, 4, 5)
		before = slices.Delete(slices.Clone(before), 4, 5)
		after := assign(t, assignor.Uniform{}, spec)
		allowed := 0
		if !homogeneous {
			allowed = 2 // what is free goes to few subscribers, whose load the others then share
		}
		if moved := 100 - lost - kept(before, after); moved > allowed {
			t.Errorf("homogeneous %v: %d partitions of those who stayed moved", homogeneous, moved)
		}
	}
}

func TestUnchangedAssignmentIsTheSameMap(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, a := range []assignor.Assignor{assignor.Uniform{}, assignor.Range{}} {
		for _, homogeneous := range []bool{true, false} {
			spec := groupSpec(r, 10, homogeneous, 40, 7)
			assign(t, a, spec)
			for i, again := range assign(t, a, spec) {
				if reflect.ValueOf(again).Pointer() != reflect.ValueOf(spec.Members[i].Target).Pointer() {
					t.Errorf("%s: a member's assignment was made anew", a.Name())
				}
			}
		}
	}
}

func TestRangeKeepsTopicsTogether(t *testing.T) {
	spec := groupSpec(nil, 4, true, 10, 10)
	for _, a := range assign(t, assignor.Range{}, spec) {
		if !slices.Equal(a[testTopic(0)], a[testTopic(1)]) {
			t.Errorf("a member gets %v and %v of topics with as many partitions", a[testTopic(0)], a[testTopic(1)])
		}
	}
}

func TestRangeOrdersStaticMembersByInstance(t *testing.T) {
	spec := groupSpec(nil, 4, true, 4)
	last, first := "z", "a"
	spec.Members[1].InstanceID, spec.Members[3].InstanceID = &last, &first
	want := []int32{2, 1, 3, 0}
	for i, a := range assign(t, assignor.Range{}, spec) {
		if got := a[testTopic(0)]; !slices.Equal(got, []int32{want[i]}) {
			t.Errorf("member %d gets %v, want %d", i, got, want[i])
		}
	}
}

func TestBrokenTargetIsMended(t *testing.T) {
	for _, homogeneous := range []bool{true, false} {
		spec := groupSpec(rand.New(rand.NewPCG(5, 5)), 3, homogeneous, 6)
		for i := range spec.Members { // all claim partition 0; one claims what is not there
			spec.Members[i].Target = assignor.Assignment{testTopic(0): {0, 1, 99}, testTopic(7): {0}}
		}
		assign(t, assignor.Uniform{}, spec)
	}
}

func TestNoMembersAndNoTopics(t *testing.T) {
	for _, a := range []assignor.Assignor{assignor.Uniform{}, assignor.Range{}} {
		for _, homogeneous := range []bool{true, false} {
			assign(t, a, &assignor.Spec{Homogeneous: homogeneous})
			spec := &assignor.Spec{Homogeneous: homogeneous, Members: []assignor.Member{{ID: "a", Target: assignor.Assignment{testTopic(0): {0}}}}}
			if got := assign(t, a, spec)[0]; len(got) > 0 {
				t.Errorf("%s: a member without topics gets %v", a.Name(), got)
			}
		}
	}
}

func TestMissingTopicIsAnError(t *testing.T) {
	for _, a := range []assignor.Assignor{assignor.Uniform{}, assignor.Range{}} {
		spec := groupSpec(nil, 2, true, 1)
		clear(spec.Topics)
		if _, err := a.Assign(spec); protocol.CodeOf(err) != protocol.UnknownServerError {
			t.Errorf("%s: %v", a.Name(), err)
		}
	}
}

// The time grows with members and partitions, not with their product: 100 times the group takes far less than 1,000 times as long.
func BenchmarkAssign(b *testing.B) {
	for _, a := range []assignor.Assignor{assignor.Uniform{}, assignor.Range{}} {
		for _, homogeneous := range []bool{true, false} {
			for _, d := range []struct{ members, topics, partitions int }{{100, 10, 100}, {1_000, 100, 100}, {10_000, 100, 1_000}} {
				for _, left := range []bool{false, true} {
					name := fmt.Sprintf("%s/homogeneous=%v/%dx%d/left=%v", a.Name(), homogeneous, d.members, d.topics*d.partitions, left)
					b.Run(name, func(b *testing.B) { benchmark(b, a, homogeneous, left, d.members, d.topics, int32(d.partitions)) })
				}
			}
		}
	}
}

func benchmark(b *testing.B, a assignor.Assignor, homogeneous, left bool, members, topics int, partitions int32) {
	spec := groupSpec(nil, members, true, slices.Repeat([]int32{partitions}, topics)...)
	if spec.Homogeneous = homogeneous; !homogeneous {
		for i := range spec.Members {
			all := spec.Members[i].Topics
			spec.Members[i].Topics = nil
			for topic := i % 2; topic < topics; topic += 2 {
				spec.Members[i].Topics = append(spec.Members[i].Topics, all[topic])
			}
		}
	}
	if left {
		assign(b, a, spec)
		spec.Members = slices.Delete(spec.Members, members/2, members/2+1)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Assign(spec); err != nil {
			b.Fatal(err)
		}
	}
}
