package server

import (
	"go.uber.org/zap"

	"github.com/ottla/ottla/storage"
)

// repair replaces a replica that the scrub has found damaged; it is false if the damage stays.
func (b *Broker) repair(found storage.DamagedSegment) bool {
	err := b.replicas.Repair(found.Partition)
	if err != nil {
		b.o.Logger.Error("a damaged replica stays as it is", zap.Stringer("partition", found.Partition), zap.String("segment", found.Path), zap.Error(err))
	}
	return err == nil
}
