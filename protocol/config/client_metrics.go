package config

// clientMetricsKeys are the keys of a client metrics subscription.
var clientMetricsKeys = []Key{
	{Name: "interval.ms", Type: Int, Default: "300000", Allowed: "[100,...,3600000]"},
	{Name: "match", Type: List, Default: ""},
	{Name: "metrics", Type: List, Default: ""},
}
