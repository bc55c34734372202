package kafkatools

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/server/config"
)

const producerAbout = "This tool helps to read data from standard input and publish it to Kafka."

func producerTool() tool {
	return tool{
		name: "kafka-console-producer", about: producerAbout, bare: producerAbout,
		options: optionSet{
			text("topic", "topic", "REQUIRED: the topic to write to."), text("bootstrap-server", "server to connect to", "REQUIRED: the servers to connect to."),
			flag("sync", "Wait for each record before the next is sent."),
			{name: "compression-codec", takes: maybeValue, value: "compression-codec", about: "none, gzip, snappy, lz4 or zstd; gzip if no value is given."},
			number("Integer", "batch-size", "size", "The largest batch in bytes; --max-partition-memory-bytes is the same.").or("16384"),
			number("Integer", "message-send-max-retries", "", "How often a record is sent again.").or("3"),
			number("Long", "retry-backoff-ms", "", "The pause before a record is sent again.").or("100"),
			number("Long", "timeout", "timeout_ms", "How long records are gathered into a batch.").or("1000"),
			text("request-required-acks", "request required acks", "0, 1 or -1 (all).").or("-1"),
			number("Integer", "request-timeout-ms", "request timeout ms", "How long to wait for an answer.").or("1500"),
			number("Long", "metadata-expiry-ms", "metadata expiration interval", "When metadata is asked for again.").or("300000"),
			number("Long", "max-block-ms", "max block on send", "How long to wait for metadata and memory.").or("60000"),
			number("Long", "max-memory-bytes", "total memory in bytes", "Memory for records that wait.").or("33554432"),
			number("Integer", "max-partition-memory-bytes", "memory in bytes per partition", "The largest batch in bytes.").or("16384"),
			number("Integer", "socket-buffer-size", "size", "Without effect.").or("102400"),
			text("line-reader", "reader_class", "Only Kafka's own reader of lines is known.").or(lineReader),
			text("property", "prop", "As --reader-property."), text("reader-property", "prop", "parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker, ignore.error."),
			text("producer-property", "producer_prop", "As --command-property."), text("command-property", "producer_prop", "A setting of the producer, key=value."),
			text("producer.config", "config file", "As --command-config."), text("command-config", "config file", "A file of settings for the producer."),
			text("reader-config", "config file", "A file of settings for the reader."),
		},
		run:  runProducer,
		fail: failProducer,
	}
}

// lineReader is the one reader of lines that is known.
const lineReader = "org.apache.kafka.tools.LineMessageReader"

func failProducer(c *call, err error) int {
	var bad *optionError
	if errors.As(err, &bad) {
		c.errorf("%s\n", err)
		c.set.printHelp(c.err)
		return 1
	}
	c.errorf("%s\n", full(err))
	return 1
}

func runProducer(c *call) error {
	if err := checkProducer(c); err != nil {
		return err
	}
	properties, err := c.clientSettings("producer")
	if err != nil {
		return err
	}
	r, err := newLineReader(c)
	if err != nil {
		return err
	}
	opts, err := producerOptions(c, properties)
	if err != nil {
		return err
	}
	list, err := c.one("bootstrap-server")
	if err != nil {
		return err
	}
	if err := c.connectTo(list, properties, opts...); err != nil {
		return err
	}
	topic, err := c.one("topic")
	if err != nil {
		return err
	}
	return c.produce(topic, r)
}

// produce sends what the reader reads, until its end.
func (c *call) produce(topic string, r *recordReader) error {
	var failed error // of reading; what was read before is sent
	for {
		record, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			failed = err
			break
		}
		record.Topic = topic
		if c.has("sync") {
			if err := c.client.ProduceSync(c.ctx, record).FirstErr(); err != nil {
				return connect.Translate(err)
			}
			continue
		}
		c.client.Produce(c.ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				fmt.Fprintf(c.err, "Error when sending message to topic %s: %s\n", topic, full(connect.Translate(err)))
			}
		})
	}
	if err := c.client.Flush(c.ctx); err != nil {
		return err
	}
	return failed
}

func checkProducer(c *call) error {
	if err := c.required("topic"); err != nil {
		return err
	}
	list, err := c.one("bootstrap-server")
	if err != nil {
		return err
	}
	if list == "" {
		return usage("Error while validating the bootstrap address\n")
	}
	for a := range strings.SplitSeq(list, ",") {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return usage("Please provide valid host:port like host1:9091,host2:9092\n")
		}
	}
	if c.has("property") {
		c.printf("Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead.\n")
	}
	if reader, err := c.one("line-reader"); err != nil || reader != lineReader {
		return errors.Join(err, &javaError{"java.lang.ClassNotFoundException", reader})
	}
	return nil
}

// clientSettings are those of the files and options for the client; kind is producer or consumer.
func (c *call) clientSettings(kind string) (map[string]string, error) {
	if c.has(kind + "-property") {
		c.deprecated(kind, kind+"-property", "command-property")
	}
	if c.has(kind + ".config") {
		c.deprecated(kind, kind+".config", "command-config")
	}
	file, err := c.one(kind + ".config")
	if err != nil {
		return nil, err
	}
	other, err := c.one("command-config")
	if err != nil {
		return nil, err
	}
	properties, err := connect.ReadSettings(cmp.Or(file, other))
	if err != nil {
		return nil, err
	}
	for _, kv := range append(slices.Clone(c.all(kind+"-property")), c.all("command-property")...) {
		k, v, _ := strings.Cut(kv, "=")
		properties[k] = v
	}
	return properties, nil
}

// deprecated warns of an option's old name, each tool in its own words.
func (c *call) deprecated(kind, old, now string) {
	lead := "Option"
	if kind == "producer" {
		lead = "Warning:"
	}
	c.printf("%s --%s is deprecated and will be removed in a future version. Use --%s instead.\n", lead, old, now)
}

// codecs are the client's codecs by Kafka's names.
var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func producerOptions(c *call, properties map[string]string) ([]kgo.Opt, error) {
	codec, err := c.one("compression-codec")
	if err != nil {
		return nil, err
	}
	switch {
	case !c.has("compression-codec"):
		codec = cmp.Or(properties["compression.type"], "none")
	case codec == "":
		codec = "gzip"
	}
	compression, known := codecs[codec]
	if !known {
		return nil, &javaError{"org.apache.kafka.common.config.ConfigException",
			fmt.Sprintf("Invalid value %s for configuration compression.type: String must be one of: none, gzip, snappy, lz4, zstd", codec)}
	}
	acks, err := c.one("request-required-acks")
	if err != nil {
		return nil, err
	}
	if v, set := properties["acks"]; set && !c.has("request-required-acks") {
		acks = v
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(compression), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))}
	switch acks {
	case "-1", "all":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, &javaError{"org.apache.kafka.common.config.ConfigException",
			fmt.Sprintf("Invalid value %s for configuration acks: String must be one of: all, -1, 0, 1", acks)}
	}
	if c.has("timeout") {
		ms, _, err := c.number("timeout")
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.ProducerLinger(time.Duration(ms)*time.Millisecond))
	}
	if limit, _, err := c.number("max-block-ms"); err != nil {
		return nil, err
	} else if limit > 0 {
		opts = append(opts, kgo.RecordDeliveryTimeout(time.Duration(max(limit, 1000))*time.Millisecond))
	}
	return opts, nil
}

// recordReader turns lines into records.
type recordReader struct {
	in                                                 *bufio.Reader
	line                                               int
	key, headers, ignore                               bool
	separator, headersEnd, headersSeparator, headerKey string
	null                                               string
	hasNull                                            bool
}

func newLineReader(c *call) (*recordReader, error) {
	file, err := c.one("reader-config")
	if err != nil {
		return nil, err
	}
	p := map[string]string{}
	if file != "" {
		if p, err = config.ReadProperties(file); err != nil {
			return nil, err
		}
	}
	for _, kv := range append(slices.Clone(c.all("property")), c.all("reader-property")...) {
		k, v, _ := strings.Cut(kv, "=")
		p[k] = v
	}
	return newReader(c.in, p)
}

func newReader(in io.Reader, p map[string]string) (*recordReader, error) {
	is := func(k string) bool { v, err := strconv.ParseBool(strings.TrimSpace(p[k])); return err == nil && v }
	or := func(k, fallback string) string {
		if v, set := p[k]; set {
			return v
		}
		return fallback
	}
	r := &recordReader{
		in: bufio.NewReaderSize(in, 1<<16), key: is("parse.key"), headers: is("parse.headers"), ignore: is("ignore.error"), separator: or("key.separator", "\t"),
		headersEnd: or("headers.delimiter", "\t"), headersSeparator: or("headers.separator", ","), headerKey: or("headers.key.separator", ":"),
	}
	r.null, r.hasNull = p["null.marker"]
	switch {
	case r.headersEnd == r.headersSeparator:
		return nil, &javaError{"org.apache.kafka.common.KafkaException", "headers.delimiter and headers.separator may not be equal"}
	case r.headersSeparator == r.headerKey:
		return nil, &javaError{"org.apache.kafka.common.KafkaException", "headers.separator and headers.key.separator may not be equal"}
	case r.hasNull && slices.Contains([]string{r.separator, r.headersSeparator, r.headersEnd, r.headerKey}, r.null):
		return nil, &javaError{"org.apache.kafka.common.KafkaException", "null.marker and a separator may not be equal"}
	}
	return r, nil
}

// next is the record of the next line; io.EOF at the end.
func (r *recordReader) next() (*kgo.Record, error) {
	line, err := r.in.ReadBytes('\n')
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	r.line++
	record := &kgo.Record{}
	rest := string(line)
	if r.headers {
		head, after, err := r.cut(rest, r.headersEnd, "headers delimiter")
		if err != nil {
			return nil, err
		}
		if rest = after; head != "" && (!r.hasNull || head != r.null) {
			if record.Headers, err = r.parseHeaders(head); err != nil {
				return nil, err
			}
		}
	}
	if r.key {
		key, after, err := r.cut(rest, r.separator, "key separator")
		if err != nil {
			return nil, err
		}
		if rest = after; key != missing {
			record.Key = r.orNull(key)
		}
	}
	record.Value = r.orNull(rest)
	return record, nil
}

// missing stands for a key or headers that a line does not have; no line contains it.
const missing = "\n"

func (r *recordReader) cut(line, separator, what string) (before, after string, err error) {
	before, after, found := strings.Cut(line, separator)
	switch {
	case found:
		return before, after, nil
	case r.ignore && what == "key separator":
		return missing, line, nil
	case r.ignore:
		return "", line, nil
	}
	return "", "", &javaError{"org.apache.kafka.common.KafkaException", fmt.Sprintf("No %s found on line number %d: '%s'", what, r.line, line)}
}

func (r *recordReader) parseHeaders(text string) ([]kgo.RecordHeader, error) {
	var all []kgo.RecordHeader
	for pair := range strings.SplitSeq(text, r.headersSeparator) {
		key, value, found := strings.Cut(pair, r.headerKey)
		if !found && !r.ignore {
			return nil, &javaError{"org.apache.kafka.common.KafkaException",
				fmt.Sprintf("No header key separator found in pair '%s' on line number %d", pair, r.line)}
		}
		h := kgo.RecordHeader{Key: key}
		if found {
			h.Value = r.orNull(value)
		}
		all = append(all, h)
	}
	return all, nil
}

func (r *recordReader) orNull(text string) []byte {
	if r.hasNull && text == r.null {
		return nil
	}
	return []byte(text)
}
