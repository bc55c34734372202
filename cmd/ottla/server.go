package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/server/config"
)

// startLimit is how long a start may take: the recovery of large logs after a crash takes its time.
const startLimit = 15 * time.Minute

// serverFlags is what the command line says.
type serverFlags struct {
	overrides []string
	ephemeral bool
}

func serverCommand() *cobra.Command {
	var flags serverFlags
	cmd := &cobra.Command{
		Use:   "server [server.properties]",
		Short: "Start a broker",
		Long: "Start a broker with Apache Kafka's own properties file, as it is, or without one: then it listens on localhost:9092 " +
			"and keeps its data in your data folder.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			begin := time.Now()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return serve(ctx, cmd.OutOrStdout(), args, flags, begin)
		},
	}
	cmd.Flags().StringArrayVar(&flags.overrides, "override", nil, "set one configuration `key=value` over the file (repeatable)")
	cmd.Flags().BoolVar(&flags.ephemeral, "ephemeral", false, "keep the data in a temporary folder and remove it at the end")
	return cmd
}

// serve runs a broker until ctx ends.
func serve(ctx context.Context, out io.Writer, args []string, flags serverFlags, begin time.Time) (err error) {
	if flags.ephemeral {
		dir, mkdirErr := os.MkdirTemp("", "ottla-")
		if mkdirErr != nil {
			return mkdirErr
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		flags.overrides = append(flags.overrides, "log.dirs="+filepath.Join(dir, "data"))
	}
	file := ""
	if len(args) > 0 {
		file = args[0]
	}
	c, err := config.Load(file, flags.overrides)
	if err != nil {
		return err
	}
	logger := newLogger(out)
	defer func() { _ = logger.Sync() }() // a terminal cannot be synced: not an error
	for _, w := range c.Warnings {
		logger.Warn(w)
	}
	for _, n := range c.Notices {
		logger.Info(n)
	}
	b := server.New(server.Options{Config: c, Logger: logger})
	startCtx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := b.Start(startCtx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Ottla is ready: bootstrap %s, data in %s, started in %v\n",
		b.Addr(), strings.Join(c.LogDirs, ", "), time.Since(begin).Round(time.Millisecond))
	if err == nil {
		select {
		case <-ctx.Done():
			logger.Info("stopping")
		case err = <-b.Failed():
			logger.Error("stopping after a failure", zap.Error(err))
		}
	}
	stopCtx, cancel := context.WithTimeout(context.Background(), server.ShutdownGrace)
	defer cancel()
	return errors.Join(err, b.Shutdown(stopCtx))
}

// newLogger writes lines for people: time, level, what happened, the facts.
func newLogger(out io.Writer) *zap.Logger {
	e := zap.NewProductionEncoderConfig()
	e.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
	e.EncodeLevel = zapcore.CapitalLevelEncoder
	e.ConsoleSeparator = "  "
	e.CallerKey = zapcore.OmitKey
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(e), zapcore.Lock(zapcore.AddSync(out)), zap.InfoLevel))
}
