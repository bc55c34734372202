package config

// brokerQuotaKeys are the broker keys about quotas, metrics and telemetry.
var brokerQuotaKeys = []Key{
	{Name: "alter.log.dirs.replication.quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]"},
	{Name: "alter.log.dirs.replication.quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]"},
	{Name: "client.quota.callback.class", Type: Class, NoDefault: true},
	{Name: "controller.quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]"},
	{Name: "controller.quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]"},
	{Name: "kafka.metrics.polling.interval.secs", Type: Int, Default: "10", Allowed: "[1,...]"},
	{Name: "kafka.metrics.reporters", Type: List, Default: ""},
	{Name: "metric.reporters", Type: List, Default: "org.apache.kafka.common.metrics.JmxReporter", Update: ClusterWide},
	{Name: "metrics.num.samples", Type: Int, Default: "2", Allowed: "[1,...]"},
	{Name: "metrics.recording.level", Type: String, Default: "INFO"},
	{Name: "metrics.sample.window.ms", Type: Long, Default: "30000", Allowed: "[1,...]"},
	{Name: "quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]"},
	{Name: "quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]"},
	{Name: "replication.quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]"},
	{Name: "replication.quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]"},
	{Name: "telemetry.max.bytes", Type: Int, Default: "1048576", Allowed: "[1,...]"},
}
