package controller

import (
	"context"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quotaKind says which numbers a quota takes.
type quotaKind uint8

const (
	quotaDouble quotaKind = iota
	quotaInt
	quotaLong
)

// quotasOf are the quotas of users and clients, or of addresses, with what they take (QuotaConfig).
func quotasOf(ip bool) map[string]quotaKind {
	if ip {
		return map[string]quotaKind{"connection_creation_rate": quotaInt}
	}
	return map[string]quotaKind{
		"producer_byte_rate": quotaLong, "consumer_byte_rate": quotaLong, "request_percentage": quotaDouble, "controller_mutation_rate": quotaDouble,
	}
}

// alterClientQuotas serves AlterClientQuotas (49). Host names are looked up before the decision, which must not wait.
func (c *Controller) alterClientQuotas(ctx context.Context, req *kmsg.AlterClientQuotasRequest) (kmsg.Response, error) {
	unknown := c.unknownHosts(ctx, req)
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	err := c.decideFor(ctx, func(v *View) (Decision, error) { return alterClientQuotas(v, req, resp, unknown) })
	if unanswered(err) {
		return nil, err
	}
	for i := range resp.Entries {
		if err != nil {
			resp.Entries[i].ErrorCode, resp.Entries[i].ErrorMessage = codeAndMessage(err)
		}
	}
	return resp, nil
}

// unknownHosts are the names of ip entities that are no addresses and stand for none.
func (c *Controller) unknownHosts(ctx context.Context, req *kmsg.AlterClientQuotasRequest) map[string]bool {
	unknown := map[string]bool{}
	for _, e := range req.Entries {
		for _, part := range e.Entity {
			if part.Type != "ip" || part.Name == nil || *part.Name == "" {
				continue
			}
			if _, err := netip.ParseAddr(*part.Name); err == nil {
				continue
			}
			if c.o.LookupHost == nil || c.o.LookupHost(ctx, *part.Name) != nil {
				unknown[strings.Clone(*part.Name)] = true
			}
		}
	}
	return unknown
}

// alterClientQuotas sets and removes quotas, each entity on its own terms (ClientQuotaControlManager.alterClientQuotas).
func alterClientQuotas(v *View, req *kmsg.AlterClientQuotasRequest, resp *kmsg.AlterClientQuotasResponse, unknown map[string]bool) (Decision, error) {
	var d Decision
	at := map[string]int{} // of an entity in the response
	for i := range req.Entries {
		e := &req.Entries[i]
		entity := quotaEntity(e)
		text := quotaEntityText(entity)
		place, seen := at[text]
		if !seen {
			place = len(resp.Entries)
			at[text] = place
			resp.Entries = append(resp.Entries, quotaResult(entity))
		}
		var records []schema.MetadataRecord
		var err error
		if seen || duplicateKey(e) {
			err = protocol.Errorf(protocol.InvalidRequest, "Ignoring duplicate entity %s", text)
		} else {
			records, err = alterQuota(v, entity, e.Ops, unknown)
		}
		resp.Entries[place].ErrorCode, resp.Entries[place].ErrorMessage = codeAndMessage(err)
		d.Records = append(d.Records, records...)
	}
	if len(d.Records) > maxRecords {
		return Decision{}, protocol.Errorf(protocol.PolicyViolation, "Unable to perform excessively large batch operation.")
	}
	if req.ValidateOnly {
		return Decision{}, nil
	}
	return d, nil
}

// quotaEntity is whom an entry is about, by type; of a type that is named twice the last counts.
func quotaEntity(e *kmsg.AlterClientQuotasRequestEntry) []schema.QuotaEntity {
	parts := map[string]*string{}
	for _, p := range e.Entity {
		var name *string
		if p.Name != nil {
			name = kmsg.StringPtr(strings.Clone(*p.Name))
		}
		parts[strings.Clone(p.Type)] = name
	}
	entity := []schema.QuotaEntity{}
	for _, t := range slices.Sorted(maps.Keys(parts)) {
		entity = append(entity, schema.QuotaEntity{Type: t, Name: parts[t]})
	}
	return entity
}

func quotaResult(entity []schema.QuotaEntity) kmsg.AlterClientQuotasResponseEntry {
	out := kmsg.NewAlterClientQuotasResponseEntry()
	for _, part := range entity {
		out.Entity = append(out.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: part.Type, Name: part.Name})
	}
	return out
}

// quotaEntityText is how Kafka writes an entity.
func quotaEntityText(entity []schema.QuotaEntity) string {
	parts := make([]string, len(entity))
	for i, e := range entity {
		name := "null"
		if e.Name != nil {
			name = *e.Name
		}
		parts[i] = e.Type + "=" + name
	}
	return "ClientQuotaEntity(entries={" + strings.Join(parts, ", ") + "})"
}

func duplicateKey(e *kmsg.AlterClientQuotasRequestEntry) bool {
	for i := range e.Ops {
		if slices.ContainsFunc(e.Ops[:i], func(o kmsg.AlterClientQuotasRequestEntryOp) bool { return o.Key == e.Ops[i].Key }) {
			return true
		}
	}
	return false
}

// alterQuota decides the quotas of one entity.
func alterQuota(v *View, entity []schema.QuotaEntity, ops []kmsg.AlterClientQuotasRequestEntryOp, unknown map[string]bool) ([]schema.MetadataRecord, error) {
	kinds, err := checkQuotaEntity(entity, unknown)
	if err != nil {
		return nil, err
	}
	var current map[string]float64
	if q := v.Image.ClientQuota(entity); q != nil {
		current = q.Values
	}
	var records []schema.MetadataRecord
	for _, op := range ops {
		key := strings.Clone(op.Key)
		before, set := current[key]
		if op.Remove {
			if set {
				records = append(records, &schema.ClientQuotaRecord{Entity: entity, Key: key, Remove: true})
			}
			continue
		}
		if err := checkQuota(kinds, key, op.Value); err != nil {
			return nil, err
		}
		if !set || before != op.Value {
			records = append(records, &schema.ClientQuotaRecord{Entity: entity, Key: key, Value: op.Value})
		}
	}
	return records, nil
}

// checkQuotaEntity returns the quotas that an entity can have.
func checkQuotaEntity(entity []schema.QuotaEntity, unknown map[string]bool) (map[string]quotaKind, error) {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidRequest, format, args...)
	}
	if len(entity) == 0 {
		return nil, invalid("Invalid empty client quota entity")
	}
	ip := (*schema.QuotaEntity)(nil)
	for i, e := range entity {
		switch e.Type {
		case metadata.QuotaUser, metadata.QuotaClientID:
		case metadata.QuotaIP:
			ip = &entity[i]
		default:
			return nil, invalid("Unhandled client quota entity type: %s", e.Type)
		}
		if e.Name != nil && *e.Name == "" {
			return nil, invalid("Empty %s not supported", e.Type)
		}
	}
	switch {
	case ip != nil && len(entity) > 1:
		return nil, invalid("Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId") //nolint:misspell // Kafka's
	case ip != nil && ip.Name != nil && unknown[*ip.Name]:
		return nil, invalid("%s is not a valid IP or resolvable host.", *ip.Name)
	}
	return quotasOf(ip != nil), nil
}

// checkQuota checks the value of one quota.
func checkQuota(kinds map[string]quotaKind, key string, value float64) error {
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidRequest, format, args...)
	}
	kind, known := kinds[key]
	switch {
	case !known:
		return invalid("Invalid configuration key %s", key)
	case value <= 0:
		return invalid("Quota %s must be greater than 0", key)
	case kind == quotaInt && value > math.MaxInt32:
		return invalid("Proposed value for %s is too large for an INT.", key)
	case kind == quotaLong && value > math.MaxInt64:
		return invalid("Proposed value for %s is too large for a LONG.", key)
	case kind != quotaDouble && math.Abs(math.Mod(value, 1)) > 1e-6:
		return invalid("%s cannot be a fractional value.", key)
	}
	return nil
}

// MutationQuota is what one request may change of the metadata (KIP-599). It is used by one goroutine at a time.
type MutationQuota interface {
	// Record counts partitions that are created or deleted; false if there may not be any now, and nothing was counted.
	Record(partitions int) (ok bool)
	// Throttle is how long the client is to be throttled for what was counted or refused.
	Throttle() time.Duration
}

// mutations is the quota of a request; nil if there is none. A strict one refuses what is too much; else the client is only throttled, as in the versions that
// do not know THROTTLING_QUOTA_EXCEEDED.
func (c *Controller) mutations(caller Caller, strict bool) MutationQuota {
	if c.o.Mutations == nil {
		return nil
	}
	return c.o.Mutations(caller, strict)
}

// limited is the view for a request with a quota.
func (v *View) limited(q MutationQuota) *View {
	if q == nil {
		return v
	}
	own := *v
	own.mutations = q
	return &own
}

// charge counts partitions of a topic that a request creates or deletes.
func (v *View) charge(partitions int) error {
	if v.mutations == nil || v.mutations.Record(partitions) {
		return nil
	}
	return protocol.ThrottlingQuotaExceeded
}

// throttled puts a quota's throttle into the response of a request.
func throttled(q MutationQuota, resp kmsg.SetThrottleResponse) func(kmsg.Response, error) (kmsg.Response, error) {
	return func(answer kmsg.Response, err error) (kmsg.Response, error) {
		if q != nil && err == nil {
			resp.SetThrottle(int32(q.Throttle().Milliseconds()))
		}
		return answer, err
	}
}
