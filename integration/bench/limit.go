package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// limitServer is what the machine costs: it reads a produce frame into one buffer, writes the batch to a file with one call and
// answers with bytes made in advance; it answers a fetch with sendfile. It checks nothing, and knows only what wire.go sends: each connection
// repeats one request, and all batches of a partition have one size.
type limitServer struct {
	dir string

	mu    sync.Mutex
	files map[string]*limitFile // guarded by mu
}

// limitFile is one partition.
type limitFile struct {
	*os.File

	mu    sync.Mutex
	size  int64 // guarded by mu
	batch int64 // size of each; guarded by mu
}

func serveLimit(port int, dir string) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	s := &limitServer{dir: dir, files: map[string]*limitFile{}}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go func() { // until the client goes, or the process is killed
			defer func() { _ = nc.Close() }()
			c := limitConn{s: s, nc: nc.(*net.TCPConn), buf: make([]byte, 1<<20)}
			if err := c.serve(); !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// file returns the file of a partition.
func (s *limitServer) file(topic string, partition int32) (*limitFile, error) {
	name := topic + "-" + strconv.Itoa(int(partition))
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[name]; f != nil {
		return f, nil
	}
	f, err := os.Create(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	s.files[name] = &limitFile{File: f}
	return s.files[name], nil
}

// remove deletes a topic.
func (s *limitServer) remove(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, f := range s.files {
		if strings.HasPrefix(name, topic+"-") {
			_ = f.Close()
			_ = os.Remove(f.Name())
			delete(s.files, name)
		}
	}
}

// limitConn is one connection, with what its first request taught.
type limitConn struct {
	s    *limitServer
	nc   *net.TCPConn
	buf  []byte
	file *limitFile

	batchAt, batchEnd int // in a produce frame
	offsetAt          int // in a fetch frame
	answer            []byte
	head, tail        []byte // of a fetch answer
}

// serve answers until an error, io.EOF when the client has gone.
func (c *limitConn) serve() error {
	have := 0
	for {
		for have < 4 || have < 4+int(binary.BigEndian.Uint32(c.buf)) {
			n, err := c.nc.Read(c.buf[have:])
			if err != nil {
				return err
			}
			have += n
		}
		end := 4 + int(binary.BigEndian.Uint32(c.buf))
		if err := c.handle(c.buf[4:end]); err != nil {
			return err
		}
		have = copy(c.buf, c.buf[end:have])
	}
}

func (c *limitConn) handle(frame []byte) error {
	switch kmsg.Key(binary.BigEndian.Uint16(frame)) { //nolint:exhaustive // the rest is not sent
	case kmsg.Produce:
		return c.produce(frame)
	case kmsg.Fetch:
		return c.fetch(frame)
	case kmsg.CreateTopics:
		return c.reply(frame, kmsg.NewPtrCreateTopicsResponse())
	case kmsg.DeleteTopics:
		req := kmsg.NewPtrDeleteTopicsRequest()
		if err := decode(req, frame); err != nil {
			return err
		}
		for _, t := range req.TopicNames {
			c.s.remove(t)
		}
		return c.reply(frame, kmsg.NewPtrDeleteTopicsResponse())
	}
	return fmt.Errorf("api key %d", binary.BigEndian.Uint16(frame))
}

// decode reads a request of which only the client id and the body vary in size.
func decode(req kmsg.Request, frame []byte) error {
	req.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	body := frame[10+binary.BigEndian.Uint16(frame[8:]):]
	if req.IsFlexible() {
		body = body[1:]
	}
	return req.ReadFrom(body)
}

// encode makes a whole response frame, with correlation id 0.
func encode(resp kmsg.Response) []byte {
	out := make([]byte, 8)
	if resp.IsFlexible() {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

func (c *limitConn) reply(frame []byte, resp kmsg.Response) error {
	resp.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	out := encode(resp)
	copy(out[4:8], frame[4:8])
	_, err := c.nc.Write(out)
	return err
}

func (c *limitConn) produce(frame []byte) error {
	if c.file == nil {
		if err := c.learnProduce(frame); err != nil {
			return err
		}
	}
	b := frame[c.batchAt:c.batchEnd]
	c.file.mu.Lock()
	_, err := c.file.WriteAt(b, c.file.size)
	c.file.size += int64(len(b))
	c.file.batch = int64(len(b))
	c.file.mu.Unlock()
	if err != nil {
		return err
	}
	copy(c.answer[4:8], frame[4:8])
	_, err = c.nc.Write(c.answer)
	return err
}

func (c *limitConn) learnProduce(frame []byte) error {
	req := kmsg.NewPtrProduceRequest()
	if err := decode(req, frame); err != nil {
		return err
	}
	t := req.Topics[0]
	p := t.Partitions[0]
	f, err := c.s.file(t.Topic, p.Partition)
	if err != nil {
		return err
	}
	c.file = f
	c.batchEnd = len(frame) - 3 // behind the records stand the tags of partition, topic and request
	c.batchAt = c.batchEnd - len(p.Records)
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = req.Version
	topic, partition := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
	topic.Topic, partition.Partition = t.Topic, p.Partition
	topic.Partitions = append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
	c.answer = encode(resp)
	return nil
}

func (c *limitConn) fetch(frame []byte) error {
	if c.file == nil {
		if err := c.learnFetch(frame); err != nil {
			return err
		}
	}
	c.file.mu.Lock()
	size, batch := c.file.size, c.file.batch
	c.file.mu.Unlock()
	at := int64(binary.BigEndian.Uint64(frame[c.offsetAt:])) / largeRecords * batch
	n := min(size-at, partitionBytes/batch*batch)
	head := binary.AppendUvarint(c.head[:len(c.head):cap(c.head)], uint64(n)+1)
	copy(head[4:8], frame[4:8])
	binary.BigEndian.PutUint32(head, uint32(int64(len(head)-4+len(c.tail))+n))
	if _, err := c.nc.Write(head); err != nil {
		return err
	}
	if err := c.sendfile(at, int(n)); err != nil {
		return err
	}
	_, err := c.nc.Write(c.tail)
	return err
}

func (c *limitConn) learnFetch(frame []byte) error {
	req := kmsg.NewPtrFetchRequest()
	if err := decode(req, frame); err != nil {
		return err
	}
	t := req.Topics[0]
	f, err := c.s.file(t.Topic, t.Partitions[0].Partition)
	if err != nil {
		return err
	}
	c.file = f
	// Behind the offset: last fetched epoch, log start offset, size, tags of partition and topic; forgotten topics, rack, tags.
	c.offsetAt = len(frame) - 3 - 2 - 4 - 8 - 4 - 8
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = req.Version
	topic, partition := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	topic.Topic, partition.Partition, partition.RecordBatches = t.Topic, t.Partitions[0].Partition, []byte{}
	topic.Partitions = append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
	whole := encode(resp)
	c.tail = whole[len(whole)-3:]
	c.head = append(make([]byte, 0, 2*len(whole)), whole[:len(whole)-4]...) // without the size of the records
	return nil
}

// sendfile sends n bytes of the file.
func (c *limitConn) sendfile(at int64, n int) error {
	raw, err := c.nc.SyscallConn()
	if err != nil {
		return err
	}
	src := int(c.file.Fd())
	var failed error
	err = raw.Write(func(dst uintptr) bool {
		for n > 0 && failed == nil {
			sent, err := syscall.Sendfile(int(dst), src, &at, n)
			if sent > 0 {
				n -= sent
				continue
			}
			if err == syscall.EAGAIN {
				return false
			}
			if failed = err; err == nil {
				failed = io.ErrUnexpectedEOF
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}
