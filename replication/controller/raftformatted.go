package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"go.uber.org/zap"
)

// bootstrapFile is in the folder of the metadata what a new cluster begins with.
const bootstrapFile = "bootstrap.checkpoint"

// formatting is what kafka-storage format, Apache Kafka's or Ottla's, has left below the folder of the metadata for the first start (Kafka's Formatter and
// BootstrapDirectory).
type formatting struct {
	done    bool                    // the folder was formatted
	voters  []Voter                 // of a quorum whose voters can change; none: the configuration names them, or this node is to be added
	records []schema.MetadataRecord // what the first leader records; none: this release's levels
}

// readFormatting reads both files: bootstrap.checkpoint has the levels of features and the credentials, the checkpoint of offset 0 the voters; Apache Kafka
// 4.4 puts all into the second. The first start tells of what is unusual in them.
func (q *raftQuorum) readFormatting(first bool) (formatting, error) {
	var f formatting
	for _, path := range []string{
		filepath.Join(q.dir, bootstrapFile), filepath.Join(q.machine.log.Dir(), metadata.CheckpointID{}.FileName()),
	} {
		content, err := q.fs.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var image *metadata.Image
		if err == nil {
			image, err = metadata.ReadCheckpoint(metadata.CheckpointID{}, content, q.codecs)
		}
		if err != nil {
			return f, fmt.Errorf("controller: %s: %w", path, err)
		}
		f.done = true
		f.records = append(f.records, image.Records()...)
		if voters := image.Voters(); voters != nil {
			f.voters = votersOf(voters)
		}
		var users []string
		for r := range image.ScramCredentials() {
			users = append(users, r.Name)
		}
		if first && len(users) > 0 {
			q.logger.Warn("the SCRAM credentials that the folder was formatted with are kept, but this release authenticates nobody by them",
				zap.String("file", path), zap.Strings("users", users))
		}
	}
	if len(f.records) > 0 && levelIn(f.records, protocol.MetadataVersion) == 0 {
		return f, fmt.Errorf("controller: %s was formatted without a level of %s", q.dir, protocol.MetadataVersion)
	}
	return f, nil
}

// levelIn is the level of a feature in records, 0 if none names it.
func levelIn(records []schema.MetadataRecord, name string) int16 {
	for _, r := range records {
		if f, ok := r.(*schema.FeatureLevelRecord); ok && f.Name == name {
			return f.FeatureLevel
		}
	}
	return 0
}

// votersOf are the voters of a record, at their first endpoints.
func votersOf(r *schema.KRaftVoters) []Voter {
	var all []Voter
	for _, v := range r.Voters {
		voter := Voter{ID: v.ID, DirectoryID: v.DirectoryID}
		if len(v.Endpoints) > 0 {
			voter.Host, voter.Port = v.Endpoints[0].Host, v.Endpoints[0].Port
		}
		all = append(all, voter)
	}
	return all
}

// begin is what a new cluster records first in place of this release's own levels.
func (f formatting) begin(v *View) []schema.MetadataRecord {
	records := f.records
	if levelIn(records, protocol.EligibleLeaderReplicasVersion) > 0 {
		records = uniformMinISR(v, records[:len(records):len(records)])
	}
	return records
}
