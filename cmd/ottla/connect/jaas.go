package connect

import (
	"errors"
	"fmt"
	"strings"
)

// parseJAAS reads the options of a login module: `class required name="value" other=value;`. Names are in lower case in what it returns.
func parseJAAS(text string) (map[string]string, error) {
	rest := strings.TrimSpace(text)
	if rest == "" {
		return nil, errors.New("sasl.jaas.config is not set: it names the user, for example\n" +
			`sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="secret";`)
	}
	if !strings.HasSuffix(rest, ";") {
		return nil, errors.New("sasl.jaas.config must end with a semicolon")
	}
	rest = strings.TrimSuffix(rest, ";")
	_, rest, _ = strings.Cut(rest, " ")                         // the module's class
	_, rest, found := strings.Cut(strings.TrimSpace(rest), " ") // required, sufficient and the like
	values := map[string]string{}
	for found {
		if rest = strings.TrimSpace(rest); rest == "" {
			break
		}
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("sasl.jaas.config: %q is not name=\"value\"", rest)
		}
		value, left, err := jaasValue(strings.TrimSpace(after))
		if err != nil {
			return nil, err
		}
		values[strings.ToLower(strings.TrimSpace(name))], rest = value, left
	}
	return values, nil
}

// jaasValue cuts one value, in quotes or up to white space.
func jaasValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, " ")
		return value, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], nil
		case text[i] == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errors.New("sasl.jaas.config: a quote is not closed")
}
