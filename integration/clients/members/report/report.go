// Package report is what the members written in Go have in common: how they tell what happens to them.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"
)

// Partition names a partition.
type Partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

var printing sync.Mutex

// Tell prints an event, one JSON object a line, with the time in ms.
func Tell(event string, fields map[string]any) {
	line := maps.Clone(fields)
	if line == nil {
		line = map[string]any{}
	}
	line["event"] = event
	printing.Lock()
	defer printing.Unlock()
	line["ts"] = time.Now().UnixMilli()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		Fail(err)
	}
}

// Partitions lists the partitions of topics.
func Partitions(topics map[string][]int32) []Partition {
	list := []Partition{}
	for topic, ids := range topics {
		for _, id := range ids {
			list = append(list, Partition{topic, id})
		}
	}
	return list
}

// Commands run what a transactional program can do.
type Commands struct {
	Write, Fence, Timeout func(topic, id string)
	Copy                  func(from, to, id, group string, n int)
}

// Run runs the command that the arguments name: the bootstrap address, the command, and what it takes.
func (c Commands) Run() {
	args := os.Args[3:]
	simple := map[string]func(topic, id string){"write": c.Write, "fence": c.Fence, "timeout": c.Timeout}
	if run := simple[os.Args[2]]; run != nil {
		run(args[0], args[1])
	} else {
		n, err := strconv.Atoi(args[4])
		Must(err)
		c.Copy(args[0], args[1], args[2], args[3], n)
	}
	Say("done")
}

// InputEnds waits until standard input ends.
func InputEnds() {
	_, err := io.Copy(io.Discard, os.Stdin)
	Must(err)
}

// Say prints a line.
func Say(what ...any) { _, _ = fmt.Fprintln(os.Stdout, what...) }

// Fail ends the program, and says why.
func Fail(why ...any) {
	_, _ = fmt.Fprintln(os.Stderr, why...)
	os.Exit(1)
}

// Must ends the program on an error.
func Must(err error) {
	if err != nil {
		Fail(err)
	}
}
