package clients

import (
	"testing"

	"github.com/ottla/ottla/integration/process"
)

// TestGroupMigration takes a group of Java members from the classic protocol to the consumer protocol and back, one member at a
// time, while it works.
func TestGroupMigration(t *testing.T) {
	b := process.New(t, append([]string{"group.consumer.migration.policy=bidirectional"}, groupBrokerSettings...)...)
	b.Start(t)
	for _, assignor := range []string{"RangeAssignor", "CooperativeStickyAssignor"} {
		t.Run(assignor, func(t *testing.T) {
			t.Parallel()
			migrate(newMemberRun(t, b.Addr, "migration-"+assignor), "org.apache.kafka.clients.consumer."+assignor)
		})
	}
}

func migrate(r *memberRun, assignor string) {
	r.t.Helper()
	classic, consumer := javaMemberClient("4.3.1", "classic"), javaMemberClient("4.3.1", "consumer")
	classic.settings = append(classic.settings, "partition.assignment.strategy="+assignor)
	r.create(r.topic, 4)
	stop := r.produce()
	c1, c2 := r.member(classic), r.member(classic)
	r.settled("two classic members", c1, c2)
	r.expectType("Classic")

	c1.leave(r.t)
	k1 := r.member(consumer)
	r.settled("one of each protocol", c2, k1)
	r.expectType("Consumer")
	c2.leave(r.t)
	k2 := r.member(consumer)
	r.settled("two consumer members", k1, k2)

	k1.leave(r.t)
	c3 := r.member(classic)
	r.settled("one of each protocol again", k2, c3)
	r.expectType("Consumer")
	k2.leave(r.t)
	c4 := r.member(classic)
	r.settled("two classic members again", c3, c4)
	r.expectType("Classic")
	stop()
	r.finish(true, c3, c4)
}

// expectType checks what ListGroups says of the group.
func (r *memberRun) expectType(want string) {
	r.t.Helper()
	list, err := r.admin.ListGroupsByType(r.t.Context(), []string{want})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, ok := list[r.group]; !ok {
		r.t.Errorf("the group is not of type %s", want)
	}
}
