package main

import (
	"slices"
	"strings"
	"time"
)

// usualCost is the time of one round of all servers, warm-ups included, on a quiet machine with two CPUs.
const usualCost = 7 * time.Second

// costs are those of the cases that take longer.
var costs = map[string]time.Duration{
	"start": 12 * time.Second, "memory-idle": 13 * time.Second, "connections": 28 * time.Second,
	"produce-1": 18 * time.Second, "produce-16": 15 * time.Second, "produce-idempotent": 10 * time.Second, "produce-small": 23 * time.Second,
	"produce-flush-1": 13 * time.Second, "produce-flush-16": 13 * time.Second, "produce-flush-64": 13 * time.Second,
	"produce-128": 15 * time.Second, "produce-1000-partitions": 31 * time.Second, "franz-consume": 20 * time.Second,
	"tool-produce": 18 * time.Second, "tool-consume": 23 * time.Second, "tool-latency": 27 * time.Second,
	"latency-1000": 36 * time.Second, "latency-20000": 36 * time.Second,
	"transactions-50x1": 15 * time.Second, "transactions-50x10": 15 * time.Second, "transactions-50x100": 15 * time.Second,
	"transactions-1x1": 15 * time.Second, "transactions-1x10": 15 * time.Second, "transactions-1x100": 15 * time.Second,
	"consume-committed": 36 * time.Second, "commits": 18 * time.Second,
	"rebalance-classic": 57 * time.Second, "rebalance-consumer": 91 * time.Second, "load-offsets": 24 * time.Second, "memory-groups": 38 * time.Second,
	"restart-1000": 42 * time.Second, "partitions-10000": 154 * time.Second,
}

func firstRound(c benchCase) time.Duration {
	if cost, ok := costs[c.name]; ok {
		return cost
	}
	return usualCost
}

// furtherRounds is what all rounds but the first take, which has the warm-ups.
func furtherRounds(c benchCase) time.Duration {
	return time.Duration(c.rounds-1) * firstRound(c) * 2 / 5
}

// affordable is how many rounds the first of cases has when left is the time for all of them: each has one, and the rest of the time is shared by those
// that want more.
func affordable(left time.Duration, cases []benchCase) int {
	var wanted time.Duration
	for _, c := range cases {
		left -= firstRound(c)
		wanted += furtherRounds(c)
	}
	first := cases[0]
	switch {
	case left <= 0:
		return 1
	case left >= wanted:
		return first.rounds
	}
	return 1 + int(float64(first.rounds-1)*float64(left)/float64(wanted)+0.5)
}

// longRounds begin the names of cases of which one round is enough to warm up any server.
var longRounds = []string{"latency", "consume-committed", "rebalance"}

// warmUps are the rounds whose figures are dropped. A Java virtual machine wants some seconds.
func warmUps(c benchCase, p *peer) int {
	if p.key != keyKafka || slices.ContainsFunc(longRounds, func(name string) bool { return strings.HasPrefix(c.name, name) }) {
		return 1
	}
	return 2
}
