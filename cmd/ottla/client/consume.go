package client

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

// consumeFlags say what consume reads, when it ends and how it prints.
type consumeFlags struct {
	partitions                       []int32
	from, group, format              string
	count                            int64
	idle                             time.Duration
	beginning, end, committed, regex bool
	key, headers, timestamp          bool
}

func consumeCommand(s *session) *cobra.Command {
	var f consumeFlags
	c := &cobra.Command{
		Use: "consume TOPIC...", Short: "Print the records of topics", Args: cobra.MinimumNArgs(1),
		Long: "Print the records of topics: what comes from now on, or with --from earlier ones. Without --group no group is joined and nothing is committed.",
		Example: "  ottla consume greetings --from-beginning\n  ottla consume orders --from 1h --until-end -o json\n  ottla consume orders --partition 0 --from 100 --count 1 --key --headers --timestamp\n" +
			"  ottla consume orders --group billing --idle 5s\n  ottla consume orders --format '%T %p:%o %k=%v\\n' --read-committed",
		ValidArgsFunction: s.topicNames(),
	}
	c.RunE = s.runIt(func(ctx context.Context, args []string) error { return s.consume(ctx, args, f) })
	fl := c.Flags()
	fl.BoolVar(&f.beginning, "from-beginning", false, "as --from earliest")
	fl.StringVar(&f.from, "from", "latest", "earliest, latest, an offset, a time, or how long ago (as 90m or 7d)")
	fl.Int32SliceVarP(&f.partitions, "partition", "p", nil, "only these partitions")
	fl.StringVarP(&f.group, "group", "g", "", "read as a member of this `group` and commit what was printed")
	fl.Int64VarP(&f.count, "count", "n", 0, "end after so many records")
	fl.DurationVar(&f.idle, "idle", 0, "end if no record comes for so long")
	fl.BoolVarP(&f.end, "until-end", "e", false, "end where the topics end now")
	fl.BoolVar(&f.committed, "read-committed", false, "leave out what transactions did not commit")
	fl.BoolVar(&f.regex, "regex", false, "the topics are regular expressions")
	fl.BoolVar(&f.key, "key", false, "print the key before the value")
	fl.BoolVar(&f.headers, "headers", false, "print the headers before the value")
	fl.BoolVar(&f.timestamp, "timestamp", false, "print the time before the value")
	fl.StringVar(&f.format, "format", "", "`text` for each record: %t topic, %p partition, %o offset, %k key, %v value, %h headers, %T time, %M ms, %x value in hex, \\n \\t \\\\ %%")
	_ = c.RegisterFlagCompletionFunc("group", s.groupNames())                                                                            // it fails only for an unknown flag
	_ = c.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"earliest", "latest"}, cobra.ShellCompDirectiveNoFileComp)) // as above
	return c
}

// options are those of the client.
func (f *consumeFlags) options(topics []string) ([]kgo.Opt, error) {
	if f.beginning {
		f.from = "earliest"
	}
	at, err := parseFrom(f.from)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.FetchMaxWait(250 * time.Millisecond), kgo.KeepControlRecords()}
	if f.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if len(f.partitions) > 0 {
		if f.group != "" || f.regex {
			return nil, errors.New("--partition goes with neither --group nor --regex")
		}
		all := map[string]map[int32]kgo.Offset{}
		for _, t := range topics {
			all[t] = map[int32]kgo.Offset{}
			for _, p := range f.partitions {
				all[t][p] = at
			}
		}
		return append(opts, kgo.ConsumePartitions(all)), nil
	}
	opts = append(opts, kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(at))
	if f.regex {
		opts = append(opts, kgo.ConsumeRegex())
	}
	if f.group != "" {
		opts = append(opts, kgo.ConsumerGroup(f.group), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second), kgo.BlockRebalanceOnPoll())
	}
	return opts, nil
}

func parseFrom(from string) (kgo.Offset, error) {
	switch strings.ToLower(from) {
	case "earliest", "start", "beginning":
		return kgo.NewOffset().AtStart(), nil
	case "latest", "end":
		return kgo.NewOffset().AtEnd(), nil
	}
	if n, err := strconv.ParseInt(from, 10, 64); err == nil && n >= 0 && n < 1e12 { // larger numbers are ms since 1970
		return kgo.NewOffset().At(n), nil
	}
	when, err := parseTime(from)
	if err != nil {
		return kgo.Offset{}, err
	}
	return kgo.NewOffset().AfterMilli(when.UnixMilli()), nil
}

func (s *session) consume(ctx context.Context, topics []string, f consumeFlags) error {
	opts, err := f.options(topics)
	if err != nil {
		return err
	}
	client, err := s.open(ctx, opts...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if !f.regex {
		if _, err := describeTopics(ctx, &cluster{kadm.NewClient(client), client}, topics); err != nil {
			return err
		}
	}
	r := &reading{s: s, f: &f, client: client, out: bufio.NewWriterSize(s.out, 1<<16), last: map[string]map[int32]kgo.EpochOffset{}}
	if f.end {
		if err := r.findEnds(ctx, topics); err != nil {
			return err
		}
	}
	bar := newProgress(s.err, f.count, "records")
	if isTerminal(s.out) || f.count == 0 && !f.end {
		bar.out = nil // the records themselves show how it goes on
	}
	err = r.loop(ctx, bar)
	bar.end()
	if flushed := r.out.Flush(); flushed != nil {
		return errors.Join(err, flushed)
	}
	return errors.Join(err, r.commit(ctx))
}

// reading is one run of consume.
type reading struct {
	s      *session
	f      *consumeFlags
	client *kgo.Client
	out    *bufio.Writer
	count  int64
	last   map[string]map[int32]kgo.EpochOffset // what is behind the printed records that are not marked yet
	left   map[string]map[int32]int64           // the ends that were not reached yet; nil without --until-end
}

// findEnds notes where the partitions end that have any records to read.
func (r *reading) findEnds(ctx context.Context, topics []string) error {
	a := kadm.NewClient(r.client)
	ends, err := a.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	if r.f.committed {
		if ends, err = a.ListCommittedOffsets(ctx, topics...); err != nil {
			return err
		}
	}
	fixed, numberErr := strconv.ParseInt(r.f.from, 10, 64)
	begins := r.f.from
	if numberErr == nil {
		begins = "earliest"
	}
	from, err := offsetsAt(ctx, &cluster{a, r.client}, begins, topics)
	if err != nil {
		return err
	}
	r.left = map[string]map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		start, _ := from.Lookup(o.Topic, o.Partition)
		begin := start.Offset
		if numberErr == nil {
			begin = max(fixed, begin)
		}
		wanted := len(r.f.partitions) == 0
		for _, p := range r.f.partitions {
			wanted = wanted || p == o.Partition
		}
		if wanted && begin >= 0 && begin < o.Offset {
			if r.left[o.Topic] == nil {
				r.left[o.Topic] = map[int32]int64{}
			}
			r.left[o.Topic][o.Partition] = o.Offset
		}
	})
	return nil
}

func (r *reading) loop(ctx context.Context, bar *progress) error {
	quiet := time.Now().Add(r.f.idle)
	for r.left == nil || len(r.left) > 0 {
		poll, cancel := ctx, context.CancelFunc(func() {})
		if r.f.idle > 0 {
			poll, cancel = context.WithDeadline(ctx, quiet)
		}
		fetches := r.client.PollFetches(poll)
		late := poll.Err() != nil
		cancel()
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled) || kerr.IsRetriable(e.Err) {
				continue
			}
			return fmt.Errorf("%s-%d: %w", e.Topic, e.Partition, connect.Translate(e.Err))
		}
		if fetches.NumRecords() > 0 {
			quiet = time.Now().Add(r.f.idle)
		}
		for _, record := range fetches.Records() {
			if ended, err := r.take(record); ended || err != nil {
				return err
			}
			bar.add(1)
		}
		if err := r.out.Flush(); err != nil {
			return err
		}
		r.mark()
		if ctx.Err() != nil || late && fetches.NumRecords() == 0 {
			return nil
		}
	}
	return nil
}

// take prints a record, and says whether it was the last.
func (r *reading) take(record *kgo.Record) (ended bool, err error) {
	if r.left != nil {
		end, wanted := r.left[record.Topic][record.Partition]
		if !wanted {
			return len(r.left) == 0, nil
		}
		if record.Offset >= end-1 {
			delete(r.left[record.Topic], record.Partition)
			if len(r.left[record.Topic]) == 0 {
				delete(r.left, record.Topic)
			}
		}
		if record.Offset >= end {
			return len(r.left) == 0, nil
		}
	}
	if !record.Attrs.IsControl() {
		if err := r.print(record); err != nil {
			return true, err
		}
		r.count++
	}
	if r.last[record.Topic] == nil {
		r.last[record.Topic] = map[int32]kgo.EpochOffset{}
	}
	r.last[record.Topic][record.Partition] = kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
	return r.f.count > 0 && r.count >= r.f.count || r.left != nil && len(r.left) == 0, nil
}

// mark has the group's offsets behind what was printed committed soon, and before another member gets the partitions.
func (r *reading) mark() {
	if r.f.group == "" {
		return
	}
	r.client.MarkCommitOffsets(r.last)
	clear(r.last)
	r.client.AllowRebalance()
}

// commit writes the group's offsets behind what was printed, of the partitions that this member still has.
func (r *reading) commit(ctx context.Context) error {
	if r.f.group == "" {
		return nil
	}
	r.mark()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return r.client.CommitMarkedOffsets(ctx)
}

// printed is a record in JSON.
type printed struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp int64             `json:"timestamp"`
	Key       *string           `json:"key"`
	Value     *string           `json:"value"`
	Headers   []printedHeader   `json:"headers,omitempty"`
	Encoding  map[string]string `json:"encoding,omitempty"` // of fields that are no text: base64
}

type printedHeader struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

func (r *reading) print(record *kgo.Record) error {
	switch {
	case r.f.format != "":
		_, err := r.out.WriteString(expand(r.f.format, record))
		return err
	case r.s.output == "table":
		return r.printLine(record)
	}
	p := printed{Topic: record.Topic, Partition: record.Partition, Offset: record.Offset, Timestamp: record.Timestamp.UnixMilli()}
	p.Key, p.Value = p.field("key", record.Key), p.field("value", record.Value)
	for _, h := range record.Headers {
		p.Headers = append(p.Headers, printedHeader{h.Key, p.field("headers", h.Value)})
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if r.s.output == "yaml" {
		_, err = fmt.Fprintf(r.out, "--- %s\n", b) // JSON is YAML
		return err
	}
	_, err = r.out.Write(append(b, '\n'))
	return err
}

// field is bytes as text, or in base64 where they are none.
func (p *printed) field(name string, b []byte) *string {
	if b == nil {
		return nil
	}
	text := string(b)
	if !utf8.Valid(b) {
		text = base64.StdEncoding.EncodeToString(b)
		if p.Encoding == nil {
			p.Encoding = map[string]string{}
		}
		p.Encoding[name] = "base64"
	}
	return &text
}

func (r *reading) printLine(record *kgo.Record) error {
	var parts []string
	if r.f.timestamp {
		parts = append(parts, record.Timestamp.Format(time.RFC3339Nano))
	}
	if r.f.headers {
		parts = append(parts, headerText(record.Headers))
	}
	if r.f.key {
		parts = append(parts, orNull(record.Key))
	}
	_, err := io.WriteString(r.out, strings.Join(append(parts, orNull(record.Value)), "\t")+"\n")
	return err
}

func orNull(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

func headerText(headers []kgo.RecordHeader) string {
	all := make([]string, len(headers))
	for i, h := range headers {
		all[i] = h.Key + "=" + orNull(h.Value)
	}
	return strings.Join(all, ",")
}

// expand replaces what --format knows.
func expand(format string, r *kgo.Record) string {
	return strings.NewReplacer("%%", "%", "%t", r.Topic, "%p", strconv.Itoa(int(r.Partition)), "%o", strconv.FormatInt(r.Offset, 10), "%k", orNull(r.Key), "%v", orNull(r.Value),
		"%h", headerText(r.Headers), "%T", r.Timestamp.Format(time.RFC3339Nano), "%M", strconv.FormatInt(r.Timestamp.UnixMilli(), 10), "%x", hex.EncodeToString(r.Value),
		`\n`, "\n", `\t`, "\t", `\\`, `\`).Replace(format)
}
