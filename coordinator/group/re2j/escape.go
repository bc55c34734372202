package re2j

import (
	"strings"
	"unicode/utf8"
)

// backslash scans an escape outside of brackets.
func (s *scanner) backslash() error {
	if len(s.rest) > 1 {
		switch s.rest[1] {
		case 'A', 'b', 'B', 'z':
			s.atom(2)
			return nil
		case 'C':
			return errEscape
		case 'Q':
			quoted, after, ended := strings.Cut(s.rest[2:], `\E`)
			if quoted != "" {
				s.operand = true
			}
			s.take(2 + len(quoted))
			if s.out.WriteString(`\E`); ended {
				s.rest = after
			}
			return nil
		}
	}
	s.operand = true
	if set, err := s.set(); set || err != nil {
		return err
	}
	_, err := s.escape()
	return err
}

// set scans an escape that stands for many characters: \d and its like, \p and \P. It is false if there is another one.
func (s *scanner) set() (bool, error) {
	if len(s.rest) < 2 || s.rest[0] != '\\' {
		return false, nil
	}
	switch s.rest[1] {
	case 'd', 'D', 's', 'S', 'w', 'W':
		s.take(2)
		return true, nil
	case 'p', 'P':
		return true, s.unicodeGroup()
	default:
		return false, nil
	}
}

// unicodeGroup scans \pN or \p{Name}.
func (s *scanner) unicodeGroup() error {
	name := s.rest[2:]
	if name == "" {
		return errCharClass
	}
	n := runeLen(name)
	if name[0] == '{' {
		end := strings.IndexByte(name, '}')
		if end < 0 {
			return errCharClass
		}
		name, n = name[1:end], end+1
	} else {
		name = name[:n]
	}
	bare := strings.TrimPrefix(name, "^")
	if !isGroup(bare) {
		return errCharClass
	}
	if strings.Contains(bare, "_") { // Go 1.26 does not find these scripts; none has a character that a topic's name could have
		s.out.WriteString(s.rest[:2] + strings.Replace("{"+name+"}", bare, "Runic", 1))
		s.rest = s.rest[2+n:]
		return nil
	}
	s.take(2 + n)
	return nil
}

// escape scans an escape that stands for one character, which it returns.
func (s *scanner) escape() (rune, error) {
	text := s.rest[1:]
	if text == "" {
		return 0, errBackslash
	}
	c, n := utf8.DecodeRuneInString(text)
	if !isAlnum(c) {
		if c >= utf8.RuneSelf { // Go knows no escapes of these
			s.rest = text
			s.take(n)
		} else {
			s.take(1 + n)
		}
		return c, nil
	}
	value, n := charValue(text)
	if n == 0 {
		return 0, errEscape
	}
	s.take(1 + n)
	return value, nil
}

// charValue reads what follows a backslash where that is a letter or digit; n is 0 if that is no escape.
func charValue(s string) (value rune, n int) {
	switch c := s[0]; {
	case c == 'x':
		return hexValue(s)
	case c == '0', c >= '1' && c <= '7' && len(s) > 1 && isOctal(s[1]):
		for n < min(3, len(s)) && isOctal(s[n]) {
			value = value*8 + rune(s[n]-'0')
			n++
		}
		return value, n
	default:
		if i := strings.IndexByte("afnrtv", c); i >= 0 {
			return rune("\a\f\n\r\t\v"[i]), 1
		}
		return 0, 0
	}
}

// hexValue reads x and two digits, or x and digits in braces.
func hexValue(s string) (value rune, n int) {
	if !strings.HasPrefix(s, "x{") {
		if len(s) < 3 || unhex(s[1]) < 0 || unhex(s[2]) < 0 {
			return 0, 0
		}
		return unhex(s[1])<<4 | unhex(s[2]), 3
	}
	for n = 2; n < len(s) && s[n] != '}'; n++ {
		digit := unhex(s[n])
		if value = value<<4 | digit; digit < 0 || value > utf8.MaxRune {
			return 0, 0
		}
	}
	if n == 2 || n == len(s) {
		return 0, 0
	}
	return value, n + 1
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	default:
		return -1
	}
}
