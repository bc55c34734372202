package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"
)

// batchHeader is the size of what precedes the records of a batch.
const batchHeader = 61

// Places in a batch.
const (
	batchCRC      = 17
	batchBody     = 21 // what the checksum covers begins here
	batchProducer = 43
	batchEpoch    = 51
	batchSequence = 53
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newBatch makes an uncompressed batch of records with the same random value of size bytes and no keys.
func newBatch(records, size int) []byte {
	value := make([]byte, size)
	fillRandom(rand.New(rand.NewPCG(1, 2)), value)
	return batchOf(records, func() (_, _ []byte) { return nil, value })
}

// keyedBatch makes an uncompressed batch of records, each with one of so many keys and a value of size bytes, both random.
func keyedBatch(random *rand.Rand, records, size int, keys int64) []byte {
	value := make([]byte, size)
	return batchOf(records, func() (_, _ []byte) {
		fillRandom(random, value)
		return fmt.Appendf(nil, "key-%012d", random.Int64N(keys)), value
	})
}

func fillRandom(random *rand.Rand, b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, random.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(random.UintN(256))
	}
}

// batchOf makes an uncompressed batch of what next returns; a nil key is null.
func batchOf(records int, next func() (key, value []byte)) []byte {
	now := uint64(time.Now().UnixMilli())
	b := make([]byte, batchHeader)
	b[16] = 2 // magic
	binary.BigEndian.PutUint32(b[23:], uint32(records-1))
	binary.BigEndian.PutUint64(b[27:], now)
	binary.BigEndian.PutUint64(b[35:], now)
	binary.BigEndian.PutUint32(b[57:], uint32(records))
	for i := range records {
		key, value := next()
		record := []byte{0, 0} // attributes, timestamp delta
		record = binary.AppendVarint(record, int64(i))
		if key == nil {
			record = binary.AppendVarint(record, -1)
		} else {
			record = append(binary.AppendVarint(record, int64(len(key))), key...)
		}
		record = append(binary.AppendVarint(record, int64(len(value))), value...)
		record = append(record, 0) // no headers
		b = append(binary.AppendVarint(b, int64(len(record))), record...)
	}
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	setProducer(b, -1, -1, -1)
	return b
}

// setProducer stamps a batch and its checksum.
func setProducer(b []byte, id int64, epoch int16, sequence int32) {
	binary.BigEndian.PutUint64(b[batchProducer:], uint64(id))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[batchSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchBody:], castagnoli))
}
