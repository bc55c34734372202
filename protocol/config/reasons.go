package config

// The reasons why keys are accepted without effect. They are shown at start for keys that were set, and in the documentation
// that DescribeConfigs gives.
const (
	noThreads         = "each shard of a coordinator works by itself"
	noPurgatory       = "finished requests leave the waiting room at once"
	noJava            = "there is no Java virtual machine to load classes"
	noTiers           = "this version has no tiered storage"
	noSecurity        = "this version has no TLS, SASL or delegation tokens"
	noMoveSamples     = "moves between log folders are paced piece by piece, without samples"
	noNewGroups       = "this version serves no share and streams groups"
	noOffload         = "assignments are computed within the coordinator's shard"
	noElectionBackoff = "an election that failed is held again after one to two times its timeout"
	noQuorumLinger    = "changes are written at once, those that come meanwhile together"
	noMetrics         = "metrics are counted without samples, and all are recorded"
	noCordons         = "this version does not cordon log folders"
	noUnstable        = "only final versions of APIs and features are offered"
	noStartLimit      = "a start takes as long as the recovery of the logs needs"
	noMetadataCut     = "it is there for Apache Kafka's own tests"
	noEvents          = "the controller logs what takes long without samples"
	noLoadBuffer      = "logs are read back in batches of the log's own size"
	noAppendLinger    = "the group coordinator writes at once"
	noBufferCache     = "the group coordinator's buffers belong to the runtime"
	noEarlyStart      = "without an authorizer all listeners start together"
	noZooKeeper       = "there is no ZooKeeper, the metadata is kept by the controllers"
	noPasswords       = "passwords are not stored in ZooKeeper"
	noHostName        = "Apache Kafka has listeners and advertised.listeners instead"
	noStaticQuotas    = "default quotas are set at run time, see kafka-configs --entity-type clients --entity-default"
	noDecompressed    = "batches are read as a stream, never decompressed as a whole"
)
