package config

// The reasons why keys are accepted without effect. They are shown at start for keys that were set, and in the documentation
// that DescribeConfigs gives.
const (
	noThreads         = "requests and background work have no thread pools whose size could be set"
	noPurgatory       = "finished requests leave the waiting room at once"
	noJava            = "there is no Java virtual machine to load classes"
	noTiers           = "this version has no tiered storage"
	noSecurity        = "this version has no TLS, SASL or delegation tokens"
	noQuotas          = "this version has no quotas"
	noNewGroups       = "this version serves no share and streams groups"
	noOffload         = "assignments are computed within the coordinator's shard"
	noFollowers       = "one broker has no followers"
	noElectionBackoff = "an election that failed is held again after one to two times its timeout"
	noQuorumLinger    = "changes are written at once, those that come meanwhile together"
	noMetrics         = "this version does not report metrics"
	noCordons         = "this version does not cordon log folders"
	noUnstable        = "only final versions of APIs and features are offered"
	noStartLimit      = "a start takes as long as the recovery of the logs needs"
	noBacklog         = "the operating system's own limit holds"
	noRate            = "this version does not limit the rate of new connections"
	noMetadataCut     = "it is there for Apache Kafka's own tests"
	noEvents          = "the controller logs what takes long without samples"
	noLoadBuffer      = "logs are read back in batches of the log's own size"
	noOffsetCodec     = "committed offsets are stored uncompressed"
	noAppendLinger    = "the group coordinator writes at once"
	noDirReport       = "a failed log folder is handled within the process"
	noBufferCache     = "the group coordinator's buffers belong to the runtime"
	noEarlyStart      = "without an authorizer all listeners start together"
	noDecompressed    = "batches are read as a stream, never decompressed as a whole"
)
