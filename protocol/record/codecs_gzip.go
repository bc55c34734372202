package record

import (
	"bytes"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipDecoder reads gzip streams of one or more members.
type gzipDecoder struct {
	src bytes.Reader
	z   gzip.Reader
}

func (d *gzipDecoder) reset(payload []byte) error {
	d.src.Reset(payload)
	return d.z.Reset(&d.src)
}

func (d *gzipDecoder) Read(p []byte) (int, error) { return d.z.Read(p) }
func (d *gzipDecoder) release() bool              { d.src.Reset(nil); return true }
func (d *gzipDecoder) close()                     {}

// gzipLevel maps Kafka's level to 0 (the default, also for -1) to 9.
func gzipLevel(level int) int {
	if level <= 0 {
		return 0
	}
	return min(level, gzip.BestCompression)
}

type gzipEncoder struct{ *gzip.Writer }

// Reset implements encoder. The header has no time, which the compressor would otherwise write as one before 1970.
func (e gzipEncoder) Reset(dst io.Writer) {
	e.Writer.Reset(dst)
	e.ModTime = time.Unix(0, 0)
}

func newGzipEncoder(level int) (encoder, error) {
	if level == 0 {
		level = gzip.DefaultCompression
	}
	w, err := gzip.NewWriterLevel(io.Discard, level)
	if err != nil {
		return nil, err
	}
	return gzipEncoder{w}, nil
}
