package controller

import (
	"maps"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// featureBroker is a live broker that supports every feature of this release.
func featureBroker(id int32) *schema.RegisterBrokerRecord {
	b := liveBroker(id)
	for _, f := range protocol.Features() {
		b.Features = append(b.Features, schema.BrokerFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	return b
}

func level(name string, level int16) *schema.FeatureLevelRecord {
	return &schema.FeatureLevelRecord{Name: name, FeatureLevel: level}
}

// update is one of a request; kind 1 upgrade, 2 safe, 3 unsafe downgrade.
func update(name string, level int16, kind int8) kmsg.UpdateFeaturesRequestFeatureUpdate {
	return kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: name, MaxVersionLevel: level, UpgradeType: kind}
}

func TestUpdateFeaturesRefuses(t *testing.T) {
	old := featureBroker(2)
	old.Features = old.Features[:1] // supports eligible.leader.replicas.version alone
	for _, test := range []struct {
		name    string
		updates []kmsg.UpdateFeaturesRequestFeatureUpdate
		records []schema.MetadataRecord
		want    string
	}{
		{"type 0", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("group.version", 0, 0)}, nil,
			"Invalid update version 0 for feature group.version. The controller does not support the given upgrade type."},
		{"type 4", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("group.version", 0, 4)}, nil,
			"Invalid update version 0 for feature group.version. The controller does not support the given upgrade type."},
		{"negative", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("group.version", -1, 2)}, nil,
			"Invalid update version -1 for feature group.version. A feature version cannot be less than 0."},
		{"too high", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("metadata.version", 31, 1)}, nil,
			"Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30"},
		{"too low", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("metadata.version", 6, 2)}, nil,
			"Invalid update version 6 for feature metadata.version. Local controller 1 only supports versions 7-30"},
		{"unknown", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("nope", 1, 1)}, nil,
			"Invalid update version 1 for feature nope. Local controller 1 does not support this feature."},
		{"unknown, removed", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("nope", 0, 2)}, nil,
			"Invalid update version 0 for feature nope. Feature nope not found."},
		{"a broker of an older release", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("transaction.version", 1, 1)}, one(old),
			"Invalid update version 1 for feature transaction.version. Broker 2 does not support this feature."},
		{"a controller of an older release", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("transaction.version", 2, 1)},
			one(&schema.RegisterControllerRecord{ControllerID: 3, Features: []schema.BrokerFeature{{Name: "transaction.version", MaxSupportedVersion: 1}}}),
			"Invalid update version 2 for feature transaction.version. Controller 3 only supports versions 0-1"},
		{"down without leave", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("metadata.version", 29, 1)}, nil,
			"Invalid update version 29 for feature metadata.version. Can't downgrade the version of this feature without setting the " +
				"upgrade type to either safe or unsafe downgrade."},
		{"up as a downgrade", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("group.version", 1, 2)}, nil,
			"Invalid update version 1 for feature group.version. Can't downgrade to a newer version."},
		{"metadata lost", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("metadata.version", 29, 2)}, nil,
			"Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the requested downgrade because it might delete metadata information."},
		{"metadata lost on purpose", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("metadata.version", 29, 3)}, nil,
			"Unsupported metadata.version downgrade from 30 to 29. Unsafe metadata downgrade is not supported in this version."},
		{"a dependency", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("eligible.leader.replicas.version", 1, 1)}, one(level("metadata.version", 22)),
			"Invalid update version 1 for feature eligible.leader.replicas.version. eligible.leader.replicas.version could not be set to 1 " +
				"because it depends on metadata.version level 23"},
		{"voters that are not known", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("kraft.version", 1, 1)}, nil,
			"Invalid upgrade of kraft.version to KRAFT_VERSION_1 because not all of the voters support it"},
		{"voters that could change", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("kraft.version", 0, 2)}, one(level("kraft.version", 1)),
			"Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature."},
		{"one bad of two", []kmsg.UpdateFeaturesRequestFeatureUpdate{update("group.version", 1, 1), update("transaction.version", 3, 1)}, nil,
			"Invalid update version 3 for feature transaction.version. Local controller 1 only supports versions 0-2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newTestView(t, nil, records(one(featureBroker(1)), test.records)...)
			req := &kmsg.UpdateFeaturesRequest{Version: 1, FeatureUpdates: test.updates}
			d, err := updateFeatures(v, req)
			if protocol.CodeOf(err) != protocol.InvalidUpdateVersion || describe(err) != test.want || len(d.Records) > 0 {
				t.Errorf("%v\nwant %s", err, test.want)
			}
		})
	}
}

// TestUpdateFeaturesAwaitsControllers that controller.quorum.voters names, from the metadata.version on with which they register.
func TestUpdateFeaturesAwaitsControllers(t *testing.T) {
	for _, test := range []struct {
		level int16
		want  string
	}{{30, "Invalid update version 2 for feature transaction.version. controller 2 has not registered, and may not support this feature"}, {14, ""}} {
		v := newTestView(t, nil, featureBroker(1), level(protocol.MetadataVersion, test.level),
			&schema.RegisterControllerRecord{ControllerID: 3, Features: []schema.BrokerFeature{{Name: "transaction.version", MaxSupportedVersion: 2}}})
		v.quorum.expected = []int32{1, 2, 3}
		_, err := updateFeatures(v, &kmsg.UpdateFeaturesRequest{Version: 1, FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdate{update("transaction.version", 2, 1)}})
		got := ""
		if err != nil {
			got = describe(err)
		}
		if got != test.want {
			t.Errorf("metadata.version %d: %q, want %q", test.level, got, test.want)
		}
	}
}

func TestUpdateFeatures(t *testing.T) {
	v := newTestView(t, map[string]string{minISR: "2"}, records(one(featureBroker(1), featureBroker(2)),
		one(&schema.ConfigRecord{ResourceType: int8(config.Broker), ResourceName: "2", Name: minISR, Value: ptr("3")}))...)
	run := func(version int16, validateOnly bool, updates ...kmsg.UpdateFeaturesRequestFeatureUpdate) map[string]int16 {
		t.Helper()
		d, err := updateFeatures(v, &kmsg.UpdateFeaturesRequest{Version: version, ValidateOnly: validateOnly, FeatureUpdates: updates})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, v, d)
		return v.Image.Features()
	}
	if got := run(1, true, update("group.version", 1, 1)); len(got) != 1 {
		t.Errorf("validated only: %v", got)
	}
	if got := run(0, false, update("group.version", 1, 0), update("transaction.version", 2, 0)); got["group.version"] != 1 || got["transaction.version"] != 2 {
		t.Errorf("version 0: %v", got)
	}
	if got := run(1, false, update("kraft.version", 0, 1)); got["kraft.version"] != 0 || len(got) != 3 {
		t.Errorf("kraft.version as it is: %v", got)
	}
	if got := run(2, false, update("group.version", 0, 2), update("transaction.version", 1, 3)); !maps.Equal(got, map[string]int16{"metadata.version": 30, "transaction.version": 1}) {
		t.Errorf("down: %v", got)
	}
	run(1, false, update("eligible.leader.replicas.version", 1, 1))
	if cluster, broker := v.Image.Config(config.Broker, "")[minISR], v.Image.Config(config.Broker, "2"); cluster != "2" || len(broker) > 0 {
		t.Errorf("the cluster's %s is %q, broker 2 has %v", minISR, cluster, broker)
	}
}

func TestUpdateFeaturesAnswers(t *testing.T) {
	c, _ := startListed(t, nil)
	for version := range int16(3) {
		req := &kmsg.UpdateFeaturesRequest{Version: version, FeatureUpdates: []kmsg.UpdateFeaturesRequestFeatureUpdate{update("group.version", 1, 1)}}
		answer, err := c.Handle(t.Context(), req, Caller{})
		if err != nil {
			t.Fatal(err)
		}
		resp := answer.(*kmsg.UpdateFeaturesResponse)
		if want := map[int16]int{0: 1, 1: 1}[version]; resp.ErrorCode != 0 || resp.ErrorMessage != nil || len(resp.Results) != want || (want == 1 && *resp.Results[0].ErrorMessage != "NONE") {
			t.Errorf("v%d: %+v", version, resp)
		}
		req.FeatureUpdates = append(req.FeatureUpdates, update("nope", 1, 1))
		answer, err = c.Handle(t.Context(), req, Caller{})
		if err != nil {
			t.Fatal(err)
		}
		resp = answer.(*kmsg.UpdateFeaturesResponse)
		if protocol.Code(resp.ErrorCode) != protocol.InvalidUpdateVersion || len(resp.Results) != 0 ||
			!strings.HasPrefix(*resp.ErrorMessage, "The update failed for all features since the following feature had an error: Invalid update version 1") {
			t.Errorf("v%d: %+v", version, resp)
		}
	}
}

// TestMinISRWithELR: what the reference says of min.insync.replicas while the eligible leader replicas are kept.
func TestMinISRWithELR(t *testing.T) {
	build := func(elr bool) *View {
		base := records(threeLive(), existing("t", uuid(1), []int32{1, 2, 3}), existing("u", uuid(2), []int32{1, 2, 3}))
		if elr {
			base = records(withELR("3"), base)
		} else {
			base = records(one(&schema.ConfigRecord{ResourceType: 4, Name: minISR, Value: ptr("3")}), base)
		}
		v := newTestView(t, nil, base...)
		apply(t, v, Decision{Records: fence(v, 3, nil)})
		return v
	}
	elrs := func(v *View) [2]int {
		return [2]int{len(v.Image.Partition("t", 0).ELR), len(v.Image.Partition("u", 0).ELR)}
	}
	for _, test := range []struct {
		name    string
		elr     bool
		target  alteration
		message string
		want    [2]int
	}{
		{"a topic's", true, alteration{config.Topic, "t", []configOp{set(minISR, "2")}}, "", [2]int{0, 1}},
		{"a topic's, which it has not", true, alteration{config.Topic, "t", []configOp{unset(minISR)}}, "", [2]int{1, 1}},
		{"another key", true, alteration{config.Topic, "t", []configOp{set("retention.ms", "2")}}, "", [2]int{1, 1}},
		{"the cluster's", true, alteration{config.Broker, "", []configOp{set(minISR, "2")}}, "", [2]int{0, 0}},
		{"no more of the cluster's", true, alteration{config.Broker, "", []configOp{unset(minISR)}},
			"Cluster-level min.insync.replicas cannot be removed while ELR is enabled.", [2]int{1, 1}},
		{"a broker's", true, alteration{config.Broker, "1", []configOp{set(minISR, "2")}},
			"Broker-level min.insync.replicas cannot be altered while ELR is enabled.", [2]int{1, 1}},
		{"no more of a broker's", true, alteration{config.Broker, "1", []configOp{unset(minISR)}},
			"Broker-level min.insync.replicas cannot be altered while ELR is enabled.", [2]int{1, 1}},
		{"without ELR a broker's", false, alteration{config.Broker, "1", []configOp{set(minISR, "2")}}, "", [2]int{0, 0}},
		{"without ELR no more of the cluster's", false, alteration{config.Broker, "", []configOp{unset(minISR)}}, "", [2]int{0, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := build(test.elr)
			got := alter(t, v, test.target)[0]
			code, message := protocol.None, "<null>"
			if test.message != "" {
				code, message = protocol.InvalidConfig, test.message
			}
			if protocol.Code(got.ErrorCode) != code || deref(got.ErrorMessage) != message {
				t.Errorf("%v %s", protocol.Code(got.ErrorCode), deref(got.ErrorMessage))
			}
			if e := elrs(v); e != test.want {
				t.Errorf("sizes of the ELRs: %v, want %v", e, test.want)
			}
		})
	}
}

func TestOverlongConfigValue(t *testing.T) {
	v := newTestView(t, nil, existing("t", uuid(1), []int32{1})...)
	long := strings.Repeat("1:1,", 9000)
	got := alter(t, v, alteration{config.Topic, "t", []configOp{set("leader.replication.throttled.replicas", long)}})[0]
	if protocol.Code(got.ErrorCode) != protocol.InvalidConfig {
		t.Errorf("%v %s", protocol.Code(got.ErrorCode), deref(got.ErrorMessage))
	}
	if got = alter(t, v, alteration{config.Topic, "t", []configOp{set("leader.replication.throttled.replicas", "1:1,"+long[:32000-1])}})[0]; got.ErrorCode != 0 {
		t.Errorf("a value that is just short enough: %v %s", protocol.Code(got.ErrorCode), deref(got.ErrorMessage))
	}
}
