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
	"strconv"
	"strings"
	"sync"
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
	brokers   int // of a cluster in this process
}

func serverCommand() *cobra.Command {
	var flags serverFlags
	cmd := &cobra.Command{
		Use:   "server [server.properties]",
		Short: "Start a broker",
		Long: "Start a broker with Apache Kafka's own properties file, as it is, or without one: then it listens on localhost:9092 " +
			"and keeps its data in your data folder. Variables of the environment count over the file as with Kafka's images: " +
			"KAFKA_NUM_PARTITIONS or KAFKA_CFG_NUM_PARTITIONS is num.partitions; --override counts over both.",
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
	cmd.Flags().IntVar(&flags.brokers, "brokers", 1, "run a cluster of `N` brokers, on ports 9092, 9093, ...")
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
		overrides = append(slices.Clone(overrides), "log.dirs="+dir)
		if flags.brokers == 1 {
			overrides = append(overrides, "metadata.log.dir="+dir)
		}
	}
	configs, err := load(file, overrides, flags.brokers)
	if err != nil {
		return err
	}
	logger := loggerOf(out, configs[0].Values.String("ottla.log.format"))
	n := &nodes{failed: make(chan error, len(configs))}
	for i, c := range configs {
		for _, w := range c.Warnings {
			logger.Warn(w)
		}
		for _, text := range c.Notices {
			logger.Info(text)
		}
		own := logger
		if len(configs) > 1 {
			own = logger.Named("broker-" + strconv.Itoa(i+1))
		}
		n.all = append(n.all, server.New(server.Options{Config: c, Logger: own}))
	}
	startedThriftily := startThriftily()
	err = start(ctx, n)
	startedThriftily()
	if err != nil {
		if ctx.Err() != nil {
			logger.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	for i, c := range configs {
		text := fmt.Sprintf("Ottla is ready: bootstrap %s, data in %s, started in %v", n.all[i].Addr(), strings.Join(c.LogDirs, ", "), rounded(time.Since(begin)))
		err = errors.Join(err, announce(out, logger, c, text))
	}
	if err == nil {
		err = notify(stateReady)
	}
	if err == nil {
		err = run(ctx, n, logger)
	}
	return errors.Join(err, notify(stateStopping), n.Shutdown(context.Background()))
}

// load reads the configuration of one broker, or makes those of a cluster.
func load(file string, overrides []string, brokers int) ([]*config.Server, error) {
	switch {
	case brokers < 1:
		return nil, fmt.Errorf("--brokers %d: must be at least 1", brokers)
	case brokers == 1:
		c, err := config.Sources{File: file, Environment: os.Environ(), Overrides: overrides}.Load()
		return []*config.Server{c}, err
	case file != "":
		return nil, fmt.Errorf("--brokers and %s contradict each other: a file is that of one broker", file)
	}
	return config.LoadCluster(brokers, overrides)
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

// start starts n. When ctx ends meanwhile, it waits for at most startGrace.
func start(ctx context.Context, n *nodes) error {
	started := make(chan error, 1)
	go func() { started <- n.Start(ctx) }()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-started:
		if err == nil { // it was ready at the same moment
			return errors.Join(ctx.Err(), n.Shutdown(context.Background()))
		}
		return err
	case <-time.After(startGrace):
		return ctx.Err()
	}
}

// run waits until ctx ends or one of n fails.
func run(ctx context.Context, n *nodes, logger *zap.Logger) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	go returnMemory(running)
	select {
	case <-ctx.Done():
		logger.Info("stopping")
		return nil
	case err := <-n.failed:
		logger.Error("stopping after a failure")
		return err
	}
}

// nodes are the brokers of this process: one, or those of a cluster, which start and stop together.
type nodes struct {
	all    []*server.Broker
	failed chan error // the first failure of each after its start
}

// Start starts all at once, as each waits until enough of the others are there. When one fails, so do all, and nothing is left running.
func (n *nodes) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errs := make([]error, len(n.all))
	var starting sync.WaitGroup
	for i, b := range n.all {
		starting.Go(func() {
			if errs[i] = b.Start(ctx); errs[i] != nil {
				cancel(errs[i])
			}
		})
	}
	starting.Wait()
	if context.Cause(ctx) == nil {
		for _, b := range n.all {
			go func() { n.failed <- <-b.Failed() }() // until the process ends
		}
		return nil
	}
	for i, b := range n.all {
		if errs[i] == nil {
			_ = b.Shutdown(context.Background()) // the cause is what counts
		}
	}
	return context.Cause(ctx)
}

// Shutdown stops all cleanly. As no broker is left to take over, they do not wait to hand over to each other.
func (n *nodes) Shutdown(ctx context.Context) error {
	if len(n.all) > 1 {
		limited, cancel := context.WithTimeout(ctx, server.ShutdownGrace)
		defer cancel()
		ctx = limited
	}
	errs := make([]error, len(n.all))
	var stopping sync.WaitGroup
	for i, b := range n.all {
		stopping.Go(func() { errs[i] = b.Shutdown(ctx) })
	}
	stopping.Wait()
	return errors.Join(errs...)
}
