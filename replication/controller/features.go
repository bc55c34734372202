package controller

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// minISR is the config that must be the same everywhere while the eligible leader replicas are kept (KIP-966).
const minISR = "min.insync.replicas"

// The upgrade types of UpdateFeatures (FeatureUpdate.UpgradeType).
const (
	upgradeOnly     int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// bootstrap records the features of a new cluster, those that its folder was formatted with if it was (ActivationRecordsGenerator.recordsForEmptyLog). A cluster that exists keeps its
// levels, as Kafka's do: those are raised by its operator.
func bootstrap(v *View) (Decision, error) {
	if v.Image.FeatureLevel(protocol.MetadataVersion) != 0 {
		return Decision{}, nil
	}
	var d Decision
	if voters, known := v.votersRecord(); known && v.quorum.kraftVersion > 0 {
		d.Controls = kraftControls(v.quorum.kraftVersion, voters)
	}
	if d.Records = v.formatted.begin(v); len(d.Records) > 0 {
		return d, nil
	}
	d.Records = []schema.MetadataRecord{&schema.FeatureLevelRecord{Name: protocol.MetadataVersion, FeatureLevel: protocol.LatestMetadataVersion}}
	for _, f := range protocol.Features() {
		level := f.DefaultLevel(protocol.LatestMetadataVersion)
		if level > 0 && f.Name != protocol.MetadataVersion && f.Name != protocol.KRaftVersion {
			d.Records = append(d.Records, &schema.FeatureLevelRecord{Name: f.Name, FeatureLevel: level})
			if f.Name == protocol.EligibleLeaderReplicasVersion {
				d.Records = uniformMinISR(v, d.Records)
			}
		}
	}
	return d, nil
}

// uniformMinISR appends what makes min.insync.replicas the same on every broker: the static value becomes the cluster's, and the brokers' own
// are removed (ConfigurationControlManager.maybeGenerateElrSafetyRecords).
func uniformMinISR(v *View, records []schema.MetadataRecord) []schema.MetadataRecord {
	if _, ok := v.Image.Config(config.Broker, "")[minISR]; !ok {
		value := strconv.Itoa(v.static.Int(minISR))
		records = append(records, &schema.ConfigRecord{ResourceType: int8(config.Broker), Name: minISR, Value: &value})
	}
	for _, broker := range v.Image.ConfigResources(config.Broker) {
		if _, ok := v.Image.Config(config.Broker, broker)[minISR]; ok && broker != "" {
			records = append(records, &schema.ConfigRecord{ResourceType: int8(config.Broker), ResourceName: broker, Name: minISR})
		}
	}
	return records
}

// elrEnabled reports whether the eligible leader replicas are kept.
func (v *View) elrEnabled() bool {
	return v.Image.FeatureLevel(protocol.EligibleLeaderReplicasVersion) >= 1
}

// updateFeatures answers an UpdateFeatures request: all updates come about, or none.
func (c *Controller) updateFeatures(ctx context.Context, req *kmsg.UpdateFeaturesRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) {
		c.learn(v)
		return updateFeatures(v, req)
	})
	if unanswered(err) {
		return nil, err
	}
	if err != nil {
		resp.ErrorCode = int16(protocol.CodeOf(err))
		text := fmt.Sprint("The update failed for all features since the following feature had an error: ", describe(err))
		resp.ErrorMessage = &text
		return resp, nil
	}
	if req.Version <= 1 {
		for _, u := range req.FeatureUpdates {
			out := kmsg.NewUpdateFeaturesResponseResult()
			out.Feature, out.ErrorMessage = strings.Clone(u.Feature), ptrTo("NONE") // Kafka's text for no error
			resp.Results = append(resp.Results, out)
		}
	}
	return resp, nil
}

// describe is what a client is told of an error.
func describe(err error) string {
	if m := protocol.MessageOf(err); m != nil {
		return *m
	}
	return err.Error()
}

// featureUpdate is one wish of an UpdateFeatures request.
type featureUpdate struct {
	name        string
	level       int16
	upgradeType int8
}

// updateFeatures decides on new levels (FeatureControlManager.updateFeatures).
func updateFeatures(v *View, req *kmsg.UpdateFeaturesRequest) (Decision, error) {
	levels := map[string]int16{} // as they would be
	for name, level := range v.Image.Features() {
		levels[name] = level
	}
	updates := make([]featureUpdate, 0, len(req.FeatureUpdates))
	for _, u := range req.FeatureUpdates {
		update := featureUpdate{strings.Clone(u.Feature), u.MaxVersionLevel, u.UpgradeType}
		if req.Version == 0 {
			update.upgradeType = upgradeOnly
		}
		updates = append(updates, update)
		levels[update.name] = update.level
	}
	var d Decision
	for _, u := range updates {
		if err := checkUpdate(v, u, levels); err != nil {
			return Decision{}, err
		}
		if u.name == protocol.KRaftVersion {
			if voters, known := v.votersRecord(); known && u.level > v.Image.FeatureLevel(u.name) {
				d.Controls = kraftControls(u.level, voters)
			}
			continue
		}
		if u.name == protocol.EligibleLeaderReplicasVersion && u.level > 0 {
			d.Records = uniformMinISR(v, d.Records)
		}
		d.Records = append(d.Records, &schema.FeatureLevelRecord{Name: u.name, FeatureLevel: u.level})
	}
	if req.ValidateOnly {
		return Decision{}, nil
	}
	for b := range v.Image.Brokers() { // a level that is answered as lowered is not in use any more
		d.Await = append(d.Await, b.ID)
	}
	return d, nil
}

// checkUpdate tells why a level cannot be set.
func checkUpdate(v *View, u featureUpdate, levels map[string]int16) error {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.level, u.name, fmt.Sprintf(format, args...))
	}
	current := v.Image.FeatureLevel(u.name)
	switch {
	case u.upgradeType < upgradeOnly || u.upgradeType > unsafeDowngrade:
		return invalid("The controller does not support the given upgrade type.")
	case u.level < 0:
		return invalid("A feature version cannot be less than 0.")
	}
	if reason := unsupported(v, u); reason != "" {
		return invalid("%s", reason)
	}
	switch {
	case u.level < current && u.upgradeType == upgradeOnly:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case u.level > current && u.upgradeType != upgradeOnly:
		return invalid("Can't downgrade to a newer version.")
	case u.name == protocol.MetadataVersion:
		return checkMetadataDowngrade(current, u)
	case u.name == protocol.KRaftVersion:
		return checkKRaftVersion(v, u, current)
	}
	f, ok := protocol.LookupFeature(u.name)
	if !ok {
		return invalid("Feature %s not found.", u.name)
	}
	if err := f.CheckLevel(u.level, levels); err != nil {
		return invalid("%s", err)
	}
	return nil
}

// unsupported tells which node of the cluster does not know a level, or may not, "" if all do (FeatureControlManager.reasonNotSupported).
func unsupported(v *View, u featureUpdate) string {
	local, _ := protocol.LookupFeature(u.name)
	if reason := outside(u.level, fmt.Sprintf("Local controller %d", v.NodeID), local.Min, local.Max); reason != "" {
		return reason
	}
	for b := range v.Image.Brokers() {
		low, high := int16(0), int16(0)
		for _, f := range b.Features {
			if f.Name == u.name {
				low, high = f.MinSupportedVersion, f.MaxSupportedVersion
			}
		}
		if reason := outside(u.level, fmt.Sprintf("Broker %d", b.ID), low, high); reason != "" {
			return reason
		}
	}
	heard := map[int32]bool{v.NodeID: true}
	for c := range v.Image.Controllers() {
		heard[c.ControllerID] = true
		low, high := int16(0), int16(0)
		for _, f := range c.Features {
			if f.Name == u.name {
				low, high = f.MinSupportedVersion, f.MaxSupportedVersion
			}
		}
		if reason := outside(u.level, fmt.Sprintf("Controller %d", c.ControllerID), low, high); reason != "" && c.ControllerID != v.NodeID {
			return reason
		}
	}
	if !v.Image.ControllersRegister() {
		return ""
	}
	for _, id := range v.quorum.expected {
		if !heard[id] {
			return fmt.Sprintf("controller %d has not registered, and may not support this feature", id)
		}
	}
	return ""
}

// outside tells that a node's range lacks a level (QuorumFeatures.reasonNotSupported).
func outside(level int16, who string, low, high int16) string {
	switch {
	case level >= low && level <= high:
		return ""
	case high == 0:
		return who + " does not support this feature."
	}
	return fmt.Sprintf("%s only supports versions %d-%d", who, low, high)
}

// checkMetadataDowngrade refuses to lose metadata.
func checkMetadataDowngrade(current int16, u featureUpdate) error {
	if u.level >= current || !protocol.MetadataVersionChanges(current, u.level) {
		return nil
	}
	reason := "Refusing to perform the requested downgrade because it might delete metadata information."
	if u.upgradeType == unsafeDowngrade {
		reason = "Unsafe metadata downgrade is not supported in this version."
	}
	return protocol.Errorf(protocol.InvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. %s", current, u.level, reason)
}
