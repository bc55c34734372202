package protocol

import (
	"errors"
	"strings"
)

// Sizes in bytes that CheckBody assumes of decoded values, rounded up from what kmsg's types take.
const (
	memNumber  = 8
	memUUID    = 16
	memString  = 16
	memBytes   = 24 // or an array
	memTags    = 8  // the place for unknown tags in each struct
	memPointer = 8

	memText     = 32  // of a string with text, or of a pointer to one, besides the text
	memArray    = 64  // of an array with elements, besides them
	memTagTable = 512 // of the unknown tags of one struct
	memTag      = 128 // of one unknown tag, which is kept as a part of the frame
	memRequest  = 512

	// allocators round sizes up, by at most an eighth
	memRounding = 8
)

var (
	errBodyShort  = errors.New("the request body ends early")
	errBodyLayout = errors.New("no such request")
)

// CheckBody walks over the body of a request before it is decoded. It returns an upper bound of the memory in bytes that decoding
// it with kmsg allocates, besides the body itself, or InvalidRequest if a count, a length or a tag says more than there are bytes for;
// UnsupportedVersion if there is no such key.
//
// Both are needed, as a decoder takes counts on trust. An array's count may be as large as the number of bytes that follow, so that before any
// element is seen kmsg has allocated 50 to 80 times the frame's size (ProduceRequestTopic is 64 bytes, its smallest encoding 3;
// CreateTopicsRequestTopic 104). A count of unknown tags is not compared with anything: 5 bytes keep it busy for minutes. What passes here
// has its elements in the body. Then kmsg was measured to allocate, for each byte of the body, at most 24 bytes in arrays of small structs and 96
// in arrays of structs with one unknown tag each (both Metadata), and next to nothing for records. The bound is a little above these.
// It allocates nothing itself. It takes null for an empty string everywhere, and passes over what follows the body, as Kafka does.
func CheckBody(key, version int16, body []byte) (memory int64, err error) {
	l, ok := layouts[key]
	if !ok {
		return 0, Errorf(UnsupportedVersion, "%w: key %d", errBodyLayout, key)
	}
	w := bodyWalk{r: reader{b: body}, layout: l.fields, version: version, flexible: version >= l.flexible}
	w.memory = memRequest + w.size(0)
	w.structure(0)
	if w.r.failed {
		return 0, Errorf(InvalidRequest, "%w", errBodyShort)
	}
	return w.memory, nil
}

// nullStruct is the byte before a struct that is null (-1).
const nullStruct = 0xff

// bodyWalk is a walk over a body and, at the same time, over its layout.
type bodyWalk struct {
	r        reader
	layout   string
	version  int16
	flexible bool
	memory   int64
}

// token is one field of a layout.
type token struct {
	tag      int // -1: not tagged
	from, to int16
	kind     byte
	inner    int // where the layout of an element or struct begins
	next     int // where the next field begins, or the end of the struct
}

// token reads the field of the layout at position at; ok is false at the end of a struct.
func (w *bodyWalk) token(at int) (t token, ok bool) {
	s := w.layout
	for at < len(s) && s[at] == ' ' {
		at++
	}
	if at == len(s) || s[at] == ']' || s[at] == ')' {
		return t, false
	}
	t = token{tag: -1, to: never}
	if s[at] == '#' {
		t.tag, at = number(s, at+1)
		at++ // the comma
	}
	if c := s[at]; '0' <= c && c <= '9' {
		var n int
		n, at = number(s, at)
		t.from = int16(n)
		if s[at] == '-' {
			n, at = number(s, at+1)
			t.to = int16(n)
		} else {
			at++ // the plus
		}
	}
	t.kind, t.next = s[at], at+1
	switch t.kind {
	case '<':
		t.inner, t.next = at+1, at+3
	case '?':
		t.inner, t.next = at+2, closing(s, at+2)
	case '[', '(':
		t.inner, t.next = at+1, closing(s, at+1)
	}
	return t, true
}

func number(s string, at int) (n, next int) {
	for ; '0' <= s[at] && s[at] <= '9'; at++ {
		n = 10*n + int(s[at]-'0')
	}
	return n, at
}

// closing returns the position behind the bracket that closes the struct that begins at at.
func closing(s string, at int) int {
	for depth := 1; depth > 0; at++ {
		switch s[at] {
		case '[', '(':
			depth++
		case ']', ')':
			depth--
		}
	}
	return at
}

func (w *bodyWalk) has(t token) bool { return t.from <= w.version && w.version <= t.to }

// structure walks over a struct whose layout begins at at.
func (w *bodyWalk) structure(at int) {
	for next := at; !w.r.failed; {
		t, ok := w.token(next)
		if !ok {
			break
		}
		next = t.next
		if t.tag < 0 && w.has(t) {
			w.field(t)
		}
	}
	if w.flexible {
		w.tags(at)
	}
}

func (w *bodyWalk) field(t token) {
	switch t.kind {
	case '[':
		for range w.count(w.size(t.inner)) {
			w.structure(t.inner)
			if w.r.failed {
				return
			}
		}
	case '<':
		w.values(w.layout[t.inner])
	case '(':
		w.structure(t.inner)
	case '?':
		if marker := w.r.take(1); marker != nil && marker[0] != nullStruct {
			w.memory += memArray + w.size(t.inner)
			w.structure(t.inner)
		}
	default:
		w.value(t.kind)
	}
}

func (w *bodyWalk) value(kind byte) {
	switch kind {
	case 's':
		n := w.length(2)
		w.r.take(n)
		if n > 0 {
			w.memory += memText + int64(n) + int64(n)/memRounding
		} else {
			w.memory += memText // it may be a pointer to an empty string
		}
	case 'y':
		w.r.take(w.length(4))
	default:
		w.r.take(numberSize(kind))
	}
}

func numberSize(kind byte) int { return 1 << strings.IndexByte("bhilu", kind) }

// values walks over an array of numbers or strings.
func (w *bodyWalk) values(kind byte) {
	n := w.count(valueMemory(kind))
	if strings.IndexByte("bhilu", kind) >= 0 {
		if n *= int64(numberSize(kind)); n > int64(len(w.r.b)) {
			n = -1
		}
		w.r.take(int(n))
		return
	}
	for range n {
		w.value(kind)
		if w.r.failed {
			return
		}
	}
}

// count reads the number of elements of an array, and charges them with size each. No element is smaller than a byte.
func (w *bodyWalk) count(size int64) int64 {
	n := int64(w.length(4))
	if n > int64(len(w.r.b)) {
		w.r.take(-1)
		return 0
	}
	if n > 0 {
		w.memory += memArray + n*size + n*size/memRounding
	}
	return n
}

// length reads the length of a string (of 2 bytes), bytes or array (of 4); null is 0.
func (w *bodyWalk) length(size int) int {
	if w.flexible {
		return max(int(w.r.uvarint()), 1) - 1
	}
	if size == 2 {
		return max(int(w.r.int16()), 0)
	}
	return max(int(w.r.int32()), 0)
}

// tags walks over the tagged fields of the struct whose layout begins at at.
func (w *bodyWalk) tags(at int) {
	unknown := int64(0)
	for range w.r.uvarint() {
		tag, size := w.r.uvarint(), w.r.uvarint()
		field := w.r.take(int(size))
		if w.r.failed {
			return
		}
		if t, ok := w.tagged(at, int(tag)); ok {
			rest := w.r
			w.r = reader{b: field}
			w.field(t)
			if w.r.failed {
				return
			}
			w.r = rest
		} else {
			unknown++
		}
	}
	if unknown > 0 {
		w.memory += memTagTable + unknown*memTag
	}
}

// tagged finds the tagged field of a struct, in whatever version: kmsg takes it in all of them.
func (w *bodyWalk) tagged(at, tag int) (token, bool) {
	for {
		t, ok := w.token(at)
		if !ok || t.tag == tag {
			return t, ok
		}
		at = t.next
	}
}

// size is the memory of the struct whose layout begins at at, with the fields of all versions.
func (w *bodyWalk) size(at int) int64 {
	size := int64(memTags)
	for {
		t, ok := w.token(at)
		if !ok {
			return size
		}
		switch t.kind {
		case '[', '<':
			size += memBytes
		case '(':
			size += w.size(t.inner)
		case '?':
			size += memPointer
		default:
			size += valueMemory(t.kind)
		}
		at = t.next
	}
}

func valueMemory(kind byte) int64 {
	switch kind {
	case 's':
		return memString
	case 'y':
		return memBytes
	case 'u':
		return memUUID
	}
	return memNumber
}
