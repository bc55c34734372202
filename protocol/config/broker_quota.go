package config

// brokerQuotaKeys are the broker keys about quotas, metrics and telemetry.
var brokerQuotaKeys = []Key{
	{Name: "alter.log.dirs.replication.quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]", NoEffect: noMoveSamples, Doc: "Number of samples by which moves between log folders are throttled."},
	{Name: "alter.log.dirs.replication.quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]", NoEffect: noMoveSamples, Doc: "Length in seconds of a sample by which moves between log folders are throttled."},
	{Name: "client.quota.callback.class", Type: Class, NoDefault: true, NoEffect: noJava, Doc: "Java class that decides the quotas of clients."},
	{Name: "controller.quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]", Doc: "Number of samples by which changes of metadata are throttled."},
	{Name: "controller.quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]", Doc: "Length in seconds of a sample by which changes of metadata are throttled."},
	{Name: "kafka.metrics.polling.interval.secs", Type: Int, Default: "10", Allowed: "[1,...]", NoEffect: noJava, Doc: "How often the older metrics reporters are polled, in seconds."},
	{Name: "kafka.metrics.reporters", Type: List, Default: "", NoEffect: noJava, Doc: "Java classes of the older kind that report metrics."},
	{Name: "metric.reporters", Type: List, Default: "org.apache.kafka.common.metrics.JmxReporter", Update: ClusterWide, NoEffect: noJava, Doc: "Java classes that report metrics."},
	{Name: "metrics.num.samples", Type: Int, Default: "2", Allowed: "[1,...]", NoEffect: noMetrics, Doc: "Number of samples from which metrics are computed."},
	{Name: "metrics.recording.level", Type: String, Default: "INFO", NoEffect: noMetrics, Doc: "Level of detail of the metrics."},
	{Name: "metrics.sample.window.ms", Type: Long, Default: "30000", Allowed: "[1,...]", NoEffect: noMetrics, Doc: "Length in milliseconds of a sample from which metrics are computed."},
	{Name: "ottla.log.slow.request.ms", Type: Long, Default: "-1", Internal: true, Doc: "Requests whose answer takes at least so long, in milliseconds, are logged by the logger slow; what a request waits for by its nature, as for new records, does not count. -1: none."},
	{Name: "ottla.log.format", Type: String, Default: "text", Allowed: "[text, json]", Internal: true, Doc: "Form of the log's lines: text for people, or one JSON object each."},
	{Name: "ottla.log.level", Type: String, Default: "INFO", Allowed: "[DEBUG, INFO, WARN, ERROR, FATAL]", Internal: true, Doc: "Level of the root logger at the start, by Kafka's names; it can be changed live as a broker logger."},
	{Name: "ottla.metrics.pprof", Type: Boolean, Default: "false", Internal: true, Doc: "Whether the address of the metrics also serves Go's profiles, under /debug/pprof/."},
	{Name: "quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]", Doc: "Number of samples by which clients are throttled."},
	{Name: "quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]", Doc: "Length in seconds of a sample by which clients are throttled."},
	{Name: "replication.quota.window.num", Type: Int, Default: "11", Allowed: "[1,...]", Doc: "Number of samples by which replication is throttled."},
	{Name: "replication.quota.window.size.seconds", Type: Int, Default: "1", Allowed: "[1,...]", Doc: "Length in seconds of a sample by which replication is throttled."},
	{Name: "telemetry.max.bytes", Type: Int, Default: "1048576", Allowed: "[1,...]", Doc: "Largest size in bytes of the metrics that a client pushes at a time."},
}
