package runtime

import "github.com/ottla/ottla/protocol"

// CodeFor maps an error of an operation on a coordinator's partition to what the coordinator's clients understand (Kafka's
// CoordinatorOperationExceptionHelper): clients look the coordinator up again, or retry, where the log itself could not be written. nil is None.
func CodeFor(err error) protocol.Code {
	switch code := protocol.CodeOf(err); code {
	case protocol.NetworkException:
		return protocol.CoordinatorLoadInProgress
	case protocol.UnknownTopicOrPartition, protocol.NotEnoughReplicas, protocol.NotEnoughReplicasAfterAppend, protocol.RequestTimedOut:
		return protocol.CoordinatorNotAvailable
	case protocol.NotLeaderOrFollower, protocol.KafkaStorageError, protocol.FencedLeaderEpoch, protocol.UnknownLeaderEpoch:
		return protocol.NotCoordinator
	case protocol.MessageTooLarge, protocol.RecordListTooLarge, protocol.InvalidFetchSize:
		return protocol.UnknownServerError
	default:
		return code
	}
}

// lostLeadership reports whether err says that another epoch, or nobody, leads the partition.
func lostLeadership(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.NotLeaderOrFollower, protocol.FencedLeaderEpoch, protocol.UnknownLeaderEpoch, protocol.UnknownTopicOrPartition:
		return true
	default:
		return false
	}
}
