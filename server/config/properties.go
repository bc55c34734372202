package config

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// property is one key and its value as a .properties file gives them.
type property struct {
	key, value string
	line       int // of the key, from 1
}

// errUnicodeEscape is the only mistake that the .properties format knows.
var errUnicodeEscape = errors.New(`malformed \uxxxx encoding`)

// parseProperties reads the .properties format as java.util.Properties does: # and ! start comment lines; the key ends at the
// first =, : or white space that is not escaped; a backslash at the end of a line continues it on the next one; \t \n \r \f
// and \uXXXX are characters, any other escaped character stands for itself. A key that comes twice is returned twice. Java
// reads the bytes as ISO 8859-1; content that is valid UTF-8 is read as that. Nothing like ${name} is expanded.
//
// On a mistake the properties before it are returned with the error, and line is where it is.
func parseProperties(content []byte) (all []property, line int, err error) {
	lines := lineReader{rest: decodeText(content), next: 1}
	for {
		text, at, ok := lines.read()
		if !ok {
			return all, 0, nil
		}
		keyEnd, valueStart := splitProperty(text)
		key, err := unescape(text[:keyEnd])
		if err != nil {
			return all, at, err
		}
		value, err := unescape(text[valueStart:])
		if err != nil {
			return all, at, err
		}
		all = append(all, property{key, value, at})
	}
}

// decodeText returns content as text, see parseProperties.
func decodeText(content []byte) string {
	if utf8.Valid(content) {
		return string(content)
	}
	runes := make([]rune, len(content))
	for i, b := range content {
		runes[i] = rune(b)
	}
	return string(runes)
}

// lineReader cuts text into logical lines: comments and blank lines are skipped, continued lines joined.
type lineReader struct {
	rest string
	next int // number of the line at which rest starts
}

// read returns the next logical line and where it starts; ok is false at the end.
func (r *lineReader) read() (text string, at int, ok bool) {
	var b strings.Builder
	continued := false
	for r.rest != "" {
		number := r.next
		natural := strings.TrimLeft(r.natural(), blanks)
		if b.Len() == 0 && natural != "" && (natural[0] == '#' || natural[0] == '!') {
			continued = false
			continue
		}
		if b.Len() == 0 && natural == "" && !continued {
			continue
		}
		if at == 0 {
			at = number
		}
		continued = odd(natural)
		b.WriteString(strings.TrimSuffix(natural, `\`[:count(continued)]))
		if !continued && b.Len() > 0 {
			return b.String(), at, true
		}
	}
	return b.String(), at, b.Len() > 0 || continued // a backslash as the very last character is an empty property
}

// blanks is the white space within a line.
const blanks = " \t\f"

// natural takes one line of the text, without its end.
func (r *lineReader) natural() string {
	r.next++
	i := strings.IndexAny(r.rest, "\r\n")
	if i < 0 {
		line := r.rest
		r.rest = ""
		return line
	}
	line := r.rest[:i]
	if strings.HasPrefix(r.rest[i:], "\r\n") {
		i++
	}
	r.rest = r.rest[i+1:]
	return line
}

// odd reports whether an odd number of backslashes ends the line.
func odd(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// splitProperty finds the end of the key and the start of the value.
func splitProperty(line string) (keyEnd, valueStart int) {
	escaped := false
	for keyEnd < len(line) {
		c := line[keyEnd]
		if !escaped && (c == '=' || c == ':' || strings.IndexByte(blanks, c) >= 0) {
			break
		}
		escaped = c == '\\' && !escaped
		keyEnd++
	}
	rest := strings.TrimLeft(line[keyEnd:], blanks)
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], blanks)
	}
	return keyEnd, len(line) - len(rest)
}

// unescape replaces the escapes of a key or value.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			r, n, err := unicodeEscape(s[i+1:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += n
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// unicodeEscape reads what follows \u: four digits, and with a second escape a surrogate pair. n is what was read.
func unicodeEscape(s string) (r rune, n int, err error) {
	first, err := hexDigits(s)
	if err != nil {
		return 0, 0, err
	}
	if utf16.IsSurrogate(first) && strings.HasPrefix(s[4:], `\u`) {
		if second, err := hexDigits(s[6:]); err == nil {
			if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
				return pair, 10, nil
			}
		}
	}
	return first, 4, nil
}

func hexDigits(s string) (rune, error) {
	if len(s) < 4 || strings.ContainsAny(s[:4], "_+-") {
		return 0, errUnicodeEscape
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	if err != nil {
		return 0, errUnicodeEscape
	}
	return rune(n), nil
}
