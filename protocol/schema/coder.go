package schema

import (
	"encoding/binary"
	"math"

	"github.com/ottla/ottla/protocol"
)

// coder writes or reads the flexible encoding (KIP-482): compact lengths, and tagged fields at the end of every structure.
// Writing appends to b; reading consumes b. Reading stops at the first error and then leaves every field as it is.
type coder struct {
	b       []byte
	reading bool
	version int16
	err     error
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = protocol.Errorf(protocol.CorruptMessage, format, args...)
	}
	c.b = nil
}

// take returns the next n bytes of the input, or nil after an error.
func (c *coder) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.b) {
		c.fail("record ends early: %d bytes are needed, %d are there", n, len(c.b))
		return nil
	}
	taken := c.b[:n:n]
	c.b = c.b[n:]
	return taken
}

func (c *coder) bool(v *bool) {
	if !c.reading {
		var x byte
		if *v {
			x = 1
		}
		c.b = append(c.b, x)
	} else if b := c.take(1); b != nil {
		*v = b[0] != 0
	}
}

func (c *coder) int8(v *int8) {
	if !c.reading {
		c.b = append(c.b, byte(*v))
	} else if b := c.take(1); b != nil {
		*v = int8(b[0])
	}
}

func (c *coder) int16(v *int16) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint16(c.b, uint16(*v))
	} else if b := c.take(2); b != nil {
		*v = int16(binary.BigEndian.Uint16(b))
	}
}

func (c *coder) uint16(v *uint16) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint16(c.b, *v)
	} else if b := c.take(2); b != nil {
		*v = binary.BigEndian.Uint16(b)
	}
}

func (c *coder) int32(v *int32) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint32(c.b, uint32(*v))
	} else if b := c.take(4); b != nil {
		*v = int32(binary.BigEndian.Uint32(b))
	}
}

func (c *coder) int64(v *int64) {
	if !c.reading {
		c.b = binary.BigEndian.AppendUint64(c.b, uint64(*v))
	} else if b := c.take(8); b != nil {
		*v = int64(binary.BigEndian.Uint64(b))
	}
}

func (c *coder) float64(v *float64) {
	bits := int64(math.Float64bits(*v))
	c.int64(&bits)
	if c.reading {
		*v = math.Float64frombits(uint64(bits))
	}
}

func (c *coder) uuid(v *protocol.UUID) {
	if !c.reading {
		c.b = append(c.b, v[:]...)
	} else if b := c.take(len(v)); b != nil {
		*v = protocol.UUID(b)
	}
}

// uvarint reads or writes an unsigned varint of at most 32 bits.
func (c *coder) uvarint(v *uint32) {
	if !c.reading {
		c.b = binary.AppendUvarint(c.b, uint64(*v))
		return
	}
	if c.err != nil {
		return
	}
	x, n := binary.Uvarint(c.b)
	if n <= 0 || x > math.MaxUint32 {
		c.fail("bad varint")
		return
	}
	c.b = c.b[n:]
	*v = uint32(x)
}

// length codes a compact length: n elements that take at least size bytes each, or null (-1).
func (c *coder) length(n, size int) int {
	x := uint32(n + 1)
	c.uvarint(&x)
	if c.err != nil {
		return 0
	}
	if n = int(x) - 1; c.reading && n > len(c.b)/size {
		c.fail("length %d is more than the %d bytes that are there", n, len(c.b))
		return 0
	}
	return n
}

func (c *coder) string(v *string) {
	n := c.length(len(*v), 1)
	switch {
	case !c.reading:
		c.b = append(c.b, *v...)
	case n < 0:
		c.fail("null for a string that cannot be null")
	default:
		if b := c.take(n); c.err == nil {
			*v = string(b)
		}
	}
}

func (c *coder) nullableString(v **string) {
	if !c.reading {
		if *v == nil {
			c.length(-1, 1)
		} else {
			c.string(*v)
		}
		return
	}
	n := c.length(0, 1)
	if c.err != nil {
		return
	}
	if *v = nil; n >= 0 {
		s := string(c.take(n))
		*v = &s
	}
}

func (c *coder) bytes(v *[]byte) {
	n := c.length(len(*v), 1)
	switch {
	case !c.reading:
		c.b = append(c.b, *v...)
	case n < 0:
		c.fail("null for bytes that cannot be null")
	default:
		if b := c.take(n); c.err == nil {
			*v = append([]byte{}, b...)
		}
	}
}

func (c *coder) strings(v *[]string)          { array(c, v, 1, (*coder).string) }
func (c *coder) int32s(v *[]int32)            { array(c, v, 4, (*coder).int32) }
func (c *coder) uuids(v *[]protocol.UUID)     { array(c, v, 16, (*coder).uuid) }
func (c *coder) nullInt32s(v *[]int32)        { nullableArray(c, v, 4, (*coder).int32) }
func (c *coder) nullUUIDs(v *[]protocol.UUID) { nullableArray(c, v, 16, (*coder).uuid) }

// array codes an array that cannot be null; an element takes at least size bytes. An empty array is read as nil.
func array[T any](c *coder, v *[]T, size int, element func(*coder, *T)) {
	n := c.length(len(*v), size)
	if n < 0 {
		c.fail("null for an array that cannot be null")
	}
	elements(c, v, n, element)
	if c.reading && len(*v) == 0 { // a record that is written may be read by others meanwhile
		*v = nil
	}
}

// nullableArray codes an array in which nil is Kafka's null and an empty slice is an empty array.
func nullableArray[T any](c *coder, v *[]T, size int, element func(*coder, *T)) {
	n := len(*v)
	if *v == nil {
		n = -1
	}
	if n = c.length(n, size); n < 0 {
		if c.reading {
			*v = nil
		}
		return
	}
	elements(c, v, n, element)
}

// elements codes n elements. What is read grows as the bytes are really there: the length was checked against them, but a
// structure is larger in memory than its shortest encoding.
func elements[T any](c *coder, v *[]T, n int, element func(*coder, *T)) {
	if !c.reading {
		for i := range *v {
			element(c, &(*v)[i])
		}
		return
	}
	read := make([]T, 0, min(max(n, 0), 16))
	for range n {
		var t T
		if element(c, &t); c.err != nil {
			return
		}
		read = append(read, t)
	}
	*v = read
}

// tag is one tagged field of a structure.
type tag struct {
	number uint32
	set    bool // not the default: to be written
	field  func()
}

// tags codes the tagged fields that end a structure; they are given in ascending order. Unknown tags are skipped.
func (c *coder) tags(known ...tag) {
	if c.reading {
		c.readTags(known)
		return
	}
	var n uint32
	for _, t := range known {
		if t.set {
			n++
		}
	}
	c.uvarint(&n)
	for _, t := range known {
		if !t.set {
			continue
		}
		whole := c.b
		c.b = nil
		t.field()
		data, size := c.b, uint32(len(c.b))
		c.b = whole
		c.uvarint(&t.number)
		c.uvarint(&size)
		c.b = append(c.b, data...)
	}
}

func (c *coder) readTags(known []tag) {
	var n uint32
	c.uvarint(&n)
	for last := int64(-1); n > 0 && c.err == nil; n-- {
		var number, size uint32
		c.uvarint(&number)
		c.uvarint(&size)
		if c.err == nil && int64(number) <= last {
			c.fail("tag %d after tag %d", number, last)
		}
		last = int64(number)
		data := c.take(int(size))
		if c.err != nil {
			return
		}
		for _, t := range known {
			if t.number != number {
				continue
			}
			rest := c.b
			c.b = data
			if t.field(); c.err == nil && len(c.b) > 0 {
				c.fail("tag %d has %d bytes more than its field", number, len(c.b))
			}
			if c.err == nil {
				c.b = rest
			}
			break
		}
	}
}
