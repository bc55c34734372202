package parity

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCompareSeesEveryKindOfField: the comparison is worth what it can find.
func TestCompareSeesEveryKindOfField(t *testing.T) {
	answer := func(change func(*kmsg.MetadataResponse)) *kmsg.MetadataResponse {
		r := kmsg.NewPtrMetadataResponse()
		r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: "h", Port: 9092}}
		r.ClusterID, r.ThrottleMillis = new("one"), 1
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.TopicID, topic.Partitions = new("t"), [16]byte{1}, []kmsg.MetadataResponseTopicPartition{{Replicas: []int32{1}, ISR: []int32{}}}
		r.Topics = append(r.Topics, topic)
		if change != nil {
			change(r)
		}
		return r
	}
	for name, c := range map[string]struct {
		change func(*kmsg.MetadataResponse)
		path   string // empty: no difference
	}{
		"nothing":              {nil, ""},
		"number":               {func(r *kmsg.MetadataResponse) { r.ControllerID = 9 }, "MetadataResponse.ControllerID"},
		"text":                 {func(r *kmsg.MetadataResponse) { r.Brokers[0].Host = "x" }, "MetadataResponse.Brokers[0].Host"},
		"null text":            {func(r *kmsg.MetadataResponse) { r.Topics[0].Topic = nil }, "MetadataResponse.Topics[0].Topic"},
		"bool":                 {func(r *kmsg.MetadataResponse) { r.Topics[0].IsInternal = true }, "MetadataResponse.Topics[0].IsInternal"},
		"length":               {func(r *kmsg.MetadataResponse) { r.Topics = append(r.Topics, r.Topics[0]) }, "MetadataResponse.Topics[]"},
		"null for empty":       {func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].ISR = nil }, "MetadataResponse.Topics[0].Partitions[0].ISR[]"},
		"numbers":              {func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Replicas[0] = 2 }, "MetadataResponse.Topics[0].Partitions[0].Replicas[0]"},
		"another id":           {func(r *kmsg.MetadataResponse) { r.Topics[0].TopicID = [16]byte{2} }, ""},
		"no id":                {func(r *kmsg.MetadataResponse) { r.Topics[0].TopicID = [16]byte{} }, "MetadataResponse.Topics[0].TopicID"},
		"tags":                 {func(r *kmsg.MetadataResponse) { r.UnknownTags.Set(3, []byte{1}) }, "MetadataResponse.UnknownTags"},
		"another port":         {func(r *kmsg.MetadataResponse) { r.Brokers[0].Port = 9093 }, ""},
		"no port of ours":      {func(r *kmsg.MetadataResponse) { r.Brokers[0].Port = 9094 }, "MetadataResponse.Brokers[0].Port"},
		"allowed":              {func(r *kmsg.MetadataResponse) { r.ClusterID, r.ThrottleMillis = new("two"), 2 }, ""},
		"allowed if it is set": {func(r *kmsg.MetadataResponse) { r.ClusterID = nil }, "MetadataResponse.ClusterID"},
	} {
		t.Run(name, func(t *testing.T) {
			kafka := &conversation{server: server{addr: "127.0.0.1:9092"}, steps: []step{{label: "asked", answer: answer(nil)}}}
			ottla := &conversation{server: server{addr: "127.0.0.1:9093"}, steps: []step{{label: "asked", answer: answer(func(r *kmsg.MetadataResponse) {
				r.Brokers[0].Port = 9093
				if c.change != nil {
					c.change(r)
				}
			})}}}
			found := compare(kafka, ottla)
			if want := c.path != ""; want != (len(found) == 1) || want && found[0].path != c.path {
				t.Errorf("%v, want %q", found, c.path)
			}
		})
	}
}

// TestCompareSeesScriptsPart: a script that takes another way is a difference, as is one that ends early.
func TestCompareSeesScriptsPart(t *testing.T) {
	run := func(script func(*conversation)) *conversation {
		c := &conversation{}
		c.run(script)
		return c
	}
	whole := func(c *conversation) { c.note("one", "a"); c.note("two", "b") }
	for name, script := range map[string]func(*conversation){
		"outcome": func(c *conversation) { c.note("one", "a"); c.note("two", "c") },
		"label":   func(c *conversation) { c.note("one", "a"); c.note("three", "b") },
		"early":   func(c *conversation) { c.note("one", "a"); c.abort("no more") },
		"short":   func(c *conversation) { c.note("one", "a") },
	} {
		if found := compare(run(whole), run(script)); len(found) == 0 {
			t.Errorf("%s: no difference", name)
		}
	}
	if found := compare(run(whole), run(whole)); len(found) > 0 {
		t.Error(found)
	}
}

// TestMemberIDsAndPortsAreOfOneSide: what is random or of one server is plain in texts, all else is compared.
func TestMemberIDsAndPortsAreOfOneSide(t *testing.T) {
	s := server{addr: "127.0.0.1:9092"}
	texts := []string{
		plain(s, "consumer-01234567-89ab-cdef-0123-456789abcdef"), plain(s, "127.0.0.1:9092"), plain(s, "topic id AAAAAAAAAAAAAAAAAAAAAQ is gone"), plain(s, "as it is"),
	}
	if want := []string{"consumer-<uuid>", "127.0.0.1:<port 0>", "topic id <id> is gone", "as it is"}; !slices.Equal(texts, want) {
		t.Errorf("%q, want %q", texts, want)
	}
}
