package record

import (
	"encoding/binary"

	"github.com/ottla/ottla/protocol"
)

// Check verifies that b is exactly one whole v2 batch: the header is there, the length field matches len(b), magic is 2 and
// the CRC-32C is right. Otherwise the error is protocol.CorruptMessage. The records are not looked at.
func (b Batch) Check() error {
	if len(b) < HeaderSize {
		return protocol.Errorf(protocol.CorruptMessage,
			"Record batch is corrupted (the size %d is smaller than the minimum allowed overhead %d)", len(b), HeaderSize)
	}
	if b.Size() != len(b) {
		return protocol.Errorf(protocol.CorruptMessage, "Record batch claims a size of %d bytes but has %d", b.Size(), len(b))
	}
	if b.Magic() != Magic2 {
		return protocol.Errorf(protocol.CorruptMessage, "Record batch has magic %d where 2 is needed", b.Magic())
	}
	return b.checkCRC()
}

// checkCRC is the last step of DefaultRecordBatch.ensureValid.
func (b Batch) checkCRC() error {
	if stored, computed := b.CRC(), b.computeCRC(); stored != computed {
		return protocol.Errorf(protocol.CorruptMessage, "Record is corrupt (stored crc = %d, computed crc = %d)", stored, computed)
	}
	return nil
}

// EntrySize reads the length field of an entry from its first 12 bytes: the size of the whole entry in bytes, for readers
// that have a file at hand and not the bytes. False if head is shorter or the length is one that no format has.
func EntrySize(head []byte) (size int, ok bool) {
	if len(head) < LogOverhead {
		return 0, false
	}
	length := int32(binary.BigEndian.Uint32(head[posLength:]))
	return LogOverhead + int(length), length >= minEntryLength
}
