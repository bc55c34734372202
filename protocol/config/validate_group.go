package config

import (
	"fmt"
	"slices"
)

// order is a rule that one broker key is not below another.
type order struct{ greater, less, words string }

const (
	assignorsKey = "group.consumer.assignors"

	notLess    = "%s must be greater than or equal to %s"
	notGreater = "%s must be less than or equal to %s"
)

// consumerOrders are the rules on the keys of consumer groups, in the order in which Kafka looks at them (GroupCoordinatorConfig.validate).
var consumerOrders = []order{
	{"group.consumer.max.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", notLess},
	{"group.consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", notLess},
	{"group.consumer.max.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms", notGreater},
	{"group.consumer.max.session.timeout.ms", "group.consumer.min.session.timeout.ms", notLess},
	{"group.consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", notLess},
	{"group.consumer.max.session.timeout.ms", "group.consumer.session.timeout.ms", notGreater},
	{"group.consumer.session.timeout.ms", "group.consumer.heartbeat.interval.ms", "%s must be less than %s"},
	{"group.consumer.max.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", notLess},
	{"group.consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", notLess},
	{"group.consumer.max.assignment.interval.ms", "group.consumer.assignment.interval.ms", notGreater},
}

// assignorClasses are the names of the built-in assignors of consumer groups, and of Kafka's classes that they stand for.
var assignorClasses = map[string]string{
	"uniform": "uniform", "range": "range",
	"org.apache.kafka.coordinator.group.assignor.UniformAssignor": "uniform",
	"org.apache.kafka.coordinator.group.assignor.RangeAssignor":   "range",
}

// ConsumerAssignors are the names of the assignors in a value of group.consumer.assignors, where Kafka's classes may stand for them.
func ConsumerAssignors(classes []string) []string {
	var names []string
	for _, class := range classes {
		if name := assignorClasses[class]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// consumerMistakes are those of how a broker's keys of consumer groups fit together.
func (v Values) consumerMistakes() (all []Mistake) {
	for _, o := range consumerOrders {
		greater, less := v.Int64(o.greater), v.Int64(o.less)
		first, second := o.greater, o.less
		if o.words != notLess {
			first, second = o.less, o.greater
		}
		if greater < less || (greater == less && o.words != notLess && o.words != notGreater) {
			all = append(all, Mistake{Keys: []string{first, second}, Text: fmt.Sprintf(o.words, first, second)})
		}
	}
	for _, class := range v.List(assignorsKey) {
		if assignorClasses[class] == "" {
			all = append(all, Mistake{[]string{assignorsKey}, "Class " + class + " cannot be found", "the assignors here are uniform and range"})
		}
	}
	return all
}
