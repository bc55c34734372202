package logdump

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// line is what is known of one thing in a file, in order.
type line struct {
	indent string // of the text form
	fields []field
}

type field struct {
	name  string
	value any
}

func (l *line) set(name string, value any) { l.fields = append(l.fields, field{name, value}) }

// write writes l as `name: value name: value`, or as a JSON object.
func (l *line) write(out *bufio.Writer, asJSON bool) error {
	if !asJSON {
		parts := make([]string, len(l.fields))
		for i, f := range l.fields {
			parts[i] = f.name + ": " + textOf(f.value)
		}
		_, err := out.WriteString(l.indent + strings.Join(parts, " ") + "\n")
		return err
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range l.fields {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return err
		}
		value := f.value
		if raw, ok := value.([]byte); ok {
			value = bytesText(raw)
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			return err
		}
		b.Write(append(append(name, ':'), encoded...))
	}
	b.WriteString("}\n")
	_, err := out.Write(b.Bytes())
	return err
}

func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		text := bytesText(v)
		if text == nil {
			return "null"
		}
		return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(fmt.Sprint(text))
	case map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// bytesText is bytes as text, in base64 where they are none; nil for null.
func bytesText(b []byte) any {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return string(b)
	}
	return "base64:" + base64.StdEncoding.EncodeToString(b)
}
