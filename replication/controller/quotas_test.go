package controller

import (
	"testing"

	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func quotaEntry(key string, value float64, parts ...string) kmsg.AlterClientQuotasRequestEntry {
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for i := 0; i < len(parts); i += 2 {
		part := kmsg.AlterClientQuotasRequestEntryEntity{Type: parts[i]}
		if parts[i+1] != "<default>" {
			part.Name = &parts[i+1]
		}
		e.Entity = append(e.Entity, part)
	}
	e.Ops = []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value}}
	return e
}

// TestAlterClientQuotas has the messages of Apache Kafka 4.3.1.
func TestAlterClientQuotas(t *testing.T) {
	for want, e := range map[string]kmsg.AlterClientQuotasRequestEntry{
		"":                                      quotaEntry("producer_byte_rate", 5, "user", "<default>"),
		"Invalid empty client quota entity":     quotaEntry("producer_byte_rate", 5),
		"Unhandled client quota entity type: x": quotaEntry("producer_byte_rate", 5, "x", "y"),
		"Empty user not supported":              quotaEntry("producer_byte_rate", 5, "user", ""),
		"Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId": quotaEntry("producer_byte_rate", 5, "user", "u", "ip", "127.0.0.1"), //nolint:misspell // as in Kafka
		"bad! is not a valid IP or resolvable host.":                                              quotaEntry("connection_creation_rate", 5, "ip", "bad!"),
		"Invalid configuration key nope":                                                          quotaEntry("nope", 5, "user", "u"),
		"Quota producer_byte_rate must be greater than 0":                                         quotaEntry("producer_byte_rate", 0, "user", "u"),
		"producer_byte_rate cannot be a fractional value.":                                        quotaEntry("producer_byte_rate", 1.5, "user", "u"),
		"Proposed value for connection_creation_rate is too large for an INT.":                    quotaEntry("connection_creation_rate", 3e9, "ip", "<default>"),
	} {
		req, resp := kmsg.NewPtrAlterClientQuotasRequest(), kmsg.NewPtrAlterClientQuotasResponse()
		req.Entries = append(req.Entries, e)
		d, err := alterClientQuotas(&View{Image: metadata.Empty()}, req, resp, map[string]bool{"bad!": true})
		if err != nil || len(resp.Entries) != 1 {
			t.Fatalf("%q: %v %+v", want, err, resp)
		}
		got := ""
		if m := resp.Entries[0].ErrorMessage; m != nil {
			got = *m
		}
		if got != want || (len(d.Records) == 1) != (want == "") {
			t.Errorf("%q, want %q; %d records", got, want, len(d.Records))
		}
	}
}

func TestTheSameEntityTwice(t *testing.T) {
	req, resp := kmsg.NewPtrAlterClientQuotasRequest(), kmsg.NewPtrAlterClientQuotasResponse()
	req.Entries = []kmsg.AlterClientQuotasRequestEntry{
		quotaEntry("producer_byte_rate", 5, "user", "u", "client-id", "<default>"), quotaEntry("consumer_byte_rate", 5, "client-id", "<default>", "user", "u"),
	}
	d, err := alterClientQuotas(&View{Image: metadata.Empty()}, req, resp, nil)
	const want = "Ignoring duplicate entity ClientQuotaEntity(entries={client-id=null, user=u})"
	if err != nil || len(d.Records) != 1 || len(resp.Entries) != 1 || *resp.Entries[0].ErrorMessage != want {
		t.Errorf("%v %+v", err, resp)
	}
}
