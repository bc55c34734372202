package group

import "testing"

// TestXXH3EqualsKafkas compares with hashes by the library that Apache Kafka uses (hash4j).
func TestXXH3EqualsKafkas(t *testing.T) {
	want := map[int]uint64{
		0: 0x2d06800538d394c2, 1: 0x4c5cca45d0f4811f, 3: 0x15f7093b173d005c, 4: 0xdca012f95811b6b9, 8: 0xdec6a9a43575982e, 9: 0xcbe393399f17ffbd,
		16: 0x7e484c18d74895d0, 17: 0x208bde5ee2bed407, 32: 0x3df0ac5255d1446, 64: 0xdd30702ab46b3745, 100: 0x8c97158042fbf926, 128: 0xf92b70eaa21a6288,
		129: 0xf8f76713f2bb60fa, 200: 0x12fdb864685f344d, 240: 0xccc7375172c41f03, 241: 0xb3b630948ce4a00, 256: 0xec85b75bafe6ca74,
		512: 0xefc2e52d1c2ffbaa, 1000: 0x989765d0ea7a5ecd, 1024: 0x23bc880ebf0d29c6, 1025: 0xc09fdfbc398c7d82, 2048: 0x19f6f9c987331373, 5000: 0x559fff92c2b7f8ee,
	}
	for n, hash := range want {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*31 + 7)
		}
		if got := xxh3(b); got != hash {
			t.Errorf("%d bytes: %x, want %x", n, got, hash)
		}
	}
}
