package parity

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// higher are the versions that Ottla serves above Apache Kafka 4.3.1: those of 4.4.
var higher = map[int16]int16{18: 4, 28: 5, 42: 2}

// servedAPIs leaves the APIs that Ottla serves with Kafka's highest version. Ottla serves more low versions on purpose: those
// of 3.9.
func servedAPIs(s server, answer kmsg.Response) {
	r := answer.(*kmsg.ApiVersionsResponse)
	r.ApiKeys = slices.DeleteFunc(r.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return !slices.Contains(served, k.ApiKey) })
	for i := range r.ApiKeys {
		k := &r.ApiKeys[i]
		if k.MinVersion <= lowest[k.ApiKey] {
			k.MinVersion = 0
		}
		if was, ok := higher[k.ApiKey]; ok && s.name == "Ottla" && k.MaxVersion == was+1 {
			k.MaxVersion = was
		}
	}
	slices.SortFunc(r.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return int(a.ApiKey) - int(b.ApiKey) })
}

// served are the keys of Ottla; lowest is Kafka 4.3.1's lowest version where it is not 0.
var (
	served = []int16{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 32, 33, 34, 35, 37, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
		55, 57, 60, 61, 64, 65, 66, 68, 69, 74, 75, 80, 81}
	lowest = map[int16]int16{2: 1, 8: 2, 9: 1, 19: 2, 20: 1, 23: 2, 27: 1, 32: 1, 34: 1, 35: 1}
)

// byName puts features in order: Kafka keeps them in a map.
func byName(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.ApiVersionsResponse)
	// Whether voters can change depends on how a cluster was formatted, so kraft.version may be finalized or not.
	r.FinalizedFeatures = slices.DeleteFunc(r.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool { return f.Name == "kraft.version" })
	slices.SortFunc(r.SupportedFeatures, func(a, b kmsg.ApiVersionsResponseSupportedFeature) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(r.FinalizedFeatures, func(a, b kmsg.ApiVersionsResponseFinalizedFeature) int { return strings.Compare(a.Name, b.Name) })
}

func apiVersionsRequest(version int16, name, software string) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, name, software
	return req
}

func apiVersions(c *conversation) {
	cl := c.dial("parity")
	for _, v := range versions(0, 4) {
		ask[*kmsg.ApiVersionsResponse](cl, "asked", apiVersionsRequest(v, "parity", "1.0"), servedAPIs, byName)
	}
	for _, name := range []string{"", "-a", "a-", "a_b", "a b", "a/b", "a+b", "ä", "librdkafka", "confluent-kafka-python-librdkafka-2.6.1", "a..b", "1"} {
		for _, v := range []int16{3, 4} {
			ask[*kmsg.ApiVersionsResponse](cl, "software name "+name, apiVersionsRequest(v, name, "1.0"), servedAPIs, byName)
			ask[*kmsg.ApiVersionsResponse](cl, "software version "+name, apiVersionsRequest(v, "a", name), servedAPIs, byName)
		}
	}
	// A version that is not known is answered as version 0, whatever the body; the connection lives on.
	for _, version := range []uint16{99, 0x7fff, 0xffff} {
		frame := cl.frame(apiVersionsRequest(3, "parity", "1.0"))
		binary.BigEndian.PutUint16(frame[6:], version)
		cl.write(frame)
		cl.unknownVersion("unknown version")
		frame = append(frame[:len(frame)-3], 0xff, 0xff, 0xff)
		cl.write(frame)
		cl.unknownVersion("unknown version, a body that cannot be read")
	}
	ask[*kmsg.ApiVersionsResponse](cl, "afterwards", apiVersionsRequest(3, "parity", "1.0"), servedAPIs, byName)
	cl.id = ""
	ask[*kmsg.ApiVersionsResponse](cl, "empty client id", apiVersionsRequest(3, "parity", "1.0"), servedAPIs, byName)
}

// unknownVersion records the raw answer to an ApiVersions request of a version that is not known. Ottla's highest is 5.
func (cl *client) unknownVersion(label string) {
	body, err := cl.readFrame(answerLimit)
	if err != nil {
		cl.note(label, "closed")
		cl.abort("%s: closed", label)
	}
	if cl.server.name == "Ottla" && len(body) == 16 && body[15] == 5 {
		body[15] = 4
	}
	cl.note(label, shown(body[4:]))
}
