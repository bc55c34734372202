package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/server/config"
)

// announcement is a line that programs wait for: test modules for containers know by Apache Kafka's own lines that it is up.
type announcement struct{ class, text string }

// readyLines are those lines for a node that serves. The last is that of Kafka before KRaft, for those who set it up for ZooKeeper.
func readyLines(c *config.Server, zooKeeper bool) []announcement {
	var all []announcement
	if c.IsBroker() {
		all = append(all, announcement{"kafka.server.BrokerLifecycleManager",
			fmt.Sprintf("[BrokerLifecycleManager id=%d] The broker has been unfenced. Transitioning from RECOVERY to RUNNING.", c.NodeID)})
	}
	all = append(all, announcement{"kafka.server.KafkaRaftServer", fmt.Sprintf("[KafkaRaftServer nodeId=%d] Kafka Server started", c.NodeID)})
	if zooKeeper && c.IsBroker() {
		all = append(all, announcement{"kafka.server.KafkaServer", fmt.Sprintf("[KafkaServer id=%d] started", c.NodeID)})
	}
	return all
}

// announce tells people, and then programs, that a node serves. The lines for programs have the form of Kafka's console log, or are the messages of JSON lines.
func announce(out io.Writer, logger *zap.Logger, c *config.Server, text string) error {
	_, zooKeeper := os.LookupEnv("KAFKA_ZOOKEEPER_CONNECT")
	if c.Values.String("ottla.log.format") == "json" {
		logger.Info(text)
		for _, l := range readyLines(c, zooKeeper) {
			logger.Info(l.text, zap.String("class", l.class))
		}
		return nil
	}
	_, err := fmt.Fprintln(out, text)
	at := time.Now().Format("2006-01-02 15:04:05,000")
	for _, l := range readyLines(c, zooKeeper) {
		_, lineErr := fmt.Fprintf(out, "[%s] INFO %s (%s)\n", at, l.text, l.class)
		err = errors.Join(err, lineErr)
	}
	return err
}
