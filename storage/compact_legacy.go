package storage

import "github.com/ottla/ottla/protocol/record"

// rewriteLegacy appends to dest what must stay of an entry of magic 0 or 1. Such have no delete horizon: keepTombstones says whether their segment is
// younger than delete.retention.ms before the end of the last compaction.
func (p *pass) rewriteLegacy(b record.Batch, keepTombstones bool, dest *cleanedSegment) error {
	p.batch = batchRules{expired: !keepTombstones}
	kept, records, err := p.rewriter.FilterLegacy(b, p.judge)
	if err != nil {
		return err
	}
	p.stats.Records += int64(records)
	p.stats.RecordsKept += int64(kept)
	switch kept {
	case 0:
		return dest.drop()
	case records:
		return dest.keep(b)
	}
	return dest.change(func(buf []byte) ([]byte, error) { return p.rewriter.RebuildLegacy(buf, b) })
}
