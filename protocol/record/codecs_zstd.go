package record

import (
	"bytes"
	"errors"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

const (
	zstdMaxWindow    = 1 << 27 // the largest window that the reference library reads without being asked to
	zstdWindowTaken  = 1 << 20 // windows up to here are taken as claimed
	zstdWindowKept   = 8 << 20 // a decoder that had a larger one does not go back to the pool
	zstdMaxBlock     = 128 << 10
	zstdMinWindowLog = 10
	zstdMagicSize    = 4

	zstdWriteWindow = 1 << 20
)

var errZstdWindow = errors.New("the zstd frame needs a larger window than is allowed")

// zstdDecoder reads streams of zstd frames, without starting goroutines.
type zstdDecoder struct {
	src     bytes.Reader
	z       *zstd.Decoder
	patched []byte // a copy of the payload with smaller windows
	large   bool   // some window was larger than zstdWindowKept
}

func newZstdDecoder() (decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdMaxWindow))
	if err != nil {
		return nil, err
	}
	return &zstdDecoder{z: z}, nil
}

// reset lowers the windows that the frames claim to what their blocks can hold at most, because the decoder allocates a whole
// window at once: the writers of small batches at high levels claim as much as 128 MiB.
func (d *zstdDecoder) reset(payload []byte, limit int64) error {
	payload, err := d.shrinkWindows(payload, limit)
	if err != nil {
		return err
	}
	d.src.Reset(payload)
	return d.z.Reset(&d.src)
}

// shrinkWindows returns payload, or a copy with other window descriptors. It stops silently at what it does not understand: the decoder will
// find the fault there, and says which, before it allocates.
func (d *zstdDecoder) shrinkWindows(payload []byte, limit int64) ([]byte, error) {
	out, copied := payload, false
	var h zstd.Header
	for at := 0; at < len(payload); {
		if err := h.Decode(payload[at:]); err != nil {
			return out, nil //nolint:nilerr // see above
		}
		if h.Skippable {
			at += h.HeaderSize + int(h.SkippableSize)
			continue
		}
		window := h.WindowSize
		if h.SingleSegment {
			window = h.FrameContentSize
		}
		end, most := zstdFrameEnd(payload, at+h.HeaderSize, h.HasCheckSum)
		if h.SingleSegment && window > uint64(limit) && window <= most {
			return nil, overLimit()
		}
		most = min(most, uint64(limit)+zstdMaxBlock) // the block that passes the limit is decompressed
		if window > zstdWindowTaken {
			d.large = d.large || min(window, most) > zstdWindowKept
			switch {
			case window > zstdMaxWindow && most > zstdMaxWindow, h.SingleSegment && window > most:
				return nil, errZstdWindow // of a single segment the window is the content's size, which the blocks do not have
			case !h.SingleSegment && window > most:
				if !copied {
					d.patched = append(d.patched[:0], payload...)
					out, copied = d.patched, true
				}
				log := max(bits.Len64(most-1), bits.Len64(zstdMaxBlock-1)) // at least a block, or blocks become too large
				out[at+zstdMagicSize+1] = byte(log-zstdMinWindowLog) << 3
			}
		}
		at = end
	}
	return out, nil
}

// zstdFrameEnd walks the blocks from at on: where the frame ends, and the largest size in bytes that it can decompress to, at
// least 1.
func zstdFrameEnd(b []byte, at int, checksum bool) (end int, most uint64) {
	most = 1
	for at+3 <= len(b) {
		head := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		at += 3
		size := int(head >> 3)
		switch head >> 1 & 3 {
		case 0: // raw
			most += uint64(size)
			at += size
		case 1: // one byte, repeated
			most += uint64(size)
			at++
		default:
			most += zstdMaxBlock
			at += size
		}
		if head&1 != 0 {
			if checksum {
				at += 4
			}
			return at, most
		}
	}
	return len(b), most
}

func (d *zstdDecoder) Read(p []byte) (int, error) { return d.z.Read(p) }

func (d *zstdDecoder) release() bool {
	d.src.Reset(nil)
	_ = d.z.Reset(nil) // drops the source; it cannot fail
	if cap(d.patched) > bufferKept {
		d.patched = nil
	}
	return !d.large
}

func (d *zstdDecoder) close() { d.z.Close() }

// zstdLevel maps Kafka's level to that of klauspost/compress, where 0 stands for Kafka's default 3.
func zstdLevel(level int) int {
	const kafkaDefault = 3
	if level == 0 {
		level = kafkaDefault
	}
	return int(zstd.EncoderLevelFromZstd(level))
}

type zstdEncoder struct{ *zstd.Encoder }

func newZstdEncoder(level int) (encoder, error) {
	z, err := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.EncoderLevel(level)), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWriteWindow), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	return zstdEncoder{z}, nil
}
