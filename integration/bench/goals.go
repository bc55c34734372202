package main

import (
	"fmt"
	"slices"
	"strings"
)

// goal is what a metric of Ottla's is to reach: either a ratio to a peer, above 1 if better by that factor, or a bound.
type goal struct {
	peer   string // "": atMost is the goal
	ratio  float64
	atMost float64 // in the metric's unit
}

func toKafka(ratio float64) goal { return goal{peer: keyKafka, ratio: ratio} }
func toKfake(ratio float64) goal { return goal{peer: keyKfake, ratio: ratio} }
func toLimit(ratio float64) goal { return goal{peer: keyLimit, ratio: ratio} }
func atMost(bound float64) goal  { return goal{atMost: bound} }

// goalsOf are the goals of a case's metric. What has none of its own is to be no worse than Apache Kafka.
func goalsOf(name, metric string) []goal {
	switch {
	case name == "start" && metric == "first":
		return []goal{toKafka(40), atMost(0.1)}
	case name == "memory-idle":
		return []goal{toKafka(15), atMost(25)}
	case slices.Contains([]string{"connections", "partitions-10000"}, name) && metric == "memory":
		return []goal{toKafka(4)}
	case name == "partitions-10000" && metric == "restart, all":
		return []goal{toKafka(1), atMost(3)}
	case name == "compaction" && (metric == "cleaner" || metric == "speed"):
		return []goal{toKafka(2)}
	case slices.Contains([]string{"produce-1", "produce-16", "produce-128", "produce-acks1", "produce-idempotent"}, name): // 1 KB records in batches of 64 KiB
		switch metric {
		case "CPU":
			return []goal{toKafka(4), toLimit(1 / 1.5), toKfake(1)}
		case "rate":
			return []goal{toKafka(2), toLimit(0.8)}
		}
		return []goal{toKafka(8)}
	case slices.Contains([]string{"consume-1", "consume-16", "consume-128"}, name):
		switch metric {
		case "CPU":
			return []goal{toKafka(2), toLimit(1 / 1.3)}
		case "rate":
			return []goal{toKafka(2), toLimit(0.8)}
		}
		return []goal{toKafka(8)}
	case metric == "memory after":
		return []goal{toKafka(8)}
	case strings.HasPrefix(name, "latency-") && metric == "p99":
		return []goal{toKafka(2), toKfake(1)}
	case name == "latency-20000" && metric == "p99.9":
		return []goal{toKafka(4)}
	case name == "produce-small" && metric == "rate":
		return []goal{toKafka(2)}
	case name == "commits" && metric == "CPU", strings.HasPrefix(name, "rebalance-") && strings.HasPrefix(metric, "CPU"):
		return []goal{toKafka(3)}
	case name == "load-offsets" && metric == "load":
		return []goal{toKafka(2)}
	case name == "cluster-produce" && metric == "rate":
		return []goal{toKafka(1.5)}
	case name == "cluster-produce" && metric == "CPU":
		return []goal{toKafka(2)}
	case strings.HasPrefix(name, "transactions-") && metric == "CPU":
		return []goal{toKafka(3)}
	case strings.HasPrefix(name, "transactions-") && metric == "commit p99":
		return []goal{toKafka(2)}
	}
	return []goal{toKafka(1)}
}

// verdict is a goal with what became of it.
type verdict struct {
	Goal string
	Met  bool
}

// verdicts judges a row; goals whose peer was not measured are left out.
func (row *reportRow) verdicts() []verdict {
	var out []verdict
	ours, measured := row.Median[keyOttla]
	if !measured {
		return nil
	}
	for _, g := range goalsOf(row.Case, row.Metric) {
		if g.peer == "" {
			out = append(out, verdict{Goal: fmt.Sprintf("≤ %s %s", number(g.atMost), row.Unit), Met: ours <= g.atMost})
			continue
		}
		if _, measured := row.Median[g.peer]; !measured {
			continue
		}
		text := number(g.ratio) + "× " + shortNames[g.peer]
		if g.ratio < 1 && !row.MoreIsBetter {
			text = "≤ " + number(1/g.ratio) + "× " + shortNames[g.peer]
		}
		out = append(out, verdict{Goal: text, Met: row.against(g.peer) >= g.ratio})
	}
	return out
}

var shortNames = map[string]string{keyOttla: "Ottla", keyKafka: "Kafka", keyKfake: "kfake", keyLimit: "limit"}
