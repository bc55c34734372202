package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/ottla/ottla/server"
	"github.com/ottla/ottla/server/config"
)

// startGrace is how long a start may go on after it was told to stop. Recovery after a crash does not end before its time; it
// is left alone then, as another crash costs nothing.
const startGrace = 500 * time.Millisecond

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
			limitMemory()
			ctx, stop := signal.NotifyContext(cmd.Context(), stopSignals()...)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process at once
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			return serve(ctx, cmd.OutOrStdout(), file, flags, begin)
		},
	}
	cmd.Flags().StringArrayVar(&flags.overrides, "override", nil, "set one configuration `key=value` over the file (repeatable)")
	cmd.Flags().BoolVar(&flags.ephemeral, "ephemeral", false, "keep the data in a temporary folder and remove it at the end")
	return cmd
}

// stopSignals are the signals that stop the broker cleanly. A hang-up that was ignored when the process began (nohup) stays so.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// serve runs a broker until ctx ends, which is no error.
func serve(ctx context.Context, out io.Writer, file string, flags serverFlags, begin time.Time) (err error) {
	overrides := flags.overrides
	if flags.ephemeral {
		dir, tempErr := temporaryData(overrides)
		if tempErr != nil {
			return tempErr
		}
		defer func() { err = errors.Join(err, os.RemoveAll(filepath.Dir(dir))) }()
		overrides = append(slices.Clone(overrides), "log.dirs="+dir, "metadata.log.dir="+dir)
	}
	c, err := config.Load(file, overrides)
	if err != nil {
		return err
	}
	logger := newLogger(out)
	for _, w := range c.Warnings {
		logger.Warn(w)
	}
	for _, n := range c.Notices {
		logger.Info(n)
	}
	b := server.New(server.Options{Config: c, Logger: logger})
	if err := start(ctx, b); err != nil {
		if ctx.Err() != nil {
			logger.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	_, err = fmt.Fprintf(out, "Ottla is ready: bootstrap %s, data in %s, started in %v\n",
		b.Addr(), strings.Join(c.LogDirs, ", "), rounded(time.Since(begin)))
	if err == nil {
		err = run(ctx, b, logger)
	}
	return errors.Join(err, b.Shutdown(context.Background()))
}

// temporaryData makes the folder of an ephemeral broker's data; its parent is to be removed.
func temporaryData(overrides []string) (string, error) {
	for _, o := range overrides {
		if key, _, _ := strings.Cut(o, "="); slices.Contains([]string{"log.dirs", "log.dir", "metadata.log.dir"}, strings.TrimSpace(key)) {
			return "", fmt.Errorf("--ephemeral and --override %s contradict each other: an ephemeral broker's data is in a folder of its own", o)
		}
	}
	dir, err := os.MkdirTemp("", "ottla-")
	if err != nil {
		return "", fmt.Errorf("--ephemeral: %w", err)
	}
	return filepath.Join(dir, "data"), nil
}

// start starts b. When ctx ends meanwhile, it waits for at most startGrace.
func start(ctx context.Context, b *server.Broker) error {
	started := make(chan error, 1)
	go func() { started <- b.Start(ctx) }()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-started:
		if err == nil { // it was ready at the same moment
			return errors.Join(ctx.Err(), b.Shutdown(context.Background()))
		}
		return err
	case <-time.After(startGrace):
		return ctx.Err()
	}
}

// run waits until ctx ends or b fails.
func run(ctx context.Context, b *server.Broker, logger *zap.Logger) error {
	select {
	case <-ctx.Done():
		logger.Info("stopping")
		return nil
	case err := <-b.Failed():
		logger.Error("stopping after a failure")
		return err
	}
}
