package controller

import "github.com/ottla/ottla/protocol/schema"

const (
	// metadataVersionFeature is the feature whose level says which records the metadata log may hold.
	metadataVersionFeature = "metadata.version"
	// MetadataVersionLevel is the level that a new cluster finalizes: 4.3-IV0, the newest of Apache Kafka 4.3.
	MetadataVersionLevel int16 = 30
)

// bootstrap records the features of a new cluster.
func bootstrap(v *View) (Decision, error) {
	if v.Image.Features()[metadataVersionFeature] != 0 {
		return Decision{}, nil
	}
	return Decision{Records: []schema.MetadataRecord{
		&schema.FeatureLevelRecord{Name: metadataVersionFeature, FeatureLevel: MetadataVersionLevel},
	}}, nil
}
