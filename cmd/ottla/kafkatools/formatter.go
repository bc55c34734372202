package kafkatools

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/server/config"
)

// waitsForTopic reports whether err is about a topic that may yet be made; Kafka's tool waits for it.
func waitsForTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.LeaderNotAvailable) || errors.Is(err, kerr.InvalidTopicException)
}

// The formatters that are known, with and without their package.
const (
	plainFormatter   = "org.apache.kafka.tools.consumer.DefaultMessageFormatter"
	silentFormatter  = "org.apache.kafka.tools.consumer.NoOpMessageFormatter"
	loggingFormatter = "org.apache.kafka.tools.consumer.LoggingMessageFormatter"
)

// formatter prints one record.
type formatter interface {
	print(out *bufio.Writer, r *kgo.Record) error
}

// lines is Kafka's DefaultMessageFormatter.
type lines struct {
	timestamp, key, value, offset, partition, epoch, delivery, headers bool
	separator, end, headerSeparator, null                              string
	readKey, readValue                                                 func([]byte) (string, error)
}

type silent struct{}

func (silent) print(*bufio.Writer, *kgo.Record) error { return nil }

func newFormatter(c *call) (formatter, error) {
	class, err := c.one("formatter")
	if err != nil {
		return nil, err
	}
	if class == "kafka.tools.DefaultMessageFormatter" {
		class = plainFormatter // as it was called before 4.0
	}
	if f := coordinatorFormatters()[class]; f != nil {
		return f, nil
	}
	switch class {
	case silentFormatter:
		return silent{}, nil
	case plainFormatter, loggingFormatter:
	default:
		return nil, usage("%s", class)
	}
	file, err := c.one("formatter-config")
	if err != nil {
		return nil, err
	}
	p := map[string]string{}
	if file != "" {
		if p, err = config.ReadProperties(file); err != nil {
			return nil, err
		}
	}
	for _, kv := range append(slices.Clone(c.all("property")), c.all("formatter-property")...) {
		k, v, _ := strings.Cut(kv, "=")
		p[k] = v
	}
	for _, of := range []string{"key", "value"} {
		if v, err := c.one(of + "-deserializer"); err != nil {
			return nil, err
		} else if v != "" {
			p[of+".deserializer"] = v
		}
	}
	return newLines(p)
}

func newLines(p map[string]string) (*lines, error) {
	is := func(k string) bool { return strings.EqualFold(strings.TrimSpace(p[k]), "true") }
	or := func(k, fallback string) string {
		if v, set := p[k]; set {
			return v
		}
		return fallback
	}
	l := &lines{
		timestamp: is("print.timestamp"), key: is("print.key"), value: or("print.value", "true") != "false", offset: is("print.offset"), partition: is("print.partition"),
		epoch: is("print.epoch"), delivery: is("print.delivery"), headers: is("print.headers"),
		separator: or("key.separator", "\t"), end: or("line.separator", "\n"), headerSeparator: or("headers.separator", ","), null: or("null.literal", "null"),
	}
	var err error
	if l.readKey, err = deserializer(p["key.deserializer"]); err != nil {
		return nil, err
	}
	l.readValue, err = deserializer(p["value.deserializer"])
	return l, err
}

// deserializer is the function of one of Kafka's classes; "" takes bytes as text.
func deserializer(class string) (func([]byte) (string, error), error) {
	number := func(size int, text func(uint64) string) func([]byte) (string, error) {
		return func(b []byte) (string, error) {
			if len(b) != size {
				return "", &javaError{"org.apache.kafka.common.errors.SerializationException", fmt.Sprintf("Size of data received by deserializer is not %d", size)}
			}
			return text(binary.BigEndian.Uint64(append(make([]byte, 8-size), b...))), nil
		}
	}
	switch strings.TrimPrefix(class, "org.apache.kafka.common.serialization.") {
	case "", "StringDeserializer", "ByteArrayDeserializer", "BytesDeserializer", "ByteBufferDeserializer":
		return func(b []byte) (string, error) { return string(b), nil }, nil
	case "LongDeserializer":
		return number(8, func(n uint64) string { return strconv.FormatInt(int64(n), 10) }), nil
	case "IntegerDeserializer":
		return number(4, func(n uint64) string { return strconv.FormatInt(int64(int32(n)), 10) }), nil
	case "ShortDeserializer":
		return number(2, func(n uint64) string { return strconv.FormatInt(int64(int16(n)), 10) }), nil
	case "DoubleDeserializer":
		return number(8, func(n uint64) string { return javaDouble(math.Float64frombits(n)) }), nil
	case "FloatDeserializer":
		return number(4, func(n uint64) string { return javaDouble(float64(math.Float32frombits(uint32(n)))) }), nil
	case "UUIDDeserializer", "BooleanDeserializer", "VoidDeserializer":
		return func(b []byte) (string, error) { return string(b), nil }, nil
	}
	return nil, &javaError{"java.lang.ClassNotFoundException", class}
}

// print implements formatter.
func (l *lines) print(out *bufio.Writer, r *kgo.Record) error {
	var parts []string
	if l.timestamp {
		kind := "CreateTime"
		if r.Attrs.TimestampType() == 1 {
			kind = "LogAppendTime"
		}
		parts = append(parts, fmt.Sprintf("%s:%d", kind, r.Timestamp.UnixMilli()))
	}
	if l.partition {
		parts = append(parts, fmt.Sprintf("Partition:%d", r.Partition))
	}
	if l.offset {
		parts = append(parts, fmt.Sprintf("Offset:%d", r.Offset))
	}
	if l.epoch {
		epoch := "null"
		if r.LeaderEpoch >= 0 {
			epoch = fmt.Sprint(r.LeaderEpoch)
		}
		parts = append(parts, "Epoch:"+epoch)
	}
	if l.delivery {
		parts = append(parts, "Delivery:NOT_PRESENT")
	}
	if l.headers {
		parts = append(parts, l.headerText(r.Headers))
	}
	for _, field := range []struct {
		wanted bool
		bytes  []byte
		read   func([]byte) (string, error)
	}{{l.key, r.Key, l.readKey}, {l.value, r.Value, l.readValue}} {
		if !field.wanted {
			continue
		}
		text := l.null
		if field.bytes != nil {
			var err error
			if text, err = field.read(field.bytes); err != nil {
				return err
			}
		}
		parts = append(parts, text)
	}
	_, err := out.WriteString(strings.Join(parts, l.separator) + l.end)
	return err
}

func (l *lines) headerText(headers []kgo.RecordHeader) string {
	if len(headers) == 0 {
		return "NO_HEADERS"
	}
	all := make([]string, len(headers))
	for i, h := range headers {
		v := l.null
		if h.Value != nil {
			v = string(h.Value)
		}
		all[i] = h.Key + ":" + v
	}
	return strings.Join(all, l.headerSeparator)
}
