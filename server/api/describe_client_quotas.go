package api

import (
	"context"
	"maps"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeClientQuotas (48) lists the quotas of users, client ids and addresses that a filter selects (KIP-546), as this broker knows them. Versions: 1 is
// flexible.

// How a component of the filter matches.
const (
	matchExact kmsg.QuotasMatchType = iota
	matchDefault
	matchAny
)

func handleDescribeClientQuotas(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	if err := checkQuotaFilter(req.Components); err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return reply(resp)
	}
	resp.ErrorMessage = kmsg.StringPtr("")
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	for q := range n.Image().ClientQuotas() {
		if selectsQuota(req, q) {
			resp.Entries = append(resp.Entries, describeQuota(q))
		}
	}
	return reply(resp)
}

// checkQuotaFilter refuses what a filter cannot mean (ClientQuotasImage.describe).
func checkQuotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) error {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidRequest, format, args...)
	}
	seen := map[string]bool{}
	for i := range components {
		c := &components[i]
		switch c.EntityType {
		case "":
			return invalid("Invalid empty entity type.")
		case metadata.QuotaUser, metadata.QuotaClientID, metadata.QuotaIP:
		default:
			return protocol.Errorf(protocol.UnsupportedVersion, "Unsupported entity type %s", c.EntityType)
		}
		if seen[c.EntityType] {
			return invalid("Entity type %s cannot appear more than once in the filter.", c.EntityType)
		}
		seen[c.EntityType] = true
		switch {
		case c.MatchType == matchExact && c.Match == nil:
			return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.")
		case c.MatchType == matchDefault && c.Match != nil:
			return invalid("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
		case c.MatchType == matchAny && c.Match != nil:
			return invalid("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
		case c.MatchType < matchExact || c.MatchType > matchAny:
			return invalid("Unknown match type %d", int8(c.MatchType))
		}
	}
	if seen[metadata.QuotaIP] && len(seen) > 1 {
		return invalid("Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}

// selectsQuota reports whether the filter of req matches the entity of q; one of more parts than the filter has only matches if it is not strict.
func selectsQuota(req *kmsg.DescribeClientQuotasRequest, q *metadata.ClientQuota) bool {
	if req.Strict && len(q.Entity) != len(req.Components) {
		return false
	}
	for i := range req.Components {
		c := &req.Components[i]
		at := slices.IndexFunc(q.Entity, func(e schema.QuotaEntity) bool { return e.Type == c.EntityType })
		if at < 0 {
			return false
		}
		name := q.Entity[at].Name
		if c.MatchType == matchDefault && name != nil || c.MatchType == matchExact && (name == nil || *name != *c.Match) {
			return false
		}
	}
	return true
}

func describeQuota(q *metadata.ClientQuota) (out kmsg.DescribeClientQuotasResponseEntry) {
	for _, e := range q.Entity {
		out.Entity = append(out.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: e.Type, Name: e.Name})
	}
	for _, key := range slices.Sorted(maps.Keys(q.Values)) {
		out.Values = append(out.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: key, Value: q.Values[key]})
	}
	return out
}
