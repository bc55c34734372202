package server

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// TestPartsWaitForTheRegistration where there are other brokers: a start after a crash must not lead by what was decided for the start before.
func TestPartsWaitForTheRegistration(t *testing.T) {
	before, now := protocol.NewUUID(), protocol.NewUUID()
	registered := func(id int32, incarnation protocol.UUID) *schema.RegisterBrokerRecord {
		return &schema.RegisterBrokerRecord{BrokerID: id, IncarnationID: incarnation, BrokerEpoch: int64(id)}
	}
	for name, c := range map[string]struct {
		brokers []schema.MetadataRecord
		begin   bool
	}{
		"a node of its own":           {nil, true},
		"its own last start":          {[]schema.MetadataRecord{registered(1, before)}, true},
		"others, never registered":    {[]schema.MetadataRecord{registered(2, before)}, false},
		"others, registered before":   {[]schema.MetadataRecord{registered(1, before), registered(2, before)}, false},
		"others, registered this one": {[]schema.MetadataRecord{registered(1, now), registered(2, before)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			image, _, err := metadata.Empty().With(10, 1, c.brokers)
			if err != nil {
				t.Fatal(err)
			}
			register := kmsg.NewPtrBrokerRegistrationRequest()
			register.BrokerID, register.IncarnationID = 1, now
			p := &publisher{node: 1, lifecycle: &lifecycle{o: lifecycleOptions{register: register}}}
			if got := p.mayBegin(image); got != c.begin {
				t.Errorf("may begin: %v", got)
			}
		})
	}
}
