package clients

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/ottla/ottla/integration/process"
)

const saramaLimit = awaitLimit

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 100 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 45 * time.Second // nobody is killed, and a busy machine is to throw nobody out
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return c
}

// TestSaramaProducers sends with every codec through both of sarama's producers and reads everything back by partition.
func TestSaramaProducers(t *testing.T) {
	b := process.New(t, "num.partitions=1")
	b.Start(t)
	codecs := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	var want []string
	for _, codec := range codecs {
		c := saramaConfig()
		c.Producer.Compression = codec
		c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
		sent := saramaSync(t, b.Addr, c, codec.String())
		want = append(want, sent...)
		want = append(want, saramaAsync(t, b.Addr, c, codec.String())...)
	}
	consumer, err := sarama.NewConsumer([]string{b.Addr}, saramaConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	partition, err := consumer.ConsumePartition("sarama", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = partition.Close() }()
	for i, value := range want {
		select {
		case m := <-partition.Messages():
			if string(m.Value) != value || m.Offset != int64(i) {
				t.Fatalf("offset %d holds %q; want %q at %d", m.Offset, m.Value, value, i)
			}
		case <-time.After(saramaLimit):
			t.Fatalf("record %d of %d did not come", i, len(want))
		}
	}
}

func saramaSync(t *testing.T, addr string, c *sarama.Config, name string) (sent []string) {
	producer, err := sarama.NewSyncProducer([]string{addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close() }()
	for i := range 20 {
		value := fmt.Sprintf("sync %s %d", name, i)
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "sarama", Value: sarama.StringEncoder(value)}); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, value)
	}
	return sent
}

func saramaAsync(t *testing.T, addr string, c *sarama.Config, name string) (sent []string) {
	producer, err := sarama.NewAsyncProducer([]string{addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range producer.Successes() {
		}
	}()
	for i := range 200 {
		value := fmt.Sprintf("async %s %d", name, i)
		producer.Input() <- &sarama.ProducerMessage{Topic: "sarama", Value: sarama.StringEncoder(value)}
		sent = append(sent, value)
	}
	if err := producer.Close(); err != nil {
		t.Fatal(err)
	}
	<-done
	return sent
}

// TestSaramaGroup lets members join and leave a group while records come; each record is consumed, and a last member finds
// the committed offsets of the others.
func TestSaramaGroup(t *testing.T) {
	b := process.New(t, "num.partitions=4", noGroupDelay)
	b.Start(t)
	c := saramaConfig()
	seen := &tally{seen: make(map[string]int)}

	first := saramaMember(t, b.Addr, c, seen)
	saramaSendGroup(t, b.Addr, c, 0, 200)
	seen.wait(t, 200)
	second := saramaMember(t, b.Addr, c, seen)
	<-second.assigned
	saramaSendGroup(t, b.Addr, c, 200, 400)
	seen.wait(t, 400)
	first.leave(t)
	saramaSendGroup(t, b.Addr, c, 400, 600)
	seen.wait(t, 600)
	second.leave(t)

	before := seen.total()
	third := saramaMember(t, b.Addr, c, seen)
	<-third.assigned
	saramaSendGroup(t, b.Addr, c, 600, 601)
	seen.wait(t, 601)
	third.leave(t)
	if again := seen.total() - before; again != 1 {
		t.Errorf("the last member consumed %d records; everything but one was committed", again)
	}
}

func saramaSendGroup(t *testing.T, addr string, c *sarama.Config, from, to int) {
	producer, err := sarama.NewSyncProducer([]string{addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close() }()
	var batch []*sarama.ProducerMessage
	for i := from; i < to; i++ {
		key := sarama.StringEncoder(fmt.Sprint(i))
		batch = append(batch, &sarama.ProducerMessage{Topic: "sarama-group", Key: key, Value: key})
	}
	if err := producer.SendMessages(batch); err != nil {
		t.Fatal(err)
	}
}

// tally counts what the members of a group consumed.
type tally struct {
	mu      sync.Mutex
	seen    map[string]int // guarded by mu
	changed chan struct{}  // guarded by mu: closed and replaced at each record
}

func (s *tally) add(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[value]++
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *tally) total() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.seen {
		n += times
	}
	return n
}

func (s *tally) wait(t *testing.T, distinct int) {
	t.Helper()
	limit := time.After(saramaLimit)
	for {
		s.mu.Lock()
		n := len(s.seen)
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if n >= distinct {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%d of %d records were consumed after %v", n, distinct, saramaLimit)
		}
	}
}

// member is one consumer of a group.
type member struct {
	seen     *tally
	group    sarama.ConsumerGroup
	cancel   context.CancelFunc
	done     chan error
	assigned chan struct{}
	once     sync.Once
}

func saramaMember(t *testing.T, addr string, c *sarama.Config, seen *tally) *member {
	group, err := sarama.NewConsumerGroup([]string{addr}, "sarama-group", c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{seen: seen, group: group, cancel: cancel, done: make(chan error, 1), assigned: make(chan struct{})}
	go func() {
		for {
			if err := group.Consume(ctx, []string{"sarama-group"}, m); err != nil || ctx.Err() != nil {
				m.done <- err
				return
			}
		}
	}()
	return m
}

func (m *member) leave(t *testing.T) {
	m.cancel()
	if err := <-m.done; err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) && !errors.Is(err, context.Canceled) {
		t.Errorf("the member ended with %v", err)
	}
	if err := m.group.Close(); err != nil {
		t.Errorf("cannot leave the group: %v", err)
	}
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	if len(s.Claims()["sarama-group"]) > 0 {
		m.once.Do(func() { close(m.assigned) })
	}
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.seen.add(string(message.Value))
		s.MarkMessage(message, "")
	}
	return nil
}
