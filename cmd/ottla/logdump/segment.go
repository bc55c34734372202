package logdump

import (
	"bufio"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// headSize is how many bytes of a batch tell its size.
const headSize = 12

// decoderOf is the decoder for the records of a file, by its folder.
func (d *Dumper) decoderOf(path string) Decoder {
	if d.o.Decoder != "" && d.o.Decoder != Auto {
		return d.o.Decoder
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return Plain
	}
	folder := filepath.Base(filepath.Dir(full))
	switch {
	case strings.HasPrefix(folder, "__consumer_offsets-"):
		return Offsets
	case strings.HasPrefix(folder, "__transaction_state-"):
		return Transactions
	case strings.HasPrefix(folder, "__cluster_metadata-"), strings.HasSuffix(path, ".checkpoint"):
		return Metadata
	}
	return Plain
}

// segment prints the batches of a .log file.
func (d *Dumper) segment(path string) error {
	f, err := vfs.OpenShared(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(f, 1<<18)
	decode := d.decoderOf(path)
	var buffer []byte
	next, position := int64(-1), int64(0)
	for position < info.Size() {
		head, err := in.Peek(headSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		size, ok := record.EntrySize(head)
		if !ok || position+int64(size) > info.Size() {
			return d.wrong("the %d bytes from position %d on are no whole batch", info.Size()-position, position)
		}
		if cap(buffer) < size {
			buffer = make([]byte, size)
		}
		if _, err := io.ReadFull(in, buffer[:size]); err != nil {
			return err
		}
		b := record.Batch(buffer[:size])
		if b.BaseOffset() < next {
			if err := d.wrong("the batch at position %d begins at offset %d, but the one before ends at %d", position, b.BaseOffset(), next-1); err != nil {
				return err
			}
		}
		if b.Magic() == record.Magic2 {
			next = b.NextOffset()
		} else {
			next = b.BaseOffset() + 1
		}
		if next > d.o.From && (d.o.To == 0 || b.BaseOffset() <= d.o.To) {
			if err := d.batch(b, position, decode); err != nil {
				return err
			}
		}
		position += int64(size)
		d.progress(int64(size))
	}
	return nil
}

// batch prints one batch and, if asked for, its records.
func (d *Dumper) batch(b record.Batch, position int64, decode Decoder) error {
	if b.Magic() != record.Magic2 {
		l := line{}
		l.set("offset", b.BaseOffset())
		l.set("position", position)
		l.set("size", len(b))
		l.set("magic", int(b.Magic()))
		return l.write(d.out, d.o.JSON)
	}
	check := b.Check()
	l := line{}
	l.set("baseOffset", b.BaseOffset())
	l.set("lastOffset", b.LastOffset())
	l.set("count", b.Count())
	l.set("baseSequence", b.BaseSequence())
	l.set("lastSequence", b.LastSequence())
	l.set("producerId", b.ProducerID())
	l.set("producerEpoch", int(b.ProducerEpoch()))
	l.set("partitionLeaderEpoch", b.LeaderEpoch())
	l.set("isTransactional", b.IsTransactional())
	l.set("isControl", b.IsControl())
	if at, ok := b.DeleteHorizon(); ok {
		l.set("deleteHorizonMs", at)
	}
	l.set("position", position)
	l.set(timeName(b), b.MaxTimestamp())
	l.set("size", len(b))
	l.set("magic", int(b.Magic()))
	l.set("compresscodec", strings.Replace(b.Codec().String(), "uncompressed", "none", 1))
	l.set("crc", b.CRC())
	l.set("isvalid", check == nil)
	if err := l.write(d.out, d.o.JSON); err != nil {
		return err
	}
	if check != nil {
		d.bad++
		return nil
	}
	if !d.o.Records {
		return nil
	}
	n := int32(0)
	err := d.codecs.Records(b, func(r *record.Record) error {
		l := d.record(b, r, decode)
		if b.HasProducerID() && !b.IsControl() {
			l.fields = append(l.fields[:4], append([]field{{"sequence", record.AddSequence(b.BaseSequence(), n)}}, l.fields[4:]...)...)
		}
		n++
		return l.write(d.out, d.o.JSON)
	})
	if err != nil {
		return d.wrong("the records of the batch at offset %d cannot be read: %v", b.BaseOffset(), err)
	}
	return nil
}

func timeName(b record.Batch) string {
	if b.TimestampType() == record.CreateTime {
		return "CreateTime"
	}
	return "LogAppendTime"
}

// record is the line of one record. Its first four fields are its place, time and sizes.
func (d *Dumper) record(b record.Batch, r *record.Record, decode Decoder) *line {
	l := &line{indent: "| "}
	l.set("offset", r.Offset)
	l.set(timeName(b), r.Timestamp)
	l.set("keySize", sizeOf(r.Key))
	l.set("valueSize", sizeOf(r.Value))
	if len(r.Headers) > 0 {
		headers := map[string]any{}
		for i, h := range r.Headers {
			name := h.Key
			if _, twice := headers[name]; twice {
				name += "#" + strconv.Itoa(i)
			}
			headers[name] = bytesText(h.Value)
		}
		l.set("headers", headers)
	}
	if b.IsControl() {
		decodeControl(l, r)
		return l
	}
	switch decode {
	case Offsets:
		decodeOffsets(l, r)
	case Transactions:
		decodeTransaction(l, r)
	case Metadata:
		decodeMetadata(l, r)
	case Auto, Plain:
		plain(l, r)
	default:
		plain(l, r)
	}
	return l
}

func plain(l *line, r *record.Record) {
	l.set("key", r.Key)
	l.set("payload", r.Value)
}

// sizeOf is the size of a field, -1 for null, as on disk.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}
