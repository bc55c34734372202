package server

import (
	"time"

	"go.uber.org/zap"
)

// clock is the time since the server was made.
func (s *socketServer) clock() time.Duration { return time.Since(s.born) }

// measured counts a request that a handler has seen, and logs it if it was slow, or the logger of requests was set to DEBUG, as kafka.request.logger is in Apache Kafka.
func (c *conn) measured(a *answer) {
	t := &a.times
	t.Send = c.server.clock() - a.begin - t.Queue - t.Local - t.Remote
	switch r := a.result; {
	case r.Response != nil:
		c.server.codes.count(r.Response, &a.codes)
	case r.Gather != nil:
		r.Gather.Codes(&a.codes)
	}
	c.counts.Record(a.request.Key, a.request.Version, a.size, *t, &a.codes)
	if slow := c.server.slow; slow > 0 {
		took := t.Queue + t.Local + t.Send
		if !waitsByNature(a.request.Key) {
			took += t.Remote
		}
		if took >= slow {
			c.slowRequest(a)
		}
	}
	if line := c.server.requestLog.Check(zap.DebugLevel, "request"); line != nil {
		line.Write(c.described(a)...)
	}
}

// waitsByNature reports whether requests of an API wait for what clients do, for as long as that takes.
func waitsByNature(key int16) bool {
	return key == keyFetch || key == keyJoinGroup || key == keySyncGroup
}

// slowRequest logs one request that was slow.
func (c *conn) slowRequest(a *answer) { c.server.slowLogs.warn("slow request", c.described(a)...) }

// described is what the log says of a request.
func (c *conn) described(a *answer) []zap.Field {
	fields := []zap.Field{
		zap.String("api", apiName(c.server.node.Routes, a.request.Key)), zap.Int16("version", a.request.Version), zap.Int("bytes", a.size),
		zap.Duration("queue", a.times.Queue), zap.Duration("local", a.times.Local), zap.Duration("remote", a.times.Remote), zap.Duration("send", a.times.Send),
	}
	if a.request.ClientID != nil {
		fields = append(fields, zap.String("client", *a.request.ClientID))
	}
	return append(fields, c.where()...)
}
