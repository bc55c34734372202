package config

// clientMetricsKeys are the keys of a client metrics subscription.
var clientMetricsKeys = []Key{
	{Name: "interval.ms", Type: Int, Default: "300000", Allowed: "[100,...,3600000]", Doc: "How often matching clients push their metrics, in milliseconds."},
	{Name: "match", Type: List, Default: "", Doc: "Which clients a subscription is for: parameter=regular expression pairs."},
	{Name: "metrics", Type: List, Default: "", Doc: "Prefixes of the names of the metrics that are asked for; * is all, an empty list none."},
}
