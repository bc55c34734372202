package parity

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frames is what a connection does with frames that are wrong, and with those that are only odd.
func frames(c *conversation) {
	frame := func(key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(8+2+len(rest)))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = binary.BigEndian.AppendUint32(b, 7)
		return append(append(b, 0xff, 0xff), rest...) // a null client id
	}
	c.raw("Metadata v0, null client id", frame(3, 0, 0, 0, 0, 1, 0, 1, '?'))
	c.raw("ApiVersions v0 with a short header", []byte{0, 0, 0, 4, 0, 18, 0, 0})
	c.raw("unknown key", frame(0x7f03, 0))
	c.raw("negative key", frame(-1, 0))
	for _, key := range []int16{4, 5, 6, 7, 52, 56, 58, 62, 63, 67, 70, 73, 82} {
		c.raw(fmt.Sprintf("key %d of controllers", key), frame(key, 0))
	}
	for _, k := range []int16{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 32, 33, 35, 37, 44, 47, 60, 61, 74, 75} {
		c.raw(fmt.Sprintf("key %d version 99", k), frame(k, 99))
		c.raw(fmt.Sprintf("key %d version -1", k), frame(k, -1))
	}
	for _, size := range []uint32{0, 0x80000000, 0xffffffff, 104857601, binary.BigEndian.Uint32([]byte("GET "))} {
		c.raw(fmt.Sprintf("size %d", int32(size)), binary.BigEndian.AppendUint32(nil, size))
	}
	c.raw("HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	c.raw("TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
	c.odd()
	c.truncated()
	c.raw("produce with acks 0 to nowhere", c.dial("parity").frame(produce(9, 0, "nowhere", [16]byte{}, 0, of(c.now.UnixMilli(), "a").bytes())))
}

// odd sends frames that are well formed but for bytes behind the body and unknown tags.
func (c *conversation) odd() {
	cl := c.dial("parity")
	for _, v := range []int16{1, 9, 12} {
		req := metadata(v, "no where")
		raw := append(cl.frame(req), 1, 2, 3, 4, 5)
		binary.BigEndian.PutUint32(raw, uint32(len(raw)-4))
		cl.write(raw)
		p := &pending{client: cl, label: fmt.Sprintf("Metadata v%d: bytes behind the body", v), req: req, correlation: cl.next - 1}
		await[*kmsg.MetadataResponse](p)
	}
	req := metadata(12, "nowhere")
	req.UnknownTags.Set(200, make([]byte, 1000))
	req.UnknownTags.Set(0, []byte("x"))
	ask[*kmsg.MetadataResponse](cl, "unknown tags", req)
	// Answers leave in the order of the requests, also behind one that waits.
	parked := fetch(11, "nowhere", [16]byte{}, 0)
	parked.MaxWaitMillis, parked.MinBytes, parked.Topics = 400, 1, nil
	first := cl.send("fetch of nothing", parked)
	second := cl.send("behind it", metadata(1, "no where"))
	first.wait()
	second.wait()
}

// truncated sends bodies that end early.
func (c *conversation) truncated() {
	requests := []kmsg.Request{
		metadata(1, "no where"), metadata(12, "nowhere"), fetch(11, "nowhere", [16]byte{}, 0), fetch(12, "nowhere", [16]byte{}, 0),
		produce(9, 1, "nowhere", [16]byte{}, 0, of(c.now.UnixMilli(), "a").bytes()), produce(3, 1, "nowhere", [16]byte{}, 0, of(c.now.UnixMilli(), "a").bytes()),
	}
	for _, req := range requests {
		cl := c.dial("parity")
		whole := cl.frame(req)
		for _, cut := range []int{1, 2, 5, 9} {
			raw := append([]byte(nil), whole[:len(whole)-cut]...)
			binary.BigEndian.PutUint32(raw, uint32(len(raw)-4))
			c.raw(fmt.Sprintf("%s v%d without its last %d bytes", kmsg.NameForKey(req.Key()), req.GetVersion(), cut), raw)
		}
	}
	// Counts that cannot be true.
	head := c.dial("").frame(metadata(1))
	for _, count := range []uint32{0x7fffffff, 0xfffffffe, 1000} {
		raw := binary.BigEndian.AppendUint32(append([]byte(nil), head[:len(head)-4]...), count)
		c.raw(fmt.Sprintf("Metadata v1 of %d topics", int32(count)), raw)
	}
}
