package config

import (
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func TestConsumerGroupKeysFitTogether(t *testing.T) {
	for _, c := range []struct {
		static map[string]string
		want   string
	}{
		{nil, ""},
		{map[string]string{"group.consumer.session.timeout.ms": "44999"}, "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{map[string]string{"group.consumer.session.timeout.ms": "60001"}, "group.consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"},
		{map[string]string{"group.consumer.heartbeat.interval.ms": "1"}, "group.consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms"},
		{map[string]string{"group.consumer.max.heartbeat.interval.ms": "4000"}, "group.consumer.max.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms"},
		{map[string]string{"group.consumer.heartbeat.interval.ms": "45000", "group.consumer.max.heartbeat.interval.ms": "45000"}, "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms"},
		{map[string]string{"group.consumer.assignment.interval.ms": "15001"}, "group.consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms"},
		{map[string]string{"group.consumer.assignors": "uniform,org.example.Best"}, "Class org.example.Best cannot be found"},
	} {
		v, err := FromStatic(c.static)
		if err != nil {
			t.Fatalf("%v: %v", c.static, err)
		}
		err = v.Validate()
		got := ""
		if err != nil {
			got = *protocol.MessageOf(err)
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.static, got, c.want)
		}
	}
}

func TestAssignorsByTheirClass(t *testing.T) {
	for list, want := range map[string][]string{
		"uniform,range": {"uniform", "range"},
		"range":         {"range"},
		"org.apache.kafka.coordinator.group.assignor.RangeAssignor,org.apache.kafka.coordinator.group.assignor.UniformAssignor": {"range", "uniform"},
		"range,org.apache.kafka.coordinator.group.assignor.RangeAssignor":                                                       {"range"},
	} {
		v, err := FromStatic(map[string]string{"group.consumer.assignors": list})
		if err != nil {
			t.Fatal(err)
		}
		if got := ConsumerAssignors(v.List("group.consumer.assignors")); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", list, got, want)
		}
	}
}
