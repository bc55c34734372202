package server

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// TestAControllerRegistersOnceItMay: when metadata.version was raised to 3.7-IV0, and no more often than it has to.
func TestAControllerRegistersOnceItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var image atomic.Pointer[metadata.Image]
		image.Store(metadata.Empty())
		publish := func(records ...schema.MetadataRecord) {
			t.Helper()
			next, _, err := image.Load().With(image.Load().Offset()+1, 0, records)
			if err != nil {
				t.Fatal(err)
			}
			image.Store(next)
		}
		asked := &recordingController{}
		requests := func() int {
			synctest.Wait()
			asked.mu.Lock()
			defer asked.mu.Unlock()
			return len(asked.reqs)
		}
		request := &kmsg.ControllerRegistrationRequest{ControllerID: 1, IncarnationID: protocol.NewUUID()}
		r := &registrar{controller: asked, request: request, image: image.Load, logger: zap.NewNop(), running: newBackground()}
		publish(&schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: 14})
		r.start()
		defer r.stop()
		time.Sleep(time.Minute)
		if n := requests(); n != 0 {
			t.Errorf("%d registrations at 3.6-IV2", n)
		}
		publish(&schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: 15})
		time.Sleep(2 * registrarUpgrade)
		if n := requests(); n != 1 {
			t.Errorf("%d registrations at 3.7-IV0", n)
		}
		publish(&schema.RegisterControllerRecord{ControllerID: 1, IncarnationID: request.IncarnationID})
		time.Sleep(time.Hour)
		if n := requests(); n != 1 {
			t.Errorf("%d registrations in all", n)
		}
	})
}
