package kafkatools

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

// quotaTypes are how the quota requests call the entity types.
var quotaTypes = map[string]string{"users": "user", "clients": "client-id", "ips": "ip"}

// mechanisms are the SCRAM mechanisms that a user may have credentials for.
var mechanisms = map[string]kadm.ScramMechanism{"SCRAM-SHA-256": kadm.ScramSha256, "SCRAM-SHA-512": kadm.ScramSha512}

const (
	fewestIterations  = 4096
	defaultIterations = 4096
)

func alterQuotas(c *call, entities []entity) error {
	add, err := c.additions()
	if err != nil {
		return err
	}
	var quotas []setting
	var credentials []setting
	for _, s := range add {
		if _, scram := mechanisms[s.key]; scram {
			credentials = append(credentials, s)
		} else {
			quotas = append(quotas, s)
		}
	}
	var quotaKeys, credentialKeys []string
	for _, k := range c.removals() {
		if _, scram := mechanisms[k]; scram {
			credentialKeys = append(credentialKeys, k)
		} else {
			quotaKeys = append(quotaKeys, k)
		}
	}
	if len(credentials)+len(credentialKeys) > 0 {
		if err := alterCredentials(c, entities, credentials, credentialKeys); err != nil {
			return err
		}
	}
	if len(quotas)+len(quotaKeys) > 0 {
		if err := changeQuotas(c, entities, quotas, quotaKeys); err != nil {
			return err
		}
	}
	c.updated(entities[0])
	return nil
}

func changeQuotas(c *call, entities []entity, add []setting, remove []string) error {
	if _, err := c.quotasOf(entities, true); err != nil { // Kafka's tool looks first, too: a broker without quotas is told by the same name
		return err
	}
	r := kmsg.NewPtrAlterClientQuotasRequest()
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	for _, e := range entities {
		part := kmsg.NewAlterClientQuotasRequestEntryEntity()
		part.Type = quotaTypes[e.kind]
		if e.name != "" {
			part.Name = &e.name
		}
		entry.Entity = append(entry.Entity, part)
	}
	for _, s := range add {
		v, err := strconv.ParseFloat(s.value, 64)
		if err != nil {
			return plainf("Cannot parse quota configuration value for %s: %s", s.key, s.value)
		}
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value = s.key, v
		entry.Ops = append(entry.Ops, op)
	}
	for _, k := range remove {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Remove = k, true
		entry.Ops = append(entry.Ops, op)
	}
	r.Entries = append(r.Entries, entry)
	response, err := request(c, r)
	if err != nil {
		return err
	}
	for _, got := range response.Entries {
		if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

var credentialValue = regexp.MustCompile(`^(?:iterations=(-?[0-9]*),)?password=(.*)$`)

func alterCredentials(c *call, entities []entity, add []setting, remove []string) error {
	if len(entities) != 1 || entities[0].kind != "users" || entities[0].name == "" {
		return plainf("Only quota configs can be added for '%s' using --bootstrap-server. Unexpected config names: SCRAM credentials", entities[0].kind)
	}
	user := entities[0].name
	var upserts []kadm.UpsertSCRAM
	for _, s := range add {
		m := credentialValue.FindStringSubmatch(s.value)
		if m == nil {
			return plainf("Invalid credential property %s=%s", s.key, s.value)
		}
		iterations := defaultIterations
		if m[1] != "" {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return plainf("Invalid credential property %s=%s", s.key, s.value)
			}
			iterations = n
		}
		if iterations != -1 && iterations < fewestIterations {
			return plainf("Iterations %d is less than the minimum %d required for %s", iterations, fewestIterations, s.key)
		}
		upserts = append(upserts, kadm.UpsertSCRAM{User: user, Mechanism: mechanisms[s.key], Iterations: int32(max(iterations, fewestIterations)), Password: m[2]})
	}
	var deletes []kadm.DeleteSCRAM
	for _, k := range remove {
		deletes = append(deletes, kadm.DeleteSCRAM{User: user, Mechanism: mechanisms[k]})
	}
	results, err := kadm.NewClient(c.client).AlterUserSCRAMs(c.ctx, deletes, upserts)
	if err != nil {
		return unsupported(connect.Translate(err), "AlterUserScramCredentials")
	}
	for _, got := range results {
		if got.Err != nil {
			if got.ErrMessage != "" {
				err := connect.Translate(got.Err)
				var refused *connect.Refusal
				if errors.As(err, &refused) {
					refused.Message = got.ErrMessage
				}
				return err
			}
			return connect.Translate(got.Err)
		}
	}
	return nil
}

// quotasOf are the quotas that entities select; strict leaves out those of more than the named entities.
func (c *call) quotasOf(entities []entity, strict bool) (*kmsg.DescribeClientQuotasResponse, error) {
	r := kmsg.NewPtrDescribeClientQuotasRequest()
	r.Strict = strict
	for _, e := range entities {
		part := kmsg.NewDescribeClientQuotasRequestComponent()
		part.EntityType, part.MatchType = quotaTypes[e.kind], 2
		if e.named {
			part.MatchType = 1
			if e.name != "" {
				part.MatchType, part.Match = 0, &e.name
			}
		}
		r.Components = append(r.Components, part)
	}
	response, err := request(c, r)
	if err == nil {
		err = connect.Check(response.ErrorCode, response.ErrorMessage)
	}
	return response, err
}

func describeQuotas(c *call, entities []entity) error {
	response, err := c.quotasOf(entities, false)
	if err != nil {
		return err
	}
	for _, entry := range response.Entries {
		var values []string
		for _, v := range entry.Values {
			values = append(values, v.Key+"="+javaDouble(v.Value))
		}
		slices.Sort(values)
		c.printf("Quota configs for %s are %s\n", entityText(entry.Entity), strings.Join(values, ", "))
	}
	if len(entities) == 1 && entities[0].kind == "users" {
		return describeCredentials(c, entities[0])
	}
	return nil
}

// entityText names what a quota is of.
func entityText(parts []kmsg.DescribeClientQuotasResponseEntryEntity) string {
	var all []string
	for _, kind := range []string{"user", "client-id", "ip"} {
		for _, p := range parts {
			if p.Type != kind {
				continue
			}
			name := kind
			if kind == "user" {
				name = "user-principal"
			}
			if p.Name == nil {
				all = append(all, "the default "+name)
			} else {
				all = append(all, fmt.Sprintf("%s '%s'", name, *p.Name))
			}
		}
	}
	return strings.Join(all, ", ")
}

func describeCredentials(c *call, e entity) error {
	if e.named && e.name == "" {
		return nil
	}
	var users []string
	if e.named {
		users = []string{e.name}
	}
	found, err := kadm.NewClient(c.client).DescribeUserSCRAMs(c.ctx, users...)
	if err != nil {
		return unsupported(connect.Translate(err), "DescribeUserScramCredentials")
	}
	for _, u := range found.Sorted() {
		if u.Err != nil {
			continue // a user without credentials
		}
		var all []string
		for _, info := range u.CredInfos {
			all = append(all, fmt.Sprintf("%s=iterations=%d", info.Mechanism, info.Iterations))
		}
		slices.SortFunc(all, cmp.Compare)
		c.printf("SCRAM credential configs for user-principal '%s' are %s\n", u.User, strings.Join(all, ", "))
	}
	return nil
}

// javaDouble is a number as java.lang.Double.toString has it.
func javaDouble(v float64) string {
	a := max(v, -v)
	if a != 0 && (a >= 1e7 || a < 1e-3) {
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
		n, err := strconv.Atoi(exponent)
		if err != nil {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		return mantissa + "E" + strconv.Itoa(n)
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
