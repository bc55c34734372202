package api

// Feature is a cluster feature and the levels of it that this broker supports (KIP-584).
type Feature struct {
	Name     string
	Min, Max int16
}

// SupportedFeatures is what ApiVersions lists and what the broker registers with, by name. No minimum is 0, so that
// ApiVersions 3, which must leave such features out (KIP-1022), lists the same as 4.
func SupportedFeatures() []Feature {
	return []Feature{
		{Name: "metadata.version", Min: 7, Max: 30}, // 3.3-IV3, the oldest of a KRaft cluster, to 4.3-IV0
	}
}
