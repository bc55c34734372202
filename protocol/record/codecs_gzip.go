package record

import (
	"bytes"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipDecoder reads gzip streams of one or more members. What follows a member and is none is passed over, as Java does.
type gzipDecoder struct {
	src bytes.Reader
	z   gzip.Reader
}

func (d *gzipDecoder) reset(payload []byte, _ int64) error {
	d.src.Reset(payload)
	return d.member()
}

// member begins the next member.
func (d *gzipDecoder) member() error {
	if err := d.z.Reset(&d.src); err != nil {
		return err
	}
	d.z.Multistream(false)
	return nil
}

func (d *gzipDecoder) Read(p []byte) (int, error) {
	for {
		n, err := d.z.Read(p)
		if err != io.EOF { //nolint:errorlint // gzip gives io.EOF itself at the end of a member
			return n, err
		}
		if n > 0 {
			return n, nil // the end comes again
		}
		if d.src.Len() == 0 || d.member() != nil {
			d.src.Reset(nil)
			return 0, io.EOF
		}
	}
}

func (d *gzipDecoder) release() bool { d.src.Reset(nil); return true }
func (d *gzipDecoder) close()        {}

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
