package protocol

import (
	"errors"
	"testing"
)

func flexibleFrom(key, version int16) func(int16, int16) bool {
	return func(k, v int16) bool { return k == key && v >= version }
}

func TestFrameSize(t *testing.T) {
	for _, test := range []struct {
		prefix [4]byte
		want   int // 0: refused
	}{
		{[4]byte{0, 0, 0, 1}, 1},
		{[4]byte{0, 0, 0, 100}, 100},
		{[4]byte{0, 0, 0, 101}, 0},
		{[4]byte{}, 0},
		{[4]byte{255, 255, 255, 255}, 0},
		{[4]byte{128, 0, 0, 0}, 0},
		{[4]byte{'G', 'E', 'T', ' '}, 0},
	} {
		got, err := FrameSize(test.prefix, 100)
		if got != test.want || (err == nil) != (test.want > 0) {
			t.Errorf("%v: got %d, %v", test.prefix, got, err)
		}
		if err != nil && !errors.Is(err, InvalidRequest) {
			t.Errorf("%v: got %v", test.prefix, err)
		}
	}
}

func TestParseRequestHeader(t *testing.T) {
	id := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		frame string
		want  RequestHeader
		body  string
	}{
		"v1":                       {"\x00\x03\x00\x08\x00\x00\x00\x07\x00\x02ab.", RequestHeader{3, 8, 7, id("ab")}, "."},
		"v1, null client id":       {"\x00\x03\x00\x08\x00\x00\x00\x07\xff\xff.", RequestHeader{3, 8, 7, nil}, "."},
		"v1, empty client id":      {"\x00\x03\x00\x08\x00\x00\x00\x07\x00\x00", RequestHeader{3, 8, 7, id("")}, ""},
		"v2":                       {"\x00\x03\x00\x09\xff\xff\xff\xff\x00\x01a\x00.", RequestHeader{3, 9, -1, id("a")}, "."},
		"v2, unknown tags":         {"\x00\x03\x00\x09\x00\x00\x00\x07\x00\x01a\x02\x00\x02xy\x81\x01\x00.", RequestHeader{3, 9, 7, id("a")}, "."},
		"v0 of ControlledShutdown": {"\x00\x07\x00\x00\x00\x00\x00\x07\x00\x02", RequestHeader{7, 0, 7, nil}, "\x00\x02"},
		"ControlledShutdown v1":    {"\x00\x07\x00\x01\x00\x00\x00\x07\x00\x01a.", RequestHeader{7, 1, 7, id("a")}, "."},
		"ApiVersions v2":           {"\x00\x12\x00\x02\x00\x00\x00\x07\x00\x01a\x05", RequestHeader{18, 2, 7, id("a")}, "\x05"},
		"ApiVersions v3":           {"\x00\x12\x00\x03\x00\x00\x00\x07\x00\x01a\x00.", RequestHeader{18, 3, 7, id("a")}, "."},
		"ApiVersions of 2090":      {"\x00\x12\x7f\xff\x00\x00\x00\x07\x00\x01a\x00\xff\xff", RequestHeader{18, 32767, 7, id("a")}, "\xff\xff"},
		"a key that is not known":  {"\x7f\x03\x00\x08\x00\x00\x00\x07\x00\x00", RequestHeader{0x7f03, 8, 7, id("")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, body, err := ParseRequestHeader([]byte(test.frame), flexibleFrom(3, 9), nil)
			if err != nil || string(body) != test.body {
				t.Fatalf("body %q, %v", body, err)
			}
			got, want := h.ClientID, test.want.ClientID
			if (got == nil) != (want == nil) || got != nil && *got != *want {
				t.Fatal("wrong client id")
			}
			h.ClientID, test.want.ClientID = nil, nil
			if h != test.want {
				t.Fatalf("want %+v, got %+v", test.want, h)
			}
			full := len(test.frame) - len(test.body)
			for cut := range full {
				if _, _, err := ParseRequestHeader([]byte(test.frame[:cut]), flexibleFrom(3, 9), nil); !errors.Is(err, InvalidRequest) {
					t.Fatalf("cut to %d bytes: %v", cut, err)
				}
			}
		})
	}
}

func TestParseRequestHeaderRefuses(t *testing.T) {
	for name, frame := range map[string]string{
		"negative client id length":   "\x00\x03\x00\x08\x00\x00\x00\x07\xff\xfe",
		"client id longer than frame": "\x00\x03\x00\x08\x00\x00\x00\x07\x7f\xffab",
		"4 billion tags":              "\x00\x03\x00\x09\x00\x00\x00\x07\x00\x00\xff\xff\xff\xff\x0f\x00\x00",
		"tag of 4 GB":                 "\x00\x03\x00\x09\x00\x00\x00\x07\x00\x00\x01\x00\xff\xff\xff\xff\x0f",
		"tag count of 64 bits":        "\x00\x03\x00\x09\x00\x00\x00\x07\x00\x00\xff\xff\xff\xff\x7f",
	} {
		if h, body, err := ParseRequestHeader([]byte(frame), flexibleFrom(3, 9), nil); !errors.Is(err, InvalidRequest) {
			t.Errorf("%s: %+v %q %v", name, h, body, err)
		}
	}
}

func FuzzParseRequestHeader(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x09\x00\x00\x00\x07\x00\x01a\x02\x00\x02xy\x81\x01\x00."), true)
	f.Add([]byte("\x00\x12\x7f\xff\x00\x00\x00\x07\x00\x01a\x00\xff\xff"), false)
	f.Add([]byte("\x00\x07\x00\x00\x00\x00\x00\x07"), false)
	likely := "a"
	f.Fuzz(func(t *testing.T, frame []byte, flexible bool) {
		h, body, err := ParseRequestHeader(frame, func(int16, int16) bool { return flexible }, &likely)
		if err != nil {
			if !errors.Is(err, InvalidRequest) || body != nil {
				t.Fatalf("%q %v", body, err)
			}
			return
		}
		if again, _, _ := ParseRequestHeader(frame, func(int16, int16) bool { return flexible }, h.ClientID); again != h {
			t.Fatalf("%+v, then %+v", h, again)
		}
		used := len(frame) - len(body)
		if used < 8 || h.ClientID != nil && len(*h.ClientID) > used || len(body) > 0 && &body[0] != &frame[used] {
			t.Fatalf("%+v with a body of %d of %d bytes", h, len(body), len(frame))
		}
	})
}
