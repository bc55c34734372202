package datadir

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
)

// Partition is what a partition holds. Lines are texts that are equal exactly if what they tell is equal.
type Partition struct {
	LogStart, LastStable, LogEnd int64

	Records   []string // all from the log start on, control records too
	Committed []int64  // offsets of the records that a read of committed data returns
	Bytes     int      // of the batches from the one with the log start on
	Digest    string   // SHA-256 of these bytes, as fetched
	Aborted   []string // aborted transactions below the last stable offset
	Producers []string // as DescribeProducers lists them, by id
	Epochs    []string // where each leader epoch ends that has records
	Times     []string // the first offset at some timestamps
}

// Partitions are those of a broker, by <topic>-<partition>.
type Partitions map[string]Partition

// record is one record on its way to a line.
type record struct {
	offset, timestamp, producerID int64
	leaderEpoch                   int32
	producerEpoch                 int16
	codec                         uint8
	appendTime, transactional     bool
	control                       bool
	key, value                    []byte
	headers                       []header
}

type header struct {
	key   string
	value []byte
}

func (r *record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d time=%d", r.offset, r.timestamp)
	if r.appendTime {
		b.WriteString(" append-time")
	}
	fmt.Fprintf(&b, " epoch=%d producer=%d/%d codec=%d", r.leaderEpoch, r.producerID, r.producerEpoch, r.codec)
	if r.transactional {
		b.WriteString(" transactional")
	}
	if r.control {
		b.WriteString(" control")
	}
	fmt.Fprintf(&b, " key=%s value=%s", quote(r.key), quote(r.value))
	for _, h := range r.headers {
		fmt.Fprintf(&b, " %q:%s", h.key, quote(h.value))
	}
	return b.String()
}

// quote tells null from empty.
func quote(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

// askedTimes are the timestamps whose offsets are looked up, from those of the records: some of them, one before all and one after.
func askedTimes(timestamps []int64) []int64 {
	if len(timestamps) == 0 {
		return nil
	}
	asked := []int64{slices.Min(timestamps) - 1, slices.Max(timestamps), slices.Max(timestamps) + 1}
	for i := 0; i < len(timestamps); i += max(1, len(timestamps)/6) {
		asked = append(asked, timestamps[i])
	}
	slices.Sort(asked)
	return slices.Compact(asked)
}

// Sealed is p with one line in the place of its records, and one number in that of the committed offsets: as good for a comparison, and small.
func (p Partition) Sealed() Partition {
	if n := len(p.Records); n > 0 {
		p.Records = []string{fmt.Sprintf("%d records, SHA-256 %x", n, sha256.Sum256([]byte(strings.Join(p.Records, "\n"))))}
	}
	if n := len(p.Committed); n > 0 {
		sum := fnv.New64a()
		for _, offset := range p.Committed {
			_ = binary.Write(sum, binary.BigEndian, offset) // a hash takes all
		}
		p.Committed = []int64{int64(n), int64(sum.Sum64() >> 1)}
	}
	return p
}

// Sealed seals every partition.
func (p Partitions) Sealed() Partitions {
	out := Partitions{}
	for name, partition := range p {
		out[name] = partition.Sealed()
	}
	return out
}

// Diff tells how got differs from want, in at most a few lines for each partition; empty if it does not. Partitions that only one has are told.
func Diff(got, want Partitions) []string {
	var out []string
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, inGot := got[name]
		w, inWant := want[name]
		switch {
		case !inGot:
			out = append(out, name+" is missing")
		case !inWant:
			out = append(out, name+" is there and should not be")
		default:
			for _, d := range g.diff(&w) {
				out = append(out, name+": "+d)
			}
		}
	}
	return out
}

func (p *Partition) diff(w *Partition) (out []string) {
	if p.LogStart != w.LogStart || p.LastStable != w.LastStable || p.LogEnd != w.LogEnd {
		out = append(out, fmt.Sprintf("start %d, last stable %d, end %d; want %d, %d, %d", p.LogStart, p.LastStable, p.LogEnd, w.LogStart, w.LastStable, w.LogEnd))
	}
	if p.Bytes != w.Bytes || p.Digest != w.Digest {
		out = append(out, fmt.Sprintf("%d bytes of batches, %s; want %d, %s", p.Bytes, p.Digest, w.Bytes, w.Digest))
	}
	out = append(out, diffLines("record", p.Records, w.Records)...)
	out = append(out, diffLines("committed offset", p.Committed, w.Committed)...)
	out = append(out, diffLines("aborted transaction", p.Aborted, w.Aborted)...)
	out = append(out, diffLines("producer", p.Producers, w.Producers)...)
	out = append(out, diffLines("epoch", p.Epochs, w.Epochs)...)
	return append(out, diffLines("time", p.Times, w.Times)...)
}

// diffLines tells the first difference of two lists.
func diffLines[T comparable](what string, got, want []T) []string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return []string{fmt.Sprintf("%s %d of %d: %v\n\twant (of %d): %v", what, i, len(got), got[i], len(want), want[i])}
		}
	}
	if len(got) == len(want) {
		return nil
	}
	longer, who := got, "unexpected"
	if len(want) > len(got) {
		longer, who = want, "missing"
	}
	return []string{fmt.Sprintf("%d %ss, want %d; first %s: %v", len(got), what, len(want), who, longer[min(len(got), len(want))])}
}

// containsBeforeKey reports whether text stands in the part of a record's line that the record's bytes cannot forge.
func containsBeforeKey(line, text string) bool {
	head, _, _ := strings.Cut(line, " key=")
	return strings.Contains(head, text)
}

// appendEpoch adds the line of an epoch that has records.
func appendEpoch(lines []string, asked, epoch int32, end int64, has bool) []string {
	if !has {
		return lines
	}
	return append(lines, fmt.Sprintf("epoch %d: %d ends at %d", asked, epoch, end))
}

func timeLine(asked, offset, timestamp int64) string {
	return fmt.Sprintf("%d: offset %d, time %d", asked, offset, timestamp)
}

// maxProducerID is the highest id of any producer, -1 if there is none.
func (p Partitions) maxProducerID() int64 {
	highest := int64(-1)
	for _, partition := range p {
		for _, line := range partition.Producers {
			var id int64
			if _, err := fmt.Sscanf(line, "producer %d/", &id); err == nil {
				highest = max(highest, id)
			}
		}
	}
	return highest
}

// topicPartition is what a folder's name says.
type topicPartition struct {
	topic     string
	partition int32
}

func splitName(n string) topicPartition {
	i := strings.LastIndexByte(n, '-')
	var p int32
	if _, err := fmt.Sscanf(n[i+1:], "%d", &p); err != nil {
		return topicPartition{topic: n, partition: -1}
	}
	return topicPartition{n[:i], p}
}

// WithoutEpochs leaves the epochs out: a leader of an epoch that is not above those in its log drops them.
func (p Partitions) WithoutEpochs() Partitions {
	out := Partitions{}
	for name, partition := range p {
		partition.Epochs = nil
		out[name] = partition
	}
	return out
}

// Restarted leaves the producers of logs without records out: Apache Kafka forgets them with the next start, Ottla does not.
func (p Partitions) Restarted() Partitions {
	out := Partitions{}
	for name, partition := range p {
		if partition.LogStart == partition.LogEnd {
			partition.Producers = nil
		}
		out[name] = partition
	}
	return out
}
