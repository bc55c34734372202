package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// threadCounts may only be halved or doubled by one dynamic change, and with them those of one listener.
var threadCounts = []string{
	"num.io.threads", "num.network.threads", "num.replica.fetchers", "num.recovery.threads.per.data.dir", "background.threads",
	cleanerThreads, "remote.log.reader.threads", "remote.log.manager.copier.thread.pool.size",
	"remote.log.manager.expiration.thread.pool.size", "remote.log.manager.follower.thread.pool.size",
}

const cleanerThreads = "log.cleaner.threads"

// startOnly are the keys that Kafka changes at run time and this broker reads at start only: the folders are recovered before the metadata is known. A change is refused.
var startOnly = []string{"num.recovery.threads.per.data.dir"}

// storeKeys are the security keys that change for one listener only (SslConfigs.RECONFIGURABLE_CONFIGS).
var storeKeys = []string{
	"ssl.keystore.type", "ssl.keystore.location", "ssl.keystore.password", "ssl.key.password", "ssl.keystore.key", "ssl.keystore.certificate.chain",
	"ssl.truststore.type", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.certificates",
}

// openListenerKeys change for a listener that is open (SocketServer.LISTENER_RECONFIGURABLE_CONFIGS, DataPlaneAcceptor's).
var openListenerKeys = []string{"max.connections", "max.connection.creation.rate", "num.network.threads"}

// listenerBase is the key that name sets for one listener, or name itself.
func listenerBase(name string) string {
	if rest, ok := strings.CutPrefix(name, listenerPrefix); ok {
		if listener, base, ok := strings.Cut(rest, "."); ok && listener != "" && base != "" {
			return base
		}
	}
	return name
}

// PerBrokerOnly reports whether a dynamic config may be set for one broker only: by its row, or as one of a listener, of which three may be set for all.
func PerBrokerOnly(name string) bool {
	if k := brokers.lookup(name); k != nil {
		return k.Update == PerBroker
	}
	base := listenerBase(name)
	if base == name {
		return false
	}
	k := brokers.lookup(base)
	return k == nil || listenerUpdate(k) != ClusterWide
}

// CheckDynamic checks of what the dynamic configs of one broker (perBroker) or of all brokers would be what can be told without the values of a broker. The error
// is InvalidRequest, in Kafka's words (DynamicBrokerConfig.validate). Unknown names pass, as Kafka's brokers keep them for plugins.
func CheckDynamic(overrides map[string]string, perBroker bool) error {
	names := slices.Sorted(maps.Keys(overrides))
	refused := func(what string, bad func(name string) bool) error {
		all := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !bad(name) })
		if len(all) == 0 {
			return nil
		}
		return protocol.Errorf(protocol.InvalidRequest, "%s: [%s]", what, strings.Join(all, ", "))
	}
	err := refused("Cannot update these configs dynamically", func(name string) bool {
		k := brokers.lookup(name)
		return k != nil && k.Update == ReadOnly
	})
	if err != nil {
		return err
	}
	err = refused("These security configs can be dynamically updated only per-listener using the listener prefix", func(name string) bool {
		return slices.Contains(storeKeys, name)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if k := brokers.lookup(listenerBase(name)); k != nil && k.Name != "config.providers" { // which Kafka takes out before
			if err := k.Check(overrides[name]); err != nil {
				return protocol.Errorf(protocol.InvalidRequest, "%s", *protocol.MessageOf(err))
			}
		}
	}
	if !perBroker {
		if err := refused("Cannot update these configs at default cluster level, broker id must be specified", PerBrokerOnly); err != nil {
			return err
		}
	}
	return refused("Cannot update these configs while the broker runs, as they are read at its start", func(name string) bool {
		return slices.Contains(startOnly, name)
	})
}

// ValidateDynamic is CheckDynamic, and checks the values that a broker whose values are v would get.
func (v Values) ValidateDynamic(overrides map[string]string, perBroker bool) error {
	if err := CheckDynamic(overrides, perBroker); err != nil {
		return err
	}
	return v.validateChange(v.AfterDynamic(overrides, perBroker), slices.Sorted(maps.Keys(overrides)))
}

// AfterDynamic is what v becomes when these are the dynamic configs of its broker (perBroker) or of all brokers.
func (v Values) AfterDynamic(overrides map[string]string, perBroker bool) Values {
	if perBroker {
		return v.WithDynamic(v.layer(SourceBrokerDefault), overrides)
	}
	return v.WithDynamic(overrides, v.layer(SourceBroker))
}

// FixedOfListener is what is set for one listener alone, by its name, of the keys that cannot change while it is open.
func (v Values) FixedOfListener(name string) map[string]string {
	prefix := listenerPrefix + strings.ToLower(name) + "."
	fixed := map[string]string{}
	for _, l := range slices.Backward(v.s.layers) {
		for key, text := range l.given {
			if base, ok := strings.CutPrefix(key, prefix); ok && !slices.Contains(storeKeys, base) && !slices.Contains(openListenerKeys, base) {
				fixed[base] = text
			}
		}
	}
	return fixed
}

// layer is what one source gives.
func (v Values) layer(source Source) map[string]string {
	for _, l := range v.s.layers {
		if l.source == source {
			return l.given
		}
	}
	return nil
}

// validateChange checks the values that v would become by a change of names.
func (v Values) validateChange(next Values, names []string) error {
	if err := next.Validate(); err != nil {
		text := *protocol.MessageOf(err)
		if !strings.HasPrefix(text, parsing) {
			text = "requirement failed: " + text
		}
		return protocol.Errorf(protocol.InvalidRequest, "%s", text)
	}
	invalid := func(format string, args ...any) error {
		return protocol.Errorf(protocol.InvalidRequest, "Invalid value org.apache.kafka.common.config.ConfigException: %s for configuration Invalid dynamic configuration",
			fmt.Sprintf(format, args...))
	}
	for _, name := range names {
		base := listenerBase(name)
		switch {
		case base == "max.connections" || base == "max.connection.creation.rate":
			if n := next.Int64(name); n <= 0 {
				return invalid("Invalid %s %d", base, n)
			}
		case slices.Contains(threadCounts, name) || base == "num.network.threads":
			if problem := threadsProblem(base, v.Int64(name), next.Int64(name)); problem != "" {
				return invalid("%s", problem)
			}
		}
	}
	return nil
}

// threadsProblem keeps a number of threads between half and double of what it is (DynamicThreadPool, LogCleaner.validateReconfiguration).
func threadsProblem(name string, now, next int64) string {
	cleaner := name == cleanerThreads
	about := fmt.Sprintf("Dynamic thread count update validation failed for %s=%d, ", name, next)
	switch {
	case next < now/2 && cleaner:
		return fmt.Sprintf("Log cleaner threads cannot be reduced to less than half the current value %d", now)
	case next > 2*now && cleaner:
		return fmt.Sprintf("Log cleaner threads cannot be increased to more than double the current value %d", now)
	case next < now/2:
		return fmt.Sprintf("%svalue should be at least half the current value %d", about, now)
	case next > 2*now:
		return fmt.Sprintf("%svalue should not be greater than double the current value %d", about, now)
	}
	return ""
}
