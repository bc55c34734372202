package server

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/server/api"
)

// someRows are the real rows of these keys.
func someRows(keys ...int16) []api.Route {
	return slices.DeleteFunc(api.Table(), func(r api.Route) bool { return !slices.Contains(keys, r.Key) })
}

// TestAPIVersionsBytes holds the answers of ApiVersions to the byte: the response header has no tags in any version, and a version that is not
// known is answered in version 0, after which the connection goes on.
func TestAPIVersionsBytes(t *testing.T) {
	const (
		header  = "0000002a"
		keys    = header + "0000" + "03" + "0003000000 0d00" + "00120000000500" + "00000000"
		refused = header + "0023" + "00000001" + "001200000005"
	)
	s := newFakeServer(t, nil, someRows(3, 18)...)
	c := s.pipe.dial(t)
	named := func(version int16) []byte {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion, req.NodeID = version, "a", "1", -1
		return frameOf(42, req)
	}
	for _, step := range []struct {
		name string
		sent []byte
		want string
	}{
		{"v0", rawFrame(18, 0, 42, false, nil), header + "0000" + "00000002" + "00030000000d" + "001200000005"},
		{"v1", rawFrame(18, 1, 42, false, nil), header + "0000" + "00000002" + "00030000000d" + "001200000005" + "00000000"},
		{"v2", rawFrame(18, 2, 42, false, nil), header + "0000" + "00000002" + "00030000000d" + "001200000005" + "00000000"},
		{"v3", named(3), keys + featuresV3},
		{"v4", named(4), keys + featuresV4},
		{"v5", named(5), keys + featuresV4},
		{"v6", rawFrame(18, 6, 42, true, []byte("whatever")), refused},
		{"v99", rawFrame(18, 99, 42, true, []byte{0xff, 0xff, 0xff}), refused},
		{"v99 without a body", rawFrame(18, 99, 42, true, nil), refused},
		{"v3 after that", named(3), keys + featuresV3},
		{"v3 without a name", rawFrame(18, 3, 42, true, []byte{1, 1, 0}), header + "002a" + "01" + "00000000" + "00"},
	} {
		c.write(step.sent)
		want, err := hex.DecodeString(noSpaces(step.want))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.frame(); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", step.name, got, want)
		}
	}
}

// featuresV3 are the tagged fields of the answer over an empty image: metadata.version 7-30 is supported (tag 0), the epoch is 0 (tag 1).
// From version 4 on those with a minimum of 0 are there too: eligible.leader.replicas.version, group.version, kraft.version, share.version,
// streams.version, transaction.version.
const (
	metadataVersion = "11" + "6d657461646174612e76657273696f6e" + "0007" + "001e" + "00"
	featuresV3      = "02" + "00" + "17" + "02" + metadataVersion + "01" + "08" + "0000000000000000"
	featuresV4      = "02" + "00" + "a401" + "08" +
		"21" + "656c696769626c652e6c65616465722e7265706c696361732e76657273696f6e" + "0000" + "0001" + "00" +
		"0e" + "67726f75702e76657273696f6e" + "0000" + "0001" + "00" +
		"0e" + "6b726166742e76657273696f6e" + "0000" + "0001" + "00" +
		metadataVersion +
		"0e" + "73686172652e76657273696f6e" + "0000" + "0001" + "00" +
		"10" + "73747265616d732e76657273696f6e" + "0000" + "0001" + "00" +
		"14" + "7472616e73616374696f6e2e76657273696f6e" + "0000" + "0002" + "00" +
		"01" + "08" + "0000000000000000"
)

func noSpaces(s string) string {
	return string(slices.DeleteFunc([]byte(s), func(b byte) bool { return b == ' ' }))
}

// TestBadFramesCloseTheConnection without a byte.
func TestBadFramesCloseTheConnection(t *testing.T) {
	s := newFakeServer(t, map[string]string{"socket.request.max.bytes": "1000"}, row(metadataRequest(), echo))
	for name, b := range map[string][]byte{
		"zero":          {0, 0, 0, 0},
		"negative":      {0xff, 0xff, 0xff, 0xff},
		"smallest":      {0x80, 0, 0, 0},
		"above the max": {0, 0, 3, 0xe9},
		"http":          []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"tls hello":     {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc},
		"one byte":      {0, 0, 0, 1, 7},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.pipe.dial(t)
			go func() { _, _ = c.Write(b) }() // the server may close before it has read all
			c.closed()
		})
	}
	s.pipe.dial(t).ask(metadataRequest())
}
