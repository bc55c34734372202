package group

import "encoding/binary"

// subscribedTopics adds the topics of a consumer's subscription to topics. Only the part that all versions begin with
// (ConsumerProtocolSubscription version 0) is read: version, topics. It is false if the bytes are not a subscription.
func subscribedTopics(topics map[string]struct{}, b []byte) bool {
	const versionLen, countLen, sizeLen = 2, 4, 2
	if len(b) < versionLen+countLen || int16(binary.BigEndian.Uint16(b)) < 0 {
		return false
	}
	count := int32(binary.BigEndian.Uint32(b[versionLen:]))
	b = b[versionLen+countLen:]
	if count < 0 || int(count) > len(b)/sizeLen {
		return false
	}
	for range count {
		if len(b) < sizeLen {
			return false
		}
		size := int(int16(binary.BigEndian.Uint16(b)))
		b = b[sizeLen:]
		if size < 0 || size > len(b) {
			return false
		}
		topics[string(b[:size])] = struct{}{}
		b = b[size:]
	}
	return true
}
