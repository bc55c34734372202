package config

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// hidden is what Kafka prints instead of a password.
const hidden = "[hidden]"

// value is one parsed value. Which fields are set follows from the key's type.
type value struct {
	text string // as Kafka prints it
	null bool
	b    bool
	n    int64
	f    float64
	list []string // never nil for a List that is not null
}

// parseValue reads text as Kafka's ConfigDef.parseType does. problem is "" for a good value.
func parseValue(t Type, text string) (v value, problem string) {
	trimmed := trimJava(text)
	switch t {
	case Boolean:
		switch {
		case strings.EqualFold(trimmed, "true"):
			return value{text: "true", b: true}, ""
		case strings.EqualFold(trimmed, "false"):
			return value{text: "false"}, ""
		}
		return value{}, "Expected value to be either true or false"
	case Short:
		return parseInteger(trimmed, 16, "SHORT")
	case Int:
		return parseInteger(trimmed, 32, "INT")
	case Long:
		return parseInteger(trimmed, 64, "LONG")
	case Double:
		f, ok := parseDouble(trimmed)
		if !ok {
			return value{}, "Not a number of type DOUBLE"
		}
		return value{text: formatDouble(f), f: f, n: int64(clampFloat(f))}, ""
	case List:
		list := splitList(trimmed)
		return value{text: strings.Join(list, ","), list: list}, ""
	default:
		return value{text: trimmed}, ""
	}
}

func parseInteger(trimmed string, bits int, name string) (value, string) {
	n, err := strconv.ParseInt(trimmed, 10, bits)
	if err != nil {
		return value{}, "Not a number of type " + name
	}
	return value{text: strconv.FormatInt(n, 10), n: n, f: float64(n)}, ""
}

// trimJava is String.trim: everything up to U+0020 at both ends.
func trimJava(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

// splitList splits at commas with the white space around them; the empty text is the empty list, and "a,,b" has an empty item.
func splitList(trimmed string) []string {
	if trimmed == "" {
		return []string{}
	}
	items := strings.Split(trimmed, ",")
	for i, item := range items {
		items[i] = trimJava(item)
	}
	return items
}

// parseDouble is Double.parseDouble without its hexadecimal form.
func parseDouble(s string) (float64, bool) {
	unsigned := strings.TrimLeft(s, "+-")
	if len(s)-len(unsigned) > 1 {
		return 0, false
	}
	if unsigned != "NaN" && unsigned != "Infinity" {
		s = strings.TrimRight(s, "dDfF")
		if len(unsigned)-len(strings.TrimLeft(s, "+-")) > 1 || strings.Trim(s, "0123456789.eE+-") != "" {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) { // Java takes 1e999 as infinity
		return 0, false
	}
	return f, true
}

// formatDouble is Double.toString: the shortest digits that read back, in scientific form outside [1e-3, 1e7).
func formatDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	sign := ""
	if strings.HasPrefix(exponent, "-") {
		sign = "-"
	}
	return mantissa + "E" + sign + strings.TrimLeft(exponent, "+-0")
}

// clampFloat makes f safe to convert to an int64.
func clampFloat(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return max(min(f, math.MaxInt64-1024), math.MinInt64)
}

// EditList adds items, separated by commas, to the text of a list that does not have them, or takes them out.
func EditList(list, items string, take bool) string {
	all := slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
	for item := range strings.SplitSeq(items, ",") {
		i := slices.Index(all, item)
		switch {
		case !take && i < 0:
			all = append(all, item)
		case take && i >= 0:
			all = slices.Delete(all, i, i+1)
		}
	}
	return strings.Join(all, ",")
}
