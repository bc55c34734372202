package group

import (
	"encoding/binary"
	"math/bits"
)

// xxh3Secret is the default secret of XXH3.
const xxh3Secret = "" +
	"\xb8\xfe\x6c\x39\x23\xa4\x4b\xbe\x7c\x01\x81\x2c\xf7\x21\xad\x1c\xde\xd4\x6d\xe9\x83\x90\x97\xdb\x72\x40\xa4\xa4\xb7\xb3\x67\x1f" +
	"\xcb\x79\xe6\x4e\xcc\xc0\xe5\x78\x82\x5a\xd0\x7d\xcc\xff\x72\x21\xb8\x08\x46\x74\xf7\x43\x24\x8e\xe0\x35\x90\xe6\x81\x3a\x26\x4c" +
	"\x3c\x28\x52\xbb\x91\xc3\x00\xcb\x88\xd0\x65\x8b\x1b\x53\x2e\xa3\x71\x64\x48\x97\xa2\x0d\xf9\x4e\x38\x19\xef\x46\xa9\xde\xac\xd8" +
	"\xa8\xfa\x76\x3f\xe3\x9c\x34\x3f\xf9\xdc\xbb\xc7\xc7\x0b\x4f\x1d\x8a\x51\xe0\x4b\xcd\xb4\x59\x31\xc8\x9f\x7e\xc9\xd9\x78\x73\x64" +
	"\xea\xc5\xac\x83\x34\xd3\xeb\xc3\xc5\x81\xa0\xff\xfa\x13\x63\xeb\x17\x0d\xdd\x51\xb7\xf0\xda\x49\xd3\x16\x55\x26\x29\xd4\x68\x9e" +
	"\x2b\x16\xbe\x58\x7d\x47\xa1\xfc\x8f\xf8\xb8\xd1\x7a\xd0\x31\xce\x45\xcb\x3a\x8f\x95\x16\x04\x28\xaf\xd7\xfb\xca\xbb\x4b\x40\x7e"

const (
	prime32a uint64 = 0x9E3779B1
	prime32b uint64 = 0x85EBCA77
	prime32c uint64 = 0xC2B2AE3D
	prime64a uint64 = 0x9E3779B185EBCA87
	prime64b uint64 = 0xC2B2AE3D27D4EB4F
	prime64c uint64 = 0x165667B19E3779F9
	prime64d uint64 = 0x85EBCA77C2B2AE63
	prime64e uint64 = 0x27D4EB2F165667C5
	primeMxA uint64 = 0x165667919E3779F9
	primeMxB uint64 = 0x9FB21C651E98DF25
)

const (
	xxh3Stripe   = 64
	xxh3Stripes  = (len(xxh3Secret) - xxh3Stripe) / 8 // of one block
	xxh3Midsize  = 240
	xxh3LastSkip = 7 // of the secret, for the last stripe
)

// xxh3 is the 64-bit XXH3 hash of b with seed 0, by which Kafka tells changes of topics (KIP-1101).
func xxh3(b []byte) uint64 {
	switch n := len(b); {
	case n <= 16:
		return xxh3Short(b)
	case n <= 128:
		return xxh3Small(b)
	case n <= xxh3Midsize:
		return xxh3Middle(b)
	default:
		return xxh3Long(b)
	}
}

func le64(b []byte) uint64   { return binary.LittleEndian.Uint64(b) }
func le32(b []byte) uint64   { return uint64(binary.LittleEndian.Uint32(b)) }
func secret64(at int) uint64 { return le64([]byte(xxh3Secret[at : at+8])) }
func secret32(at int) uint64 { return le32([]byte(xxh3Secret[at : at+4])) }

func xxh3Short(b []byte) uint64 {
	n := len(b)
	switch {
	case n > 8:
		low := le64(b) ^ secret64(24) ^ secret64(32)
		high := le64(b[n-8:]) ^ secret64(40) ^ secret64(48)
		return avalanche(uint64(n) + bits.ReverseBytes64(low) + high + foldedMul(low, high))
	case n >= 4:
		x := le32(b[n-4:]) + le32(b)<<32
		x ^= secret64(8) ^ secret64(16)
		x ^= bits.RotateLeft64(x, 49) ^ bits.RotateLeft64(x, 24)
		x *= primeMxB
		x ^= x>>35 + uint64(n)
		x *= primeMxB
		return x ^ x>>28
	case n > 0:
		x := uint64(b[0])<<16 | uint64(b[n>>1])<<24 | uint64(b[n-1]) | uint64(n)<<8
		return avalanche64(x ^ secret32(0) ^ secret32(4))
	default:
		return avalanche64(secret64(56) ^ secret64(64))
	}
}

func xxh3Small(b []byte) uint64 {
	n := len(b)
	sum := uint64(n) * prime64a
	for i := (n - 1) / 32; i >= 0; i-- {
		sum += mix16(b[16*i:], 32*i)
		sum += mix16(b[n-16*(i+1):], 32*i+16)
	}
	return avalanche(sum)
}

func xxh3Middle(b []byte) uint64 {
	n := len(b)
	sum := uint64(n) * prime64a
	for i := range 8 {
		sum += mix16(b[16*i:], 16*i)
	}
	sum = avalanche(sum)
	for i := 8; i < n/16; i++ {
		sum += mix16(b[16*i:], 16*(i-8)+3)
	}
	return avalanche(sum + mix16(b[n-16:], 136-17))
}

func xxh3Long(b []byte) uint64 {
	sums := [8]uint64{prime32c, prime64a, prime64b, prime64c, prime64d, prime32b, prime64e, prime32a}
	n := len(b)
	for done := 0; ; {
		for i := range xxh3Stripes {
			if done+xxh3Stripe >= n {
				accumulate(&sums, b[n-xxh3Stripe:], len(xxh3Secret)-xxh3Stripe-xxh3LastSkip)
				return merge(&sums, uint64(n))
			}
			accumulate(&sums, b[done:], 8*i)
			done += xxh3Stripe
		}
		for i := range sums {
			sums[i] = (sums[i] ^ sums[i]>>47 ^ secret64(len(xxh3Secret)-xxh3Stripe+8*i)) * prime32a
		}
	}
}

func accumulate(sums *[8]uint64, b []byte, secret int) {
	for i := range sums {
		x := le64(b[8*i:])
		key := x ^ secret64(secret+8*i)
		sums[i^1] += x
		sums[i] += (key & 0xffffffff) * (key >> 32)
	}
}

func merge(sums *[8]uint64, n uint64) uint64 {
	const skip = 11
	x := n * prime64a
	for i := 0; i < len(sums); i += 2 {
		x += foldedMul(sums[i]^secret64(skip+8*i), sums[i+1]^secret64(skip+8*i+8))
	}
	return avalanche(x)
}

func mix16(b []byte, secret int) uint64 {
	return foldedMul(le64(b)^secret64(secret), le64(b[8:])^secret64(secret+8))
}

func foldedMul(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func avalanche(x uint64) uint64 {
	x ^= x >> 37
	x *= primeMxA
	return x ^ x>>32
}

func avalanche64(x uint64) uint64 {
	x ^= x >> 33
	x *= prime64b
	x ^= x >> 29
	x *= prime64c
	return x ^ x>>32
}
