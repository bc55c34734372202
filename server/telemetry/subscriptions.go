package telemetry

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/replication/metadata"
)

// allMetrics is how a subscription asks for all metrics.
const allMetrics = "*"

// unknownSoftware is what a client is taken for that does not say what it is.
const unknownSoftware = "unknown"

// Client is what is known of who sends a request.
type Client struct {
	ID                            *string // nil: the client sent null
	SoftwareName, SoftwareVersion string  // "" if unknown
	Address                       netip.AddrPort
}

// attributes are a client's by the names that a subscription's match key knows.
func (c *Client) attributes(id protocol.UUID) map[string]string {
	all := map[string]string{
		"client_instance_id":      id.String(),
		"client_software_name":    strings.Clone(cmp.Or(c.SoftwareName, unknownSoftware)),
		"client_software_version": strings.Clone(cmp.Or(c.SoftwareVersion, unknownSoftware)),
		"client_source_address":   javaAddress(c.Address.Addr()),
		"client_source_port":      strconv.Itoa(int(c.Address.Port())),
	}
	if c.ID != nil {
		all["client_id"] = strings.Clone(*c.ID)
	}
	return all
}

// javaAddress is how Java writes an address: as Go does, but without :: in those of version 6. Patterns are written for that.
func javaAddress(a netip.Addr) string {
	a = a.Unmap()
	if !a.Is6() {
		return a.String()
	}
	raw := a.As16()
	groups := make([]string, 0, 8)
	for at := 0; at < len(raw); at += 2 {
		groups = append(groups, strconv.FormatUint(uint64(binary.BigEndian.Uint16(raw[at:])), 16))
	}
	text := strings.Join(groups, ":")
	if a.Zone() != "" {
		text += "%" + a.Zone()
	}
	return text
}

// subscription is one client metrics resource of the metadata.
type subscription struct {
	metrics  []string
	interval time.Duration
	match    map[string]*regexp.Regexp // by attribute; all have to match
}

// matches reports whether the subscription is for a client with these attributes.
func (s *subscription) matches(attributes map[string]string) bool {
	for name, pattern := range s.match {
		value, known := attributes[name]
		if !known || !pattern.MatchString(value) {
			return false
		}
	}
	return true
}

// subscriptions are those of an image, in the order of their names. They are immutable.
type subscriptions []subscription

// subscriptionsOf reads the client metrics resources of an image; values are a broker's. One that cannot be read, which the controller lets nobody make, is left out.
func subscriptionsOf(image *metadata.Image, values config.Values) subscriptions {
	var all subscriptions
	for _, name := range image.ConfigResources(config.ClientMetrics) {
		v := values.ClientMetrics(image.Config(config.ClientMetrics, name))
		match, err := config.ClientMatch(v.List("match"))
		if err != nil {
			continue
		}
		all = append(all, subscription{metrics: v.List("metrics"), interval: v.Duration("interval.ms"), match: match})
	}
	return all
}

// wanted is what a client is asked for: the names, or prefixes of names, of metrics, and how often.
type wanted struct {
	id       int32
	metrics  []string
	interval time.Duration
}

// of returns what is wanted of a client: all that any subscription that matches wants, as often as the most eager of them wants, at least every usual interval.
func (all subscriptions) of(id protocol.UUID, attributes map[string]string, usual time.Duration) wanted {
	w := wanted{metrics: []string{}, interval: usual}
	for i := range all {
		if s := &all[i]; s.matches(attributes) {
			w.metrics = append(w.metrics, s.metrics...)
			w.interval = min(w.interval, s.interval)
		}
	}
	slices.Sort(w.metrics)
	w.metrics = slices.Compact(w.metrics)
	if slices.Contains(w.metrics, allMetrics) {
		w.metrics = []string{allMetrics}
	}
	text := fmt.Sprintf("[%s]%d", strings.Join(w.metrics, ", "), w.interval.Milliseconds())
	w.id = int32(crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))) ^ javaHash(id)
	return w
}

// javaHash is the hashCode of Kafka's Uuid.
func javaHash(id protocol.UUID) int32 {
	x := binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])
	return int32(x>>32) ^ int32(x)
}
