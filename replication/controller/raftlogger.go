package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/zap"
)

// raftLogger passes hashicorp/raft's warnings and errors to zap. What raft calls information (elections, snapshots) is debug here, and so is what it
// says again and again while another controller is away: the transport tells of that, once. In a quorum of one its warnings about missed heartbeats say
// nothing, so they are debug too.
type raftLogger struct {
	hclog.Logger // the null logger: what is not overridden does nothing
	z            *zap.SugaredLogger
	single       bool
}

func newRaftLogger(logger *zap.Logger, single bool) hclog.Logger {
	return &raftLogger{Logger: hclog.NewNullLogger(), z: logger.Sugar(), single: single}
}

// Log implements hclog.Logger.
func (l *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	switch level {
	case hclog.Error:
		l.Error(msg, args...)
	case hclog.Warn:
		l.Warn(msg, args...)
	default:
		l.Debug(msg, args...)
	}
}

// Debug implements hclog.Logger; raft's details are not logged.
func (l *raftLogger) Debug(string, ...any) {}

// Info implements hclog.Logger.
func (l *raftLogger) Info(msg string, args ...any) { l.z.Debugw("raft: "+msg, printable(args)...) }

// Warn implements hclog.Logger.
func (l *raftLogger) Warn(msg string, args ...any) {
	if l.single || repeated(msg) || expected(args) {
		l.Info(msg, args...)
		return
	}
	l.z.Warnw("raft: "+msg, printable(args)...)
}

// Error implements hclog.Logger.
func (l *raftLogger) Error(msg string, args ...any) {
	if repeated(msg) || expected(args) {
		l.Info(msg, args...)
		return
	}
	l.z.Errorw("raft: "+msg, printable(args)...)
}

// repeated reports whether msg is one of those that raft repeats while a controller is away, or has fallen behind.
func repeated(msg string) bool {
	switch msg {
	case "failed to appendEntries to", "failed to heartbeat to", "failed to install snapshot", "failed to send snapshot to", "failed to make requestVote RPC",
		"failed to contact", "failed to get previous log", "appendEntries rejected, sending older logs", "Election timeout reached, restarting election":
		return true
	}
	return strings.HasPrefix(msg, "rejecting ")
}

// closedHere reports whether a connection ended because this side closed it.
func closedHere(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, raft.ErrTransportShutdown)
}

// broken reports whether a connection ended because the other side is gone.
func broken(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op)
}

// expected reports whether the arguments are those of what happens at every start and stop: an election where nobody has led yet, connections that one side closed.
func expected(args []any) bool {
	for i := 0; i+1 < len(args); i += 2 {
		switch v := args[i+1].(type) {
		case error:
			if closedHere(v) || broken(v) {
				return true
			}
		default:
			if args[i] == "last-leader-id" && fmt.Sprint(v) == "" {
				return true
			}
		}
	}
	return false
}

// With implements hclog.Logger.
func (l *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{Logger: l.Logger, z: l.z.With(printable(args)...), single: l.single}
}

// Named implements hclog.Logger.
func (l *raftLogger) Named(string) hclog.Logger { return l }

// ResetNamed implements hclog.Logger.
func (l *raftLogger) ResetNamed(string) hclog.Logger { return l }

// printable turns hclog's lazily formatted arguments into strings.
func printable(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		out[i] = a
	}
	return out
}
