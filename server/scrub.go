package server

import (
	"go.uber.org/zap"

	"github.com/ottla/ottla/storage"
)

// repair replaces a replica that the scrub has found damaged.
func (b *Broker) repair(found storage.DamagedSegment) {
	if err := b.replicas.Repair(found.Partition); err != nil {
		b.o.Logger.Error("a damaged replica stays as it is", zap.Stringer("partition", found.Partition), zap.String("segment", found.Path), zap.Error(err))
	}
}
