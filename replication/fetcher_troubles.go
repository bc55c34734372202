package replication

import (
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
)

// trouble is what a fetcher has to say about some of its partitions: one line, however many they are.
type trouble struct {
	what       string
	err        error // of the first
	code       protocol.Code
	first      protocol.TopicPartition
	partitions int
}

// complain notes that something failed with a partition, for the first time in a row. It is logged with the round.
func (f *fetcher) complain(what string, x *followed, err error) {
	code := protocol.CodeOf(err)
	for i := range f.troubles {
		if t := &f.troubles[i]; t.what == what && t.code == code {
			t.partitions++
			return
		}
	}
	f.troubles = append(f.troubles, trouble{what, err, code, x.p.tp, 1})
}

// tellTroubles logs what the round has had of them.
func (f *fetcher) tellTroubles() {
	for i := range f.troubles {
		t := &f.troubles[i]
		f.logger.Error(t.what, zap.Int("partitions", t.partitions), zap.Stringer("first", t.first), zap.Error(t.err))
	}
	clear(f.troubles)
	f.troubles = f.troubles[:0]
}
