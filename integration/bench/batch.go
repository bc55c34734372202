package main

import (
	"encoding/binary"
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

// newBatch makes an uncompressed batch of records with values of size bytes and no keys.
func newBatch(records, size int) []byte {
	now := uint64(time.Now().UnixMilli())
	b := make([]byte, batchHeader, batchHeader+records*(size+16))
	b[16] = 2 // magic
	binary.BigEndian.PutUint32(b[23:], uint32(records-1))
	binary.BigEndian.PutUint64(b[27:], now)
	binary.BigEndian.PutUint64(b[35:], now)
	binary.BigEndian.PutUint32(b[57:], uint32(records))
	value := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = byte(random.UintN(256))
	}
	for i := range records {
		record := []byte{0, 0} // attributes, timestamp delta
		record = binary.AppendVarint(record, int64(i))
		record = binary.AppendVarint(record, -1) // no key
		record = binary.AppendVarint(record, int64(size))
		record = append(record, value...)
		record = append(record, 0) // no headers
		b = binary.AppendVarint(b, int64(len(record)))
		b = append(b, record...)
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
