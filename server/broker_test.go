package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/server/config"
	"github.com/ottla/ottla/storage/vfs"
)

// startLimit is how long a start or a stop of a test may take.
const startLimit = 2 * time.Minute

// settings are those of a node in memory; more are key, value, key, value.
func settings(t *testing.T, more ...string) *config.Server {
	t.Helper()
	all := map[string]string{
		"node.id": "1", "process.roles": "broker,controller", "listeners": "PLAINTEXT://127.0.0.1:0", "log.dirs": "/data",
		"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "3",
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	c, err := config.FromSettings(all)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// started starts a broker, which the test shuts down.
func started(t *testing.T, o server.Options) *server.Broker {
	t.Helper()
	b := server.New(o)
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

func shutdown(t *testing.T, b *server.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), server.ShutdownGrace)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, addr, topic string, values ...string) {
	t.Helper()
	c := client(t, addr)
	defer c.Close()
	for _, v := range values {
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// consume reads n records as a member of a group and commits them.
func consume(t *testing.T, addr, topic, group string, n int) (values []string) {
	t.Helper()
	c := client(t, addr, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	for len(values) < n {
		fetched := c.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			t.Fatal(err)
		}
		fetched.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	return values
}

func TestStartAndStopManyTimes(t *testing.T) {
	fs := vfs.NewMem()
	var cluster string
	for i := range 20 {
		b := started(t, server.Options{Config: settings(t), FS: fs, Logger: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))})
		if i == 0 {
			cluster = b.ClusterID()
		}
		if b.ClusterID() != cluster {
			t.Errorf("start %d: the cluster was %s and is %s", i, cluster, b.ClusterID())
		}
		shutdown(t, b)
		shutdown(t, b) // a second time does nothing
	}
}

// What was acknowledged, and what was decided, is there after a restart: a clean one, and one after which the disk has only what was synced.
// Both also by the rules of Windows for open files.
func TestRestartKeepsEverything(t *testing.T) {
	t.Run("unix", func(t *testing.T) { restartKeepsEverything(t, vfs.NewMem()) })
	t.Run("windows", func(t *testing.T) { restartKeepsEverything(t, vfs.NewWindowsMem()) })
}

func restartKeepsEverything(t *testing.T, fs *vfs.Mem) {
	b := started(t, server.Options{Config: settings(t), FS: fs})
	admin := kadm.NewClient(client(t, b.Addr()))
	retention := "12345678"
	if _, err := admin.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &retention}, "t"); err != nil {
		t.Fatal(err)
	}
	made, err := admin.ListTopics(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	produce(t, b.Addr(), "t", "a", "b", "c", "d")
	if got := fmt.Sprint(consume(t, b.Addr(), "t", "g", 4)); got != "[a b c d]" {
		t.Errorf("read %s", got)
	}
	producer := newProducerID(t, b.Addr())
	shutdown(t, b)
	for i, again := range []*vfs.Mem{fs, fs.Crash(1)} {
		b := started(t, server.Options{Config: settings(t), FS: again})
		admin := kadm.NewClient(client(t, b.Addr()))
		found, err := admin.ListTopics(t.Context(), "t")
		if err != nil || found["t"].ID != made["t"].ID || len(found["t"].Partitions) != 1 {
			t.Errorf("start %d: topic %v, %v", i, found["t"], err)
		}
		configs, err := admin.DescribeTopicConfigs(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" && c.MaybeValue() != retention {
				t.Errorf("start %d: retention.ms %s", i, c.MaybeValue())
			}
		}
		offsets, err := admin.FetchOffsets(t.Context(), "g")
		if o, _ := offsets.Lookup("t", 0); err != nil || o.At != 4 {
			t.Errorf("start %d: committed offset %d, %v", i, o.At, err)
		}
		produce(t, b.Addr(), "t", "e")
		if got := fmt.Sprint(consume(t, b.Addr(), "t", "g", 1)); got != "[e]" {
			t.Errorf("start %d: the group goes on with %s", i, got)
		}
		if got := fmt.Sprint(consume(t, b.Addr(), "t", "another", 5)); got != "[a b c d e]" {
			t.Errorf("start %d: read %s", i, got)
		}
		if id := newProducerID(t, b.Addr()); id <= producer {
			t.Errorf("start %d: producer id %d was given before: %d", i, id, producer)
		}
		shutdown(t, b)
	}
}

func newProducerID(t *testing.T, addr string) int64 {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	resp, err := req.RequestWith(t.Context(), client(t, addr))
	if err != nil || resp.ErrorCode != 0 {
		t.Fatalf("InitProducerId: %v, %d", err, resp.ErrorCode)
	}
	return resp.ProducerID
}

// A start that is told to stop at any moment returns soon, has closed everything, and can be made again.
func TestStartIsCancelled(t *testing.T) {
	fs := vfs.NewMem()
	for i := range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		because := errors.New("told to stop")
		time.AfterFunc(time.Duration(i)*200*time.Microsecond, func() { cancel(because) })
		b := server.New(server.Options{Config: settings(t), FS: fs})
		err := b.Start(ctx)
		if err != nil && !errors.Is(err, because) {
			t.Fatal(err)
		}
		shutdown(t, b)
		cancel(nil)
	}
	shutdown(t, started(t, server.Options{Config: settings(t), FS: fs}))
}

// slowDisk is a file system on which syncing a file takes until the test says so.
type slowDisk struct {
	vfs.FS
	release <-chan struct{}
}

func (d slowDisk) Create(path string) (vfs.File, error) {
	f, err := d.FS.Create(path)
	return slowFile{f, d.release}, err
}

type slowFile struct {
	vfs.File
	release <-chan struct{}
}

func (f slowFile) Sync() error {
	<-f.release
	return f.File.Sync()
}

// While the quorum's first write is under way the start can be told to stop; it ends when the disk has answered.
func TestStartIsCancelledOnASlowDisk(t *testing.T) {
	release := make(chan struct{})
	b := server.New(server.Options{Config: settings(t), FS: slowDisk{vfs.NewMem(), release}})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- b.Start(ctx) }()
	cancel()
	close(release)
	select {
	case err := <-result:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("start: %v", err)
		}
		shutdown(t, b)
	case <-time.After(startLimit):
		t.Fatal("the start did not end")
	}
}

// Whichever operation of the disk fails during a start, the start fails with that error or the broker runs; nothing stays open, and the
// next start on the same disk works.
func TestStartOnAFailingDisk(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpCreate, vfs.OpWrite, vfs.OpRename, vfs.OpMkdir, vfs.OpLock, vfs.OpReadFile, vfs.OpList} {
		t.Run(string(op), func(t *testing.T) {
			for skip := 0; ; skip++ {
				faulty := vfs.NewFaulty(vfs.NewMem())
				hits, remove := faulty.Inject(vfs.Fault{Op: op, Skip: skip, Err: syscall.EIO})
				b := server.New(server.Options{Config: settings(t), FS: faulty})
				ctx, cancel := context.WithTimeout(t.Context(), startLimit)
				err := b.Start(ctx)
				cancel()
				if err != nil && !errors.Is(err, syscall.EIO) {
					t.Errorf("after %d: %v", skip, err)
				}
				struck := hits() > 0
				_ = b.Shutdown(context.Background()) // what fails on such a disk is not of interest
				remove()
				shutdown(t, started(t, server.Options{Config: settings(t), FS: faulty}))
				if err == nil && !struck {
					return
				}
				if skip > 200 {
					t.Fatal("the start does not get by")
				}
			}
		})
	}
}

// A broker whose disk is full refuses what it cannot write, and goes on; one whose disk fails says so, once, and can be
// shut down.
func TestFailed(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	b := started(t, server.Options{Config: settings(t), FS: faulty})
	produce(t, b.Addr(), "t", "a")
	refused := func(cause error) (heal func()) {
		_, heal = faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Err: cause})
		c := client(t, b.Addr(), kgo.RecordRetries(0))
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("b")}).FirstErr(); err == nil {
			t.Errorf("a record was acknowledged that could not be written: %v", cause)
		}
		return heal
	}
	refused(syscall.ENOSPC)()
	produce(t, b.Addr(), "t", "c")
	select {
	case err := <-b.Failed():
		t.Fatalf("it failed on a good disk: %v", err)
	default:
	}
	refused(syscall.EIO)
	select {
	case err := <-b.Failed():
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("it failed with %v", err)
		}
	case <-time.After(startLimit):
		t.Fatal("it did not fail")
	}
	_ = b.Shutdown(context.Background()) // its disk is broken
}

// A port that is in use is found before the data is touched.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	fs := vfs.NewMem()
	b := server.New(server.Options{Config: settings(t, "listeners", "A://127.0.0.1:0,B://"+l.Addr().String(),
		"listener.security.protocol.map", "A:PLAINTEXT,B:PLAINTEXT"), FS: fs})
	if err := b.Start(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("start: %v", err)
	}
	if _, err := fs.Stat("/data"); err == nil {
		t.Error("the data folder was made")
	}
}

// localhost is both addresses of the machine itself, with one port, also where the system chooses it.
func TestLocalhost(t *testing.T) {
	b := started(t, server.Options{Config: settings(t, "listeners", "PLAINTEXT://localhost:0"), FS: vfs.NewMem()})
	defer shutdown(t, b)
	host, port, err := net.SplitHostPort(b.Addr())
	if err != nil || host != "localhost" || port == "0" {
		t.Fatalf("address %s, %v", b.Addr(), err)
	}
	addresses := []string{"127.0.0.1"}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close()
		addresses = append(addresses, "::1")
	}
	for _, address := range addresses {
		produce(t, net.JoinHostPort(address, port), "t", address)
	}
	if got := consume(t, b.Addr(), "t", "g", len(addresses)); fmt.Sprint(got) != fmt.Sprint(addresses) {
		t.Errorf("read %q", got)
	}
}

// The port of localhost must be free on both addresses; where the system chooses, it chooses again.
func TestLocalhostTakesAPortThatIsFreeOnBoth(t *testing.T) {
	var refused, closed int
	o := server.Options{Config: settings(t, "listeners", "PLAINTEXT://localhost:0"), FS: vfs.NewMem()}
	o.Listen = func(network, address string) (net.Listener, error) {
		host, _, err := net.SplitHostPort(address)
		if err == nil && host == "::1" && refused < 3 {
			refused++
			return nil, []error{syscall.EADDRINUSE, syscall.Errno(10048), syscall.EADDRINUSE}[refused-1] // the second is what Windows answers
		}
		l, err := net.Listen(network, address)
		return countedListener{l, &closed}, err
	}
	shutdown(t, started(t, o))
	if refused != 3 || closed < 3 {
		t.Errorf("%d refused, %d closed", refused, closed)
	}
}

type countedListener struct {
	net.Listener
	closed *int
}

func (l countedListener) Close() error {
	*l.closed++
	return l.Listener.Close()
}

// Parked requests and idle connections do not hold up a stop.
func TestShutdownDoesNotWaitForParkedRequests(t *testing.T) {
	b := started(t, server.Options{Config: settings(t), FS: vfs.NewMem()})
	produce(t, b.Addr(), "t", "a")
	c := client(t, b.Addr(), kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.FetchMaxWait(time.Minute))
	if err := c.PollFetches(t.Context()).Err(); err != nil { // the next fetch waits for more
		t.Fatal(err)
	}
	began := time.Now()
	shutdown(t, b)
	if took := time.Since(began); took > 30*time.Second { // half of what the fetch waits for; a loaded machine takes some of it
		t.Errorf("the stop took %v", took)
	}
}
