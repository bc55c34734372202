package protocol

import (
	"slices"
	"strings"
	"testing"
)

func TestFeatureDefaults(t *testing.T) {
	for _, c := range []struct {
		version                                           int16
		kraft, group, transaction, leader, share, streams int16
	}{
		{7, 0, 0, 0, 0, 0, 0}, {20, 0, 0, 0, 0, 0, 0}, {21, 1, 0, 0, 0, 0, 0}, {22, 1, 1, 0, 0, 0, 0}, {23, 1, 1, 0, 0, 0, 0}, {24, 1, 1, 2, 0, 0, 0},
		{26, 1, 1, 2, 1, 0, 0}, {28, 1, 1, 2, 1, 1, 0}, {29, 1, 1, 2, 1, 1, 1}, {30, 1, 1, 2, 1, 1, 1},
	} {
		want := map[string]int16{
			MetadataVersion: c.version, GroupVersion: c.group, TransactionVersion: c.transaction, EligibleLeaderReplicasVersion: c.leader,
			KRaftVersion: c.kraft, ShareVersion: c.share, StreamsVersion: c.streams,
		}
		for _, f := range Features() {
			if got := f.DefaultLevel(c.version); got != want[f.Name] {
				t.Errorf("%s at metadata.version %d: %d, want %d", f.Name, c.version, got, want[f.Name])
			}
			if err := f.CheckLevel(f.DefaultLevel(c.version), want); err != nil {
				t.Error(err)
			}
		}
	}
	if !slices.IsSortedFunc(Features(), func(a, b Feature) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not by name")
	}
}

func TestFeatureDependencies(t *testing.T) {
	f, ok := LookupFeature(EligibleLeaderReplicasVersion)
	if !ok {
		t.Fatal("not found")
	}
	for version, want := range map[int16]string{
		22: "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23",
		6:  "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version=7 (3.3-IV3)",
		23: "",
	} {
		got := ""
		if err := f.CheckLevel(1, map[string]int16{MetadataVersion: version}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("metadata.version %d: %q, want %q", version, got, want)
		}
		if err := f.CheckLevel(0, map[string]int16{MetadataVersion: version}); err != nil {
			t.Errorf("level 0: %v", err)
		}
	}
	if f, ok := LookupFeature("nope"); ok || f.Max != 0 {
		t.Errorf("%v", f)
	}
}

func TestMetadataVersionChanges(t *testing.T) {
	for _, c := range []struct {
		a, b int16
		want bool
	}{{30, 29, true}, {29, 30, true}, {29, 24, false}, {24, 22, true}, {30, 30, false}, {22, 18, false}, {18, 16, true}, {10, 8, false}, {8, 7, true}} {
		if got := MetadataVersionChanges(c.a, c.b); got != c.want {
			t.Errorf("%d to %d: %v", c.a, c.b, got)
		}
	}
}
