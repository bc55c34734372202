package controller

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// goldenIDs reads [1,2]; nil for -.
func goldenIDs(t *testing.T, text string) []int32 {
	t.Helper()
	if text == "-" {
		return nil
	}
	ids := []int32{}
	for _, s := range strings.Split(strings.Trim(text, "[]"), ",") {
		if s == "" {
			continue
		}
		id, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, int32(id))
	}
	return ids
}

func goldenText(ids []int32) string {
	if ids == nil {
		return "-"
	}
	return strings.ReplaceAll(fmt.Sprint(ids), " ", ",")
}

func goldenResult(r *schema.PartitionChangeRecord, err error) string {
	switch {
	case err != nil:
		return "refused"
	case r == nil:
		return "nothing"
	}
	return strings.Join([]string{
		goldenText(r.ISR), goldenText(r.EligibleLeaderReplicas), goldenText(r.LastKnownELR), fmt.Sprint(r.Leader),
		goldenText(r.Replicas), goldenText(r.Removing), goldenText(r.Adding), fmt.Sprint(r.LeaderRecoveryState),
	}, "\t")
}

// goldenView is a cluster of six live brokers that keeps eligible leader replicas, or not.
func goldenView(t *testing.T, elr bool, version int16) *View {
	t.Helper()
	all := []schema.MetadataRecord{level(protocol.MetadataVersion, version)}
	if elr {
		all = append(all, level(protocol.EligibleLeaderReplicasVersion, 1))
	}
	for id := range int32(6) {
		all = append(all, liveBroker(id+1))
	}
	return newTestView(t, nil, all...)
}

// TestPartitionChangesAsKafka: what Apache Kafka 4.3.1's PartitionChangeBuilder decides about random changes (testdata/PartitionChanges.java).
func TestPartitionChangesAsKafka(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("testdata", "partition_changes_4.3.1.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	views := map[string]*View{}
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 16)
		version, _ := strconv.Atoi(f[1])
		v := views[f[0]+f[1]]
		if v == nil {
			v = goldenView(t, f[0] == "true", int16(version))
			views[f[0]+f[1]] = v
		}
		r, err := goldenChange(t, v, f)
		if got, want := goldenResult(r, err), amended(t, f); got != want {
			t.Errorf("line %d: %s\n got %s\nwant %s", number, strings.Join(f[:15], " "), got, want)
		}
	}
	if number < 2000 {
		t.Errorf("only %d cases", number)
	}
}

// amended is what Kafka decided but for two things. It notes broker -1 as the last leader of a partition that had none: here nobody is noted. And it
// keeps in the ELR who is no replica any more, which could be elected without a record once it is a replica again.
func amended(t *testing.T, f []string) string {
	t.Helper()
	r := strings.Split(f[15], "\t")
	if len(r) == 1 || f[0] != "true" {
		return f[15]
	}
	if r[2] == "[-1]" {
		r[2] = "-"
	}
	replicas := goldenIDs(t, r[4])
	if replicas == nil {
		replicas = goldenIDs(t, f[5])
	}
	before, elr := goldenIDs(t, f[9]), goldenIDs(t, r[1])
	if elr == nil {
		elr = before
	}
	elr = slices.DeleteFunc(slices.Clone(elr), func(id int32) bool { return !slices.Contains(replicas, id) })
	if r[1] = goldenText(elr); slices.Equal(elr, before) {
		r[1] = "-"
	}
	return strings.Join(r, "\t")
}

// goldenChange makes the change of one line.
func goldenChange(t *testing.T, v *View, f []string) (*schema.PartitionChangeRecord, error) {
	t.Helper()
	leader, _ := strconv.Atoi(f[11])
	recovery, _ := strconv.Atoi(f[12])
	p := &metadata.Partition{
		Replicas: goldenIDs(t, f[5]), ISR: goldenIDs(t, f[6]), Removing: goldenIDs(t, f[7]), Adding: goldenIDs(t, f[8]),
		ELR: goldenIDs(t, f[9]), LastKnownELR: goldenIDs(t, f[10]), Leader: int32(leader), LeaderRecoveryState: int8(recovery),
		LeaderEpoch: 10, PartitionEpoch: 20,
	}
	p.Directories = make([]protocol.UUID, len(p.Replicas))
	topic := &metadata.Topic{Name: "t", ID: uuid(1), Partitions: []*metadata.Partition{p}}
	minimum, _ := strconv.Atoi(f[2])
	election := map[string]election{"ONLINE": electOnline, "PREFERRED": electPreferred, "UNCLEAN": electUnclean}[f[3]]
	c := v.change(topic, p, topicRules{minISR: minimum, unclean: true})
	acceptable := goldenIDs(t, f[4])
	c.election, c.acceptable = election, func(id int32) bool { return slices.Contains(acceptable, id) }
	if f[13] == "cancel" {
		if err := revert(c); err != nil {
			return nil, err
		}
		return c.record(), nil
	}
	argument := goldenIDs(t, f[14])
	switch f[13] {
	case "isr":
		c.isr = argument
	case "removed":
		c.isr = without(p.ISR, argument...)
	case "unclean":
		c.isr, c.unclean = without(p.ISR, argument...), argument[0]
	case "reassign":
		c.election = electOnline
		return moveTo(c, argument), nil
	}
	return c.record(), nil
}
