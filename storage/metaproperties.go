package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// metaPropertiesName is the file that says whose log dir it is in.
const metaPropertiesName = "meta.properties"

// metaProperties is the content of meta.properties. Version 0, of brokers that used ZooKeeper, is read; only version 1 is written.
type metaProperties struct {
	version     int
	clusterID   string // "" none (only version 0)
	nodeID      int32
	directoryID protocol.UUID // zero: none yet
}

// parseMetaProperties reads the file's text.
func parseMetaProperties(data []byte) (metaProperties, error) {
	p, err := parseProperties(string(data))
	if err != nil {
		return metaProperties{}, err
	}
	var m metaProperties
	number := func(key string) (int64, error) {
		v, ok := p[key]
		if !ok {
			return 0, fmt.Errorf("%s not found", key)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
		if err != nil {
			return 0, fmt.Errorf("unable to read %s as a base-10 number: %q", key, v)
		}
		return n, nil
	}
	version, err := number("version")
	if err != nil {
		return m, err
	}
	nodeKey := "node.id"
	switch version {
	case 0:
		nodeKey = "broker.id"
	case 1:
	default:
		return m, fmt.Errorf("unknown version %d", version)
	}
	m.version, m.clusterID = int(version), p["cluster.id"]
	if version == 1 && m.clusterID == "" {
		return m, errors.New("cluster.id not found")
	}
	node, err := number(nodeKey)
	if err != nil {
		return m, err
	}
	m.nodeID = int32(node)
	if text, ok := p["directory.id"]; ok {
		if m.directoryID, err = protocol.ParseUUID(text); err != nil {
			return m, fmt.Errorf("unable to read directory.id: %w", err)
		}
	}
	return m, nil
}

// format writes version 1 as Java's Properties.store does, with now as the time of writing.
func (m metaProperties) format(now time.Time) []byte {
	b := append([]byte("#\n#"), now.Format("Mon Jan 02 15:04:05 MST 2006")...)
	b = append(b, '\n')
	for _, kv := range [][2]string{
		{"node.id", strconv.Itoa(int(m.nodeID))}, {"directory.id", m.directoryID.String()}, {"version", "1"}, {"cluster.id", m.clusterID},
	} {
		b = append(append(b, kv[0]...), '=')
		b = append(appendPropertyValue(b, kv[1]), '\n')
	}
	return b
}

// readMetaProperties reads dir's meta.properties; ok is false if there is none.
func readMetaProperties(fsys vfs.FS, dir string) (m metaProperties, ok bool, err error) {
	path := filepath.Join(dir, metaPropertiesName)
	data, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	if m, err = parseMetaProperties(data); err != nil {
		return m, false, fmt.Errorf("%w %s: %w", errUnusable, path, err)
	}
	return m, true, nil
}

// errUnusable marks a log dir whose content, not its disk, is at fault: the broker does not start with it.
var errUnusable = errors.New("unusable")

func writeMetaProperties(fsys vfs.FS, dir string, m metaProperties) error {
	return replaceFile(fsys, filepath.Join(dir, metaPropertiesName), m.format(time.Now().UTC()))
}

// parseProperties reads the text form of java.util.Properties.
func parseProperties(text string) (map[string]string, error) {
	p := map[string]string{}
	for text != "" {
		var line string
		line, text = nextPropertyLine(text)
		line = strings.TrimLeft(line, " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		end := propertyKeyEnd(line)
		key, err := unescapeProperty(line[:end])
		if err != nil {
			return nil, err
		}
		rest := strings.TrimLeft(line[end:], " \t\f")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t\f")
		}
		value, err := unescapeProperty(rest)
		if err != nil {
			return nil, err
		}
		p[key] = value
	}
	return p, nil
}

// nextPropertyLine cuts the first logical line off: one that ends in an odd number of backslashes goes on with the next, unless it is a comment.
func nextPropertyLine(text string) (line, rest string) {
	for {
		end := strings.IndexAny(text, "\r\n")
		if end < 0 {
			return line + text, ""
		}
		part := text[:end]
		skip := 1
		if strings.HasPrefix(text[end:], "\r\n") {
			skip = 2
		}
		text = text[end+skip:]
		if line != "" {
			part = strings.TrimLeft(part, " \t\f")
		}
		line += part
		first := strings.TrimLeft(line, " \t\f")
		comment := first != "" && (first[0] == '#' || first[0] == '!')
		if comment || (len(line)-len(strings.TrimRight(line, `\`)))%2 == 0 {
			return line, text
		}
		line = line[:len(line)-1]
	}
}

func propertyKeyEnd(line string) int {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '=', ':', ' ', '\t', '\f':
			return i
		}
	}
	return len(line)
}

func unescapeProperty(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' {
			b.WriteRune(rune(c)) // the file is ISO 8859-1
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch c = s[i]; c {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			r, n, err := unescapeUnicode(s[i-1:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += n - 2
		default:
			b.WriteRune(rune(c))
		}
	}
	return b.String(), nil
}

// unescapeUnicode reads \uXXXX, or two of them that are a surrogate pair, at the start of s and returns the bytes it took.
func unescapeUnicode(s string) (rune, int, error) {
	unit := func(s string) (rune, bool) {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(s[2:6], 16, 16)
		return rune(n), err == nil
	}
	r, ok := unit(s)
	if !ok {
		return 0, 0, fmt.Errorf("malformed \\uxxxx encoding in %.20q", s)
	}
	if utf16.IsSurrogate(r) {
		if low, ok := unit(s[6:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != '\uFFFD' {
				return pair, 12, nil
			}
		}
	}
	return r, 6, nil
}

// appendPropertyValue escapes a value as Properties.store does.
func appendPropertyValue(b []byte, value string) []byte {
	for i, r := range value {
		switch {
		case r == ' ' && i == 0, r == '=', r == ':', r == '#', r == '!', r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r < 0x20 || r > 0x7e:
			for _, u := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, `\u%04X`, u)
			}
		default:
			b = append(b, byte(r))
		}
	}
	return b
}
