package parity

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quotaPart is a part of an entity: "user=alice"; "user" alone is the default.
func quotaPart(text string) (kind string, name *string) {
	kind, rest, named := strings.Cut(text, "=")
	if named {
		name = &rest
	}
	return kind, name
}

// quotaOp is a change: "key" alone removes.
func quotaOp(text string) kmsg.AlterClientQuotasRequestEntryOp {
	key, number, set := strings.Cut(text, "=")
	op := kmsg.AlterClientQuotasRequestEntryOp{Key: key, Remove: !set}
	switch number {
	case "NaN":
		op.Value = math.NaN()
	case "":
	default:
		_, _ = fmt.Sscan(number, &op.Value)
	}
	return op
}

// limits is an entry of AlterClientQuotas: parts of the entity joined by commas, and changes.
func limits(entity string, ops ...string) kmsg.AlterClientQuotasRequestEntry {
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for text := range strings.SplitSeq(entity, ",") {
		if text == "nobody" {
			continue
		}
		p := kmsg.NewAlterClientQuotasRequestEntryEntity()
		p.Type, p.Name = quotaPart(text)
		e.Entity = append(e.Entity, p)
	}
	for _, op := range ops {
		e.Ops = append(e.Ops, quotaOp(op))
	}
	return e
}

func alterQuotas(version int16, validate bool, entries ...kmsg.AlterClientQuotasRequestEntry) *kmsg.AlterClientQuotasRequest {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Version, req.ValidateOnly, req.Entries = version, validate, entries
	return req
}

// describeQuotas asks with a filter: "user=alice" exactly, "user" the default, "user=*" anyone's.
func describeQuotas(version int16, strict bool, filter ...string) *kmsg.DescribeClientQuotasRequest {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Version, req.Strict = version, strict
	for _, text := range filter {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		c.EntityType, c.Match = quotaPart(text)
		switch {
		case c.Match == nil:
			c.MatchType = 1
		case *c.Match == "*":
			c.MatchType, c.Match = 2, nil
		}
		req.Components = append(req.Components, c)
	}
	return req
}

func nullable(s *string) string {
	if s == nil {
		return ""
	}
	return "=" + *s
}

// quotasSorted puts into order what Kafka keeps in maps.
func quotasSorted(_ server, answer kmsg.Response) {
	switch r := answer.(type) {
	case *kmsg.DescribeClientQuotasResponse:
		type entry = kmsg.DescribeClientQuotasResponseEntry
		for _, e := range r.Entries {
			slices.SortFunc(e.Entity, func(a, b kmsg.DescribeClientQuotasResponseEntryEntity) int { return cmp.Compare(a.Type, b.Type) })
			slices.SortFunc(e.Values, func(a, b kmsg.DescribeClientQuotasResponseEntryValue) int { return cmp.Compare(a.Key, b.Key) })
		}
		text := func(e entry) (all string) {
			for _, p := range e.Entity {
				all += p.Type + nullable(p.Name) + ","
			}
			return all
		}
		slices.SortFunc(r.Entries, func(a, b entry) int { return cmp.Compare(text(a), text(b)) })
	case *kmsg.AlterClientQuotasResponse:
		type entry = kmsg.AlterClientQuotasResponseEntry
		for _, e := range r.Entries {
			slices.SortFunc(e.Entity, func(a, b kmsg.AlterClientQuotasResponseEntryEntity) int { return cmp.Compare(a.Type, b.Type) })
		}
		text := func(e entry) (all string) {
			for _, p := range e.Entity {
				all += p.Type + nullable(p.Name) + ","
			}
			return all
		}
		slices.SortFunc(r.Entries, func(a, b entry) int { return cmp.Compare(text(a), text(b)) })
	}
}

// limited waits until the broker knows of everything that was changed: of a mark made last.
func (cl *client) limited(mark *int) {
	*mark++
	value := float64(1000 + *mark)
	cl.send("mark", alterQuotas(1, false, limits("user=mark", fmt.Sprintf("producer_byte_rate=%g", value)))).read()
	until(cl, "the mark is there", describeQuotas(1, true, "user=mark"), func(r *kmsg.DescribeClientQuotasResponse) bool {
		return len(r.Entries) == 1 && r.Entries[0].Values[0].Value == value
	})
}

// quotasText shows entries, infinite values too.
func quotasText(entries []kmsg.AlterClientQuotasRequestEntry) (text string) {
	for _, e := range entries {
		for _, p := range e.Entity {
			text += p.Type + nullable(p.Name) + ","
		}
		for _, op := range e.Ops {
			text += fmt.Sprintf(" %s=%g(%t)", op.Key, op.Value, op.Remove)
		}
		text += "; "
	}
	return text
}

// quotaRefusals are entries that cannot be.
func quotaRefusals() [][]kmsg.AlterClientQuotasRequestEntry {
	one := func(entity string, ops ...string) []kmsg.AlterClientQuotasRequestEntry {
		return []kmsg.AlterClientQuotasRequestEntry{limits(entity, ops...)}
	}
	return [][]kmsg.AlterClientQuotasRequestEntry{
		one("nobody", "producer_byte_rate=1"), one("=x", "producer_byte_rate=1"), one("team=x", "producer_byte_rate=1"), one("user=", "producer_byte_rate=1"),
		one("client-id=", "producer_byte_rate=1"), one("user=a,ip=127.0.0.1", "producer_byte_rate=1"), one("ip,client-id", "connection_creation_rate=1"),
		one("user=a,team=b", "producer_byte_rate=1"), one("user=a,user=b", "producer_byte_rate=1"),
		one("user=a", "speed=1"), one("user=a", "=1"), one("user=a", "connection_creation_rate=1"), one("ip=127.0.0.1", "producer_byte_rate=1"), one("user=a", "SCRAM-SHA-256=1"),
		one("user=a", "producer_byte_rate=0"), one("user=a", "consumer_byte_rate=-1"), one("user=a", "request_percentage=0"), one("user=a", "controller_mutation_rate=-0.5"),
		one("user=a", "producer_byte_rate=1.5"), one("user=a", "producer_byte_rate=1e19"), one("user=a", "producer_byte_rate=1e300"), one("user=a", "producer_byte_rate=+Inf"),
		one("ip=127.0.0.1", "connection_creation_rate=1.5"), one("ip=127.0.0.1", "connection_creation_rate=3000000000"), one("ip=not an address", "connection_creation_rate=1"),
		one("user=a", "producer_byte_rate=1", "producer_byte_rate=2"), one("user=a", "producer_byte_rate=1", "producer_byte_rate"), one("user=a", "speed"),
		one("user=a", "producer_byte_rate=1", "speed=1"), {limits("user=a", "producer_byte_rate=1"), limits("user=a", "consumer_byte_rate=1")},
		{limits("user=a", "producer_byte_rate=0"), limits("user=b", "speed=1"), limits("client-id=c", "producer_byte_rate")}, {},
	}
}

func clientQuotas(c *conversation) {
	cl, mark := c.dial("parity"), 0
	for _, v := range versions(0, 1) {
		change := func(label string, validate bool, entries ...kmsg.AlterClientQuotasRequestEntry) {
			ask[*kmsg.AlterClientQuotasResponse](cl, label, alterQuotas(v, validate, entries...), quotasSorted)
		}
		for _, entries := range quotaRefusals() {
			change("validate "+quotasText(entries), true, entries...)
			change(quotasText(entries), false, entries...)
		}
		change("validated only", true, limits("user=u", "producer_byte_rate=1000"))
		cl.limited(&mark)
		ask[*kmsg.DescribeClientQuotasResponse](cl, "nothing has changed", describeQuotas(v, false), quotasSorted)
		change("set", false, limits("user=u", "producer_byte_rate=1000", "request_percentage=12.5"), limits("user", "consumer_byte_rate=2000"), limits("client-id=c", "producer_byte_rate=1e12"),
			limits("client-id", "controller_mutation_rate=0.25"), limits("user=u,client-id=c", "producer_byte_rate=3"), limits("user,client-id", "producer_byte_rate=4"),
			limits("user=u,client-id", "producer_byte_rate=5"), limits("user,client-id=c", "producer_byte_rate=6"), limits("ip=127.0.0.7", "connection_creation_rate=7"),
			limits("ip", "connection_creation_rate=100000"), limits("user=*", "producer_byte_rate=8"), limits("user=<default>", "producer_byte_rate=9"), limits("user=ü /%", "producer_byte_rate=10"))
		change("the same again", false, limits("user=u", "producer_byte_rate=1000"))
		change("good and bad", false, limits("user=good", "producer_byte_rate=1.0000000001"), limits("user=bad", "speed=1"))
		change("no changes", false, limits("user=quiet"))
		change("what is not there is removed", false, limits("user=quiet", "producer_byte_rate"), limits("client-id=quiet", "producer_byte_rate"))
		cl.limited(&mark)
		describeAllQuotas(cl, v)
		change("removed", false, limits("user=u", "request_percentage"), limits("ip=127.0.0.7", "connection_creation_rate"), limits("client-id", "controller_mutation_rate"))
		cl.limited(&mark)
		ask[*kmsg.DescribeClientQuotasResponse](cl, "after the removal", describeQuotas(v, false), quotasSorted)
		change("all removed", false, limits("user=u", "producer_byte_rate"), limits("user", "consumer_byte_rate"), limits("client-id=c", "producer_byte_rate"),
			limits("user=u,client-id=c", "producer_byte_rate"), limits("user,client-id", "producer_byte_rate"), limits("user=u,client-id", "producer_byte_rate"),
			limits("user,client-id=c", "producer_byte_rate"), limits("ip", "connection_creation_rate"), limits("user=*", "producer_byte_rate"),
			limits("user=<default>", "producer_byte_rate"), limits("user=ü /%", "producer_byte_rate"), limits("user=good", "producer_byte_rate"))
		cl.limited(&mark)
		ask[*kmsg.DescribeClientQuotasResponse](cl, "nothing is left", describeQuotas(v, false), quotasSorted)
	}
}

// describeAllQuotas asks with filters good and bad.
func describeAllQuotas(cl *client, v int16) {
	for _, strict := range []bool{false, true} {
		for _, filter := range [][]string{
			{}, {"user=u"}, {"user"}, {"user=*"}, {"client-id=c"}, {"client-id"}, {"client-id=*"}, {"user=u", "client-id=c"}, {"user=*", "client-id=*"}, {"user", "client-id"},
			{"client-id", "user=u"}, {"ip=127.0.0.7"}, {"ip"}, {"ip=*"}, {"user=nobody"}, {"user="}, {"ip=nowhere"},
			{"team=x"}, {"=x"}, {"user=u", "user=v"}, {"user=*", "user"}, {"ip", "user"}, {"ip=*", "client-id=*"}, {"user=u", "team=x"},
		} {
			ask[*kmsg.DescribeClientQuotasResponse](cl, fmt.Sprintf("%q strict %t", filter, strict), describeQuotas(v, strict, filter...), quotasSorted)
		}
	}
	odd := func(label string, kind int8, name *string) {
		req := describeQuotas(v, false, "user")
		req.Components[0].MatchType, req.Components[0].Match = kmsg.QuotasMatchType(kind), name
		ask[*kmsg.DescribeClientQuotasResponse](cl, label, req, quotasSorted)
	}
	odd("exact without a name", 0, nil)
	odd("default with a name", 1, ptr("u"))
	odd("any with a name", 2, ptr("u"))
	odd("match type 3", 3, nil)
	odd("match type 3 with a name", 3, ptr("u"))
	odd("match type -1", -1, nil)
}

// throttled sends a request on a connection of its own, as those of a throttled client are muted, and notes whether the answer throttles it: for how long, in ms, is a
// matter of time.
func (c *conversation) throttled(client, label string, least, most int32, req kmsg.Request, options ...option) {
	answer, ok := c.dial(client).send(label, req, options...).wait().(kmsg.ThrottleResponse)
	if !ok {
		c.abort("%s: no answer", label)
	}
	millis, after := answer.Throttle()
	text := "not throttled"
	if millis > 0 {
		text = fmt.Sprintf("within %d to %d ms: %t", least, most, millis >= least && millis <= most)
	}
	c.note(label, fmt.Sprint(text, ", the client waits: ", after))
}

// mutationQuota is what a client is told whose changes of metadata are too many (KIP-599). At 0.01 changes a second nothing comes back while the script runs.
func mutationQuota(c *conversation) {
	cl, mark := c.dial("parity"), 0
	cl.createTopic("mutated", 1)
	for _, client := range []string{"creator", "grower", "deleter", "patient"} {
		ask[*kmsg.AlterClientQuotasResponse](cl, "limit "+client, alterQuotas(1, false, limits("client-id="+client, "controller_mutation_rate=0.01")), quotasSorted)
	}
	cl.limited(&mark)
	const least, most = 80_000, 10_000_000
	for _, v := range versions(2, 5) {
		c.throttled("patient", "permissive", least, most, create(v, false, newTopic(fmt.Sprintf("patient-%d", v), 2, 1)), createdByName)
	}
	made := func(label string, v int16, validate bool, topics ...kmsg.CreateTopicsRequestTopic) {
		c.throttled("creator", label, least, most, create(v, validate, topics...), createdByName)
	}
	made("within", 7, false, newTopic("created-1", 3, 1))
	made("strict", 7, false, newTopic("created-2", 1, 1))
	made("strict, some are wrong", 6, false, newTopic("created-2", 1, 1), newTopic("a b", 1, 1), newTopic("created-1", 1, 1))
	made("strict, validated", 7, true, newTopic("created-2", 1, 1))
	made("permissive", 5, false, newTopic("created-3", 2, 1))
	grown := func(label string, v int16, count int32) {
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = "mutated", count
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version, req.TimeoutMillis, req.Topics = v, 15000, []kmsg.CreatePartitionsRequestTopic{t}
		c.throttled("grower", label, least, most, req, grownByName)
	}
	grown("within", 3, 4)
	grown("strict", 3, 5)
	grown("strict and wrong", 3, 1)
	grown("permissive", 2, 6)
	dropped := func(label string, v int16, names ...string) {
		c.throttled("deleter", label, least, most, deleteRequest(v, names...), deletedByName)
	}
	dropped("strict, not there", 6, "created-none")
	dropped("within", 6, "created-1")
	dropped("strict", 5, "created-3")
	dropped("strict, one is not there", 6, "created-3", "created-none")
	dropped("permissive", 4, "created-3")
	until(cl, "they are gone", metadata(12, "created-1", "created-3"), func(r *kmsg.MetadataResponse) bool {
		return r.Topics[0].ErrorCode == 3 && r.Topics[1].ErrorCode == 3
	})
	ask[*kmsg.MetadataResponse](cl, "what there is", metadata(12, "mutated", "created-1", "created-2", "created-3"), byTopic)
}

// dataQuotas is what producers and consumers beyond their quota are told.
func dataQuotas(c *conversation) {
	cl, mark := c.dial("parity"), 0
	id := cl.createTopic("quotas", 1)
	ask[*kmsg.AlterClientQuotasResponse](cl, "limits", alterQuotas(1, false, limits("client-id=writer", "producer_byte_rate=1000"), limits("client-id=reader", "consumer_byte_rate=1000")), quotasSorted)
	cl.limited(&mark)
	value := strings.Repeat("v", 6000)
	put := func(client, label string, v, acks int16, least, most int32) {
		c.throttled(client, label, least, most, produce(v, acks, "quotas", id, 0, of(c.now.UnixMilli(), value).bytes()))
	}
	put("writer", "within", 9, -1, 0, 0)                 // 6 kB of the 10 that a new window allows
	put("writer", "beyond", 9, 1, 1500, 2900)            // 12 kB
	put("writer", "further beyond", 13, -1, 6500, 10000) // 18 kB
	put("parity", "without a limit", 9, -1, 0, 0)
	get := func(client, label string, v int16, maxBytes int32) {
		req := fetch(v, "quotas", id, 0)
		req.MaxBytes = maxBytes
		c.throttled(client, label, 1, 20000, req)
	}
	get("reader", "one batch", 12, 1)
	get("reader", "a window at most", 13, 50<<20)
	get("reader", "again", 13, 1)
	get("parity", "without a limit", 13, 50<<20)
}
