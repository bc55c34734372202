package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// rule checks a parsed value; its errors are in Kafka's words.
type rule func(k *Key, v value) error

// ruleFor reads a key's Allowed text, which is written as Kafka prints its validators, into the rule it stands for. A text of
// an unknown form is a mistake in a table and panics when the package is loaded.
func ruleFor(k *Key) rule {
	text := k.Allowed
	if k.Type == List {
		return listRule(text)
	}
	switch text {
	case "":
		return nil
	case "non-empty string":
		return func(k *Key, v value) error {
			if v.text == "" {
				return k.invalid(v.text, "String must be non-empty")
			}
			return nil
		}
	case "non-null string":
		return nil // a value that is set is never null
	case "[1,...,9] or -1":
		return func(k *Key, v value) error {
			if v.n != -1 && (v.n < 1 || v.n > 9) {
				return k.invalid(v.text, "Value must be between 1 and 9 or equal to -1")
			}
			return nil
		}
	case "[latest, earliest, by_duration:PnDTnHnMn.nS]":
		return checkOffsetReset
	}
	if choices, ok := strings.CutPrefix(text, "(case insensitive) "); ok {
		return caseInsensitive(choices)
	}
	inner, ok := brackets(text)
	if !ok {
		panic("config: " + k.Name + ": unknown rule " + text)
	}
	if strings.Contains(inner, "...") {
		return rangeRule(k, inner)
	}
	choices := strings.Split(inner, ", ")
	return func(k *Key, v value) error {
		if !slices.Contains(choices, v.text) {
			return k.invalid(v.text, "String must be one of: "+strings.Join(choices, ", "))
		}
		return nil
	}
}

// brackets returns what stands between [ and ].
func brackets(text string) (string, bool) {
	inner, ok := strings.CutPrefix(text, "[")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(inner, "]")
}

// rangeRule is ConfigDef.Range: "low,..." or "low,...,high", both inclusive.
func rangeRule(k *Key, inner string) rule {
	lowText, highText, _ := strings.Cut(inner, ",...")
	highText = strings.TrimPrefix(highText, ",")
	low, _ := parseValue(k.Type, lowText)
	high, _ := parseValue(k.Type, highText)
	bounded := highText != ""
	less := func(a, b value) bool { return a.n < b.n }
	if k.Type == Double {
		less = func(a, b value) bool { return a.f < b.f }
	}
	return func(k *Key, v value) error {
		if less(v, low) {
			return k.invalid(v.text, "Value must be at least "+lowText)
		}
		if bounded && less(high, v) {
			return k.invalid(v.text, "Value must be no more than "+highText)
		}
		return nil
	}
}

func caseInsensitive(text string) rule {
	inner, _ := brackets(text)
	choices := strings.Split(inner, ", ")
	return func(k *Key, v value) error {
		for _, c := range choices {
			if strings.EqualFold(c, v.text) {
				return nil
			}
		}
		return k.invalid(v.text, "String must be one of (case insensitive): "+strings.Join(choices, ", "))
	}
}

// throttledReplicas is how Kafka prints the rule of the two lists of throttled replicas.
const throttledReplicas = "[partitionId]:[brokerId],[partitionId]:[brokerId],..."

// listRule is the rule of a list: ConfigDef.ValidList, or that of one of the few lists with their own.
func listRule(text string) rule {
	switch text {
	case throttledReplicas:
		return checkThrottledReplicas
	case "{id}@{host}:{port},...":
		return checkVoters
	case "{host}:{port},...":
		return checkHosts
	}
	text, notEmpty := strings.CutPrefix(text, "non-empty list")
	inner, choice := brackets(strings.TrimPrefix(text, " of "))
	var choices []string
	valid := "any non-empty value"
	if choice {
		choices = strings.Split(inner, ", ")
		valid = "[" + inner + "]"
	}
	return func(k *Key, v value) error {
		if notEmpty && len(v.list) == 0 {
			return protocol.Errorf(protocol.InvalidConfig, "Configuration '%s' must not be empty. Valid values include: %s", k.Name, valid)
		}
		for _, item := range v.list {
			if item == "" {
				return protocol.Errorf(protocol.InvalidConfig, "Configuration '%s' values must not be empty.", k.Name)
			}
			if choice && !slices.Contains(choices, item) {
				return k.invalid(item, "String must be one of: "+strings.Join(choices, ", "))
			}
		}
		return nil
	}
}

// checkThrottledReplicas wants nothing, * or items of the form partition:broker.
func checkThrottledReplicas(k *Key, v value) error {
	if len(v.list) == 0 || len(v.list) == 1 && v.list[0] == "*" {
		return nil
	}
	for _, item := range v.list {
		partition, broker, ok := strings.Cut(item, ":")
		if !ok || !digits(partition) || !digits(broker) {
			return k.invalid("["+strings.Join(v.list, ", ")+"]",
				k.Name+" must be the literal '*' or a list of replicas in the following format: "+throttledReplicas)
		}
	}
	return nil
}

// checkVoters wants items of the form id@host:port.
func checkVoters(k *Key, v value) error {
	const form = "Each entry should be in the form `{id}@{host}:{port}`."
	for _, item := range v.list {
		id, address, ok := strings.Cut(item, "@")
		if !ok || strings.Contains(address, "@") {
			return protocol.Errorf(protocol.InvalidConfig, "Invalid configuration value for %s. %s", k.Name, form)
		}
		if _, err := strconv.ParseInt(id, 10, 32); err != nil {
			return protocol.Errorf(protocol.InvalidConfig, "Failed to parse voter ID as an integer from %s", id)
		}
		if !hostPort(address) {
			return protocol.Errorf(protocol.InvalidConfig, "Failed to parse host name from entry %s for the configuration %s. %s", item, k.Name, form)
		}
	}
	return nil
}

// checkHosts wants items of the form host:port.
func checkHosts(k *Key, v value) error {
	for _, item := range v.list {
		if !hostPort(item) {
			return protocol.Errorf(protocol.InvalidConfig,
				"Failed to parse host name from %s for the configuration %s. Each entry should be in the form \"{host}:{port}\"", item, k.Name)
		}
	}
	return nil
}

// hostPort reports whether s is host:port; an IPv6 address may stand in brackets.
func hostPort(s string) bool {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return false
	}
	host := strings.TrimSuffix(strings.TrimPrefix(s[:colon], "["), "]")
	for _, c := range host {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-%._:", c) {
			return false
		}
	}
	_, err := strconv.ParseUint(s[colon+1:], 10, 16)
	return err == nil && host != ""
}

func digits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// checkOffsetReset is the rule of share.auto.offset.reset (KIP-932).
func checkOffsetReset(k *Key, v value) error {
	if v.text == "latest" || v.text == "earliest" {
		return nil
	}
	if d, ok := strings.CutPrefix(v.text, "by_duration:"); ok && isoDuration(d) {
		return nil
	}
	return k.invalid(v.text, "Invalid value `"+v.text+"` for configuration "+k.Name+
		". The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.")
}

// isoDuration reports whether s is a duration of at least zero in the form PnDTnHnMn.nS that java.time.Duration reads.
func isoDuration(s string) bool {
	s = strings.ToUpper(s)
	rest, ok := strings.CutPrefix(s, "P")
	if !ok || rest == "" {
		return false
	}
	days, clock, timed := strings.Cut(rest, "T")
	if timed && clock == "" {
		return false
	}
	parts := 0
	take := func(s *string, unit string, fraction bool) bool {
		i := strings.Index(*s, unit)
		if i < 0 {
			return true
		}
		number := (*s)[:i]
		*s = (*s)[i+1:]
		parts++
		if whole, frac, ok := strings.Cut(number, "."); ok && fraction {
			return digits(whole) && (frac == "" || digits(frac) && len(frac) <= 9)
		}
		return digits(number)
	}
	good := take(&days, "D", false) && days == "" &&
		take(&clock, "H", false) && take(&clock, "M", false) && take(&clock, "S", true) && clock == ""
	return good && parts > 0
}
