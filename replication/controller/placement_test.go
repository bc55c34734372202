package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ottla/ottla/protocol"
)

func brokersOn(racks ...string) []usableBroker {
	var out []usableBroker
	for i, r := range racks {
		out = append(out, usableBroker{id: int32(i), rack: r, racked: r != ""})
	}
	return out
}

func TestPlacementIsSpread(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		brokers := brokersOn("a", "a", "b", "b", "c", "c")
		out, err := place(brokers, 60, 3, random)
		if err != nil {
			t.Fatal(err)
		}
		leaders := map[int32]int{}
		for i, replicas := range out {
			racks := map[string]bool{}
			for _, id := range replicas {
				racks[brokers[id].rack] = true
			}
			if len(replicas) != 3 || len(racks) != 3 {
				t.Fatalf("seed %d: partition %d on %v is not on three racks", seed, i, replicas)
			}
			leaders[replicas[0]]++
		}
		for id, n := range leaders {
			if n < 5 || n > 15 {
				t.Errorf("seed %d: broker %d leads %d of 60", seed, id, n)
			}
		}
	}
}

func TestPlacementNeverRepeatsABroker(t *testing.T) {
	for _, racks := range [][]string{{""}, {"", "", ""}, {"a", "b"}, {"a", "a", "b", "", "c"}, {"a", "a", "a", "b"}} {
		for replicas := 1; replicas <= len(racks); replicas++ {
			t.Run(fmt.Sprintf("%d of %v", replicas, racks), func(t *testing.T) {
				for seed := range uint64(10) {
					out, err := place(brokersOn(racks...), 25, replicas, rand.New(rand.NewPCG(seed, 2)))
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range out {
						if sorted := slices.Compact(slices.Sorted(slices.Values(r))); len(r) != replicas || len(sorted) != replicas {
							t.Fatalf("replicas %v", r)
						}
					}
				}
			})
		}
	}
}

func TestFencedBrokersComeLastAndNeverLead(t *testing.T) {
	brokers := brokersOn("a", "a", "b")
	brokers[0].fenced, brokers[2].fenced = true, true
	out, err := place(brokers, 20, 2, rand.New(rand.NewPCG(3, 3)))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out {
		if r[0] != 1 {
			t.Errorf("%v is led by a fenced broker", r)
		}
	}
}

func TestPlacementErrors(t *testing.T) {
	fenced := brokersOn("", "")
	fenced[0].fenced, fenced[1].fenced = true, true
	for message, try := range map[string]struct {
		brokers  []usableBroker
		replicas int
	}{
		"Invalid replication factor 0: the replication factor must be positive.": {brokersOn(""), 0},
		"All brokers are currently fenced.":                                      {fenced, 1},
		"The target replication factor of 3 cannot be reached because only 2 broker(s) are registered or some brokers have all their log directories cordoned.": {brokersOn("", ""), 3},
	} {
		_, err := place(try.brokers, 1, try.replicas, rand.New(rand.NewPCG(1, 1)))
		if protocol.CodeOf(err) != protocol.InvalidReplicationFactor || deref(protocol.MessageOf(err)) != message {
			t.Errorf("%v, want %s", err, message)
		}
	}
}
