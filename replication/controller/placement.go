package controller

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// usableBroker is one broker that new replicas may go to.
type usableBroker struct {
	id     int32
	rack   string
	racked bool // false: rack is not known, which counts as a rack of its own that sorts first
	fenced bool
}

// usableBrokers are the registered brokers that are not shutting down; one whose directories are all cordoned takes no replicas.
func usableBrokers(img *metadata.Image) []usableBroker {
	var all []usableBroker
	for b := range img.Brokers() {
		if b.InControlledShutdown || (len(b.Directories) > 0 && len(b.CordonedDirectories) >= len(b.Directories)) {
			continue
		}
		u := usableBroker{id: b.ID, fenced: b.Fenced}
		if b.Rack != nil {
			u.rack, u.racked = *b.Rack, true
		}
		all = append(all, u)
	}
	return all
}

// place chooses replicas, leader first, for a number of partitions, in stripes over the racks and over the brokers of each rack, as
// Kafka's StripedReplicaPlacer does. Errors are InvalidReplicationFactor.
func place(brokers []usableBroker, partitions, replicas int, random *rand.Rand) ([][]int32, error) {
	unfenced := 0
	for _, b := range brokers {
		if !b.fenced {
			unfenced++
		}
	}
	switch {
	case replicas <= 0:
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "Invalid replication factor %d: the replication factor must be positive.", replicas)
	case unfenced == 0:
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "All brokers are currently fenced.")
	case replicas > len(brokers):
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor,
			"The target replication factor of %d cannot be reached because only %d broker(s) are registered "+
				"or some brokers have all their log directories cordoned.", replicas, len(brokers))
	}
	p := newPlacer(brokers, unfenced, random)
	out := make([][]int32, partitions)
	for i := range out {
		out[i] = p.next(replicas)
	}
	return out, nil
}

// placer goes round the racks.
type placer struct {
	racks    []*rack
	unfenced int
	epoch    int
	offset   int
	random   *rand.Rand
}

// rack is one rack's brokers. A rack's fenced brokers come when its others are used up.
type rack struct {
	unfenced, fenced stripe
}

// stripe is a list of brokers that is gone through once per epoch, from one further on each time.
type stripe struct {
	brokers              []int32
	index, offset, epoch int
}

func newPlacer(brokers []usableBroker, unfenced int, random *rand.Rand) *placer {
	p := &placer{unfenced: unfenced, random: random}
	sorted := slices.Clone(brokers)
	slices.SortFunc(sorted, func(a, b usableBroker) int {
		if a.racked != b.racked {
			if b.racked {
				return -1
			}
			return 1
		}
		if c := strings.Compare(a.rack, b.rack); c != 0 {
			return c
		}
		return int(a.id) - int(b.id)
	})
	for i, b := range sorted {
		if i == 0 || b.rack != sorted[i-1].rack || b.racked != sorted[i-1].racked {
			p.racks = append(p.racks, &rack{})
		}
		r := p.racks[len(p.racks)-1]
		if b.fenced {
			r.fenced.brokers = append(r.fenced.brokers, b.id)
		} else {
			r.unfenced.brokers = append(r.unfenced.brokers, b.id)
		}
	}
	for _, r := range p.racks {
		for _, s := range []*stripe{&r.fenced, &r.unfenced} {
			if len(s.brokers) > 0 {
				s.offset = random.IntN(len(s.brokers))
			}
		}
	}
	p.offset = random.IntN(len(p.racks))
	return p
}

// next places one partition.
func (p *placer) next(replicas int) []int32 {
	if p.epoch == p.unfenced && p.unfenced > 1 {
		p.shuffle()
		p.epoch = 0
	}
	if p.offset == len(p.racks) {
		p.offset = 0
	}
	out := make([]int32, 0, replicas)
	leaderRack := p.offset
	for {
		if id := p.racks[leaderRack].unfenced.next(p.epoch); id != noBroker {
			out = append(out, id)
			break
		}
		leaderRack = (leaderRack + 1) % len(p.racks)
	}
	for at := p.offset; len(out) < replicas; at = (at + 1) % len(p.racks) {
		if at == leaderRack {
			leaderRack = -1 // it has its replica for this round
			continue
		}
		r := p.racks[at]
		id := r.unfenced.next(p.epoch)
		if id == noBroker {
			id = r.fenced.next(p.epoch)
		}
		if id != noBroker {
			out = append(out, id)
		}
	}
	p.epoch++
	p.offset++
	return out
}

func (p *placer) shuffle() {
	p.random.Shuffle(len(p.racks), func(i, j int) { p.racks[i], p.racks[j] = p.racks[j], p.racks[i] })
	for _, r := range p.racks {
		for _, s := range []*stripe{&r.fenced, &r.unfenced} {
			p.random.Shuffle(len(s.brokers), func(i, j int) { s.brokers[i], s.brokers[j] = s.brokers[j], s.brokers[i] })
		}
	}
}

// next returns the next broker of this epoch, noBroker when all had their turn.
func (s *stripe) next(epoch int) int32 {
	if len(s.brokers) == 0 {
		return noBroker
	}
	if s.epoch != epoch {
		s.epoch, s.index, s.offset = epoch, 0, (s.offset+1)%len(s.brokers)
	}
	if s.index >= len(s.brokers) {
		return noBroker
	}
	id := s.brokers[(s.index+s.offset)%len(s.brokers)]
	s.index++
	return id
}
