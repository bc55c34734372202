package controller

import (
	"reflect"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// featureRange is the levels of one feature that a node knows.
type featureRange struct {
	Name string `json:"name"`
	Min  int16  `json:"min"`
	Max  int16  `json:"max"`
}

// ownFeatures are the levels that this release knows.
func ownFeatures() []featureRange {
	var all []featureRange
	for _, f := range protocol.Features() {
		all = append(all, featureRange{f.Name, f.Min, f.Max})
	}
	return all
}

// controllerRegistration is what a controller of this quorum says of itself to the leader. It is what ControllerRegistration (70) carries.
type controllerRegistration struct {
	id          int32
	incarnation protocol.UUID
	endpoint    Endpoint
	features    []featureRange
}

// request is the registration as Kafka's controllers send it.
func (r controllerRegistration) request() *kmsg.ControllerRegistrationRequest {
	req := &kmsg.ControllerRegistrationRequest{ControllerID: r.id, IncarnationID: r.incarnation}
	req.Listeners = []kmsg.ControllerRegistrationRequestListener{{Name: r.endpoint.Listener, Host: r.endpoint.Host, Port: r.endpoint.Port}}
	for _, f := range r.features {
		req.Features = append(req.Features, kmsg.ControllerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	return req
}

// registerController records where a controller is and which features it knows (ClusterControlManager.registerController). A registration that
// says nothing new records nothing.
func registerController(v *View, req *kmsg.ControllerRegistrationRequest) (Decision, error) {
	if !v.Image.ControllersRegister() {
		return Decision{}, protocol.Errorf(protocol.UnsupportedVersion, "The current MetadataVersion is too old to support controller registrations.")
	}
	if len(req.Listeners) == 0 {
		return Decision{}, protocol.Errorf(protocol.InvalidRegistration, "A controller registration needs at least one listener.")
	}
	r := &schema.RegisterControllerRecord{ControllerID: req.ControllerID, IncarnationID: req.IncarnationID, ZkMigrationReady: req.ZkMigrationReady}
	known := map[string]featureRange{}
	for _, l := range req.Listeners {
		r.EndPoints = append(r.EndPoints, schema.BrokerEndpoint{
			Name: strings.Clone(l.Name), Host: strings.Clone(l.Host), Port: l.Port, SecurityProtocol: l.SecurityProtocol,
		})
	}
	for _, f := range req.Features {
		name := strings.Clone(f.Name)
		r.Features = append(r.Features, schema.BrokerFeature{Name: name, MinSupportedVersion: f.MinSupportedVersion, MaxSupportedVersion: f.MaxSupportedVersion})
		known[name] = featureRange{name, f.MinSupportedVersion, f.MaxSupportedVersion}
	}
	for name, level := range v.Image.Features() {
		if f, ok := known[name]; level != 0 && (!ok || level < f.Min || level > f.Max) {
			return Decision{}, protocol.Errorf(protocol.UnsupportedVersion,
				"Unable to register because the controller does not support finalized version %d of %s. The controller wants a version between %d and %d, inclusive.",
				level, name, f.Min, f.Max)
		}
	}
	for old := range v.Image.Controllers() {
		if old.ControllerID == r.ControllerID && reflect.DeepEqual(old, r) {
			return Decision{}, nil
		}
	}
	return Decision{Records: []schema.MetadataRecord{r}}, nil
}

// register begins to record a registration that came with the quorum; nobody waits for it. While metadata.version is too low for it nothing is recorded: each controller
// registers again when that was raised.
func (c *Controller) register(r controllerRegistration) {
	if c.lead == nil || r.endpoint.Listener == "" {
		return
	}
	t := &task{decided: make(chan struct{}), done: make(chan struct{})}
	t.decide = func(v *View) (Decision, error) { return registerController(v, r.request()) }
	c.start(t)
}
