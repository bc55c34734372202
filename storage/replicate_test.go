package storage

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// leaderBatches are three batches of two records from offset 10 on, of leader epochs 1, 1 and 2, as a leader sends them.
func leaderBatches(t *testing.T) (all []byte, sizes [3]int) {
	t.Helper()
	for i, epoch := range []int32{1, 1, 2} {
		b := plainBatch(t, 2, int64(i))
		b.SetBaseOffset(int64(10 + 2*i))
		b.SetLeaderEpoch(epoch)
		sizes[i] = len(b)
		all = append(all, b...)
	}
	return all, sizes
}

func TestCheckReplicated(t *testing.T) {
	all, sizes := leaderBatches(t)
	two := all[:sizes[0]+sizes[1]]
	legacy := legacyEntry(7, "key", "value")
	for _, c := range []struct {
		name  string
		sent  []byte
		epoch int32
		want  Replicated
	}{
		{"all", all, 2, Replicated{Batches: all, FirstOffset: 10, LastOffset: 15, LastEpoch: 2}},
		{"nothing", nil, 2, Replicated{FirstOffset: -1, LastOffset: -1, LastEpoch: -1}},
		{"a cut tail", all[:len(all)-1], 2, Replicated{Batches: two, FirstOffset: 10, LastOffset: 13, LastEpoch: 1}},
		{"a tail without a length", all[:len(two)+9], 2, Replicated{Batches: two, FirstOffset: 10, LastOffset: 13, LastEpoch: 1}},
		{"a later epoch", all, 1, Replicated{Batches: two, FirstOffset: 10, LastOffset: 13, LastEpoch: 1, Later: true}},
		{"only later epochs", all, 0, Replicated{FirstOffset: -1, LastOffset: -1, LastEpoch: -1, Later: true}},
		{"of magic 1", legacy, 3, Replicated{Batches: legacy, FirstOffset: 7, LastOffset: 7, LastEpoch: -1}},
	} {
		got, err := CheckReplicated(c.sent, c.epoch)
		if err != nil || !bytes.Equal(got.Batches, c.want.Batches) || got.FirstOffset != c.want.FirstOffset || got.LastOffset != c.want.LastOffset ||
			got.LastEpoch != c.want.LastEpoch || got.Later != c.want.Later {
			t.Errorf("%s: %d bytes, %+v, %v", c.name, len(got.Batches), got, err)
		}
	}
	for _, at := range []int{sizes[0] + 16, sizes[0] + 20, sizes[0] + 60, sizes[0] + 80} { // magic, checksum, attributes' rest, a record
		damaged := bytes.Clone(all)
		damaged[at] ^= 1
		if _, err := CheckReplicated(damaged, 2); !errors.Is(err, protocol.CorruptMessage) {
			t.Errorf("byte %d damaged: %v", at, err)
		}
	}
}

// TestTruncateToDropsEmptyEpoch: an epoch in which this broker led but appended nothing contradicts the next leader's at the same offset.
func TestTruncateToDropsEmptyEpoch(t *testing.T) {
	l := tenBatches(t, vfs.NewMem())
	l.AssignEpoch(9)
	if err := l.TruncateTo(20); err != nil {
		t.Fatal(err)
	}
	if end := checkDense(t, l); end != 20 || l.LatestEpoch() != 4 {
		t.Errorf("log ends at %d, latest epoch %d", end, l.LatestEpoch())
	}
}
