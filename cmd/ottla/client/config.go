package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol/config"
)

// The types of resources that have configs.
const (
	resourceTopic   = kmsg.ConfigResourceTypeTopic
	resourceBroker  = kmsg.ConfigResourceTypeBroker
	resourceLogger  = kmsg.ConfigResourceTypeBrokerLogger
	resourceMetrics = kmsg.ConfigResourceType(16)
	resourceGroup   = kmsg.ConfigResourceType(32)
)

// kinds are the resources by the words that the commands take.
var kinds = map[string]kmsg.ConfigResourceType{
	"topic": resourceTopic, "broker": resourceBroker, "broker-logger": resourceLogger, "client-metrics": resourceMetrics, "group": resourceGroup,
}

// kindWords are the words in the order of the help.
var kindWords = []string{"topic", "broker", "broker-logger", "client-metrics", "group"}

func configCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Show and change configurations of topics, brokers, groups and the rest",
		Example: "  ottla config describe topic orders\n  ottla config set topic orders retention.ms=3600000\n  ottla config unset broker 1 log.cleaner.threads",
	}
	c.AddCommand(s.configDescribe(), s.configSet(), s.configUnset(), s.configKeys(), s.configExplain(), s.configCheck())
	return c
}

// resource reads KIND NAME; the name of all brokers is "default".
func resource(kind, name string) (kmsg.ConfigResourceType, string, error) {
	k, known := kinds[strings.TrimSuffix(kind, "s")]
	if kind == "client-metrics" {
		k, known = resourceMetrics, true
	}
	if !known {
		return 0, "", fmt.Errorf("%q is no kind of resource: it is one of %s; users have `ottla user` and `ottla quota`", kind, strings.Join(kindWords, ", "))
	}
	if k == resourceBroker && name == "default" {
		name = ""
	}
	return k, name, nil
}

func (s *session) completeResource(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(args) == 0:
		return kindWords, cobra.ShellCompDirectiveNoFileComp
	case len(args) == 1 && args[0] == "topic":
		return s.topicNames()(cmd, nil, begun)
	case len(args) == 1 && args[0] == "group":
		return s.groupNames()(cmd, nil, begun)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (s *session) configDescribe() *cobra.Command {
	var all, docs bool
	c := &cobra.Command{
		Use: "describe KIND NAME", Short: "Show what was set, or with --all everything", Args: cobra.ExactArgs(2),
		Long: "Show the configuration of a topic, broker, broker-logger, client-metrics or group. The name default stands for all brokers.",
		Example: "  ottla config describe topic orders\n  ottla config describe broker 1 --all -o json\n  ottla config describe broker default\n" +
			"  ottla config describe broker-logger 1",
		ValidArgsFunction: s.completeResource,
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			kind, name, err := resource(args[0], args[1])
			if err != nil {
				return err
			}
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.IncludeSynonyms, r.IncludeDocumentation = true, docs
			one := kmsg.NewDescribeConfigsRequestResource()
			one.ResourceType, one.ResourceName = kind, name
			r.Resources = append(r.Resources, one)
			response, err := r.RequestWith(ctx, a.raw)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"KEY", "VALUE", "SOURCE"}}
			if docs {
				t.columns = append(t.columns, "DOCUMENTATION")
			}
			for _, got := range response.Resources {
				if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
					return err
				}
				slices.SortFunc(got.Configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return cmp.Compare(a.Name, b.Name) })
				for _, e := range got.Configs {
					if !all && (e.Source == kmsg.ConfigSourceDefaultConfig || e.Source == kmsg.ConfigSourceStaticBrokerConfig) {
						continue
					}
					row := []any{e.Name, configValue(e), strings.ToLower(strings.TrimSuffix(e.Source.String(), "_CONFIG"))}
					if docs {
						row = append(row, pointed(e.Documentation))
					}
					t.add(row...)
				}
			}
			return s.show(t)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "defaults and what the brokers' files say too")
	c.Flags().BoolVar(&docs, "docs", false, "with the documentation of each key")
	return c
}

func configValue(e kmsg.DescribeConfigsResponseResourceConfig) any {
	if e.IsSensitive {
		return "(hidden)"
	}
	if e.Value == nil {
		return nil
	}
	return *e.Value
}

func pointed(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func (s *session) configSet() *cobra.Command {
	return &cobra.Command{
		Use: "set KIND NAME KEY=VALUE...", Short: "Set keys", Args: cobra.MinimumNArgs(3),
		Example: "  ottla config set topic orders retention.ms=3600000 cleanup.policy=compact,delete\n  ottla config set broker default log.cleaner.threads=2\n" +
			"  ottla config set broker-logger 1 root=DEBUG\n  ottla config set group billing consumer.session.timeout.ms=50000\n" +
			"  ottla config set client-metrics all interval.ms=10000",
		ValidArgsFunction: s.completeResource,
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			return s.changeResource(ctx, a, args[0], args[1], args[2:], nil)
		}),
	}
}

func (s *session) configUnset() *cobra.Command {
	return &cobra.Command{
		Use: "unset KIND NAME KEY...", Short: "Remove keys, so that their defaults hold again", Args: cobra.MinimumNArgs(3),
		Example:           "  ottla config unset topic orders retention.ms",
		ValidArgsFunction: s.completeResource,
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			return s.changeResource(ctx, a, args[0], args[1], nil, args[2:])
		}),
	}
}

func (s *session) changeResource(ctx context.Context, a *cluster, kind, name string, set, unset []string) error {
	k, name, err := resource(kind, name)
	if err != nil {
		return err
	}
	return s.changeConfigs(ctx, a, k, []string{name}, set, unset)
}

// bindChanges adds --set and --unset.
func bindChanges(c *cobra.Command, set, unset *[]string) {
	c.Flags().StringArrayVar(set, "set", nil, "a `key=value` to set (repeatable)")
	c.Flags().StringArrayVar(unset, "unset", nil, "a `key` to remove (repeatable)")
}

// changeConfigs sets and removes keys of resources of a kind.
func (s *session) changeConfigs(ctx context.Context, a *cluster, kind kmsg.ConfigResourceType, names, set, unset []string) error {
	values, err := keyValues(set)
	if err != nil {
		return err
	}
	if len(values)+len(unset) == 0 {
		return errors.New("nothing to change: give --set key=value or --unset key")
	}
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, name := range names {
		one := kmsg.NewIncrementalAlterConfigsRequestResource()
		one.ResourceType, one.ResourceName = kind, name
		for k, v := range values {
			change := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			change.Name, change.Op, change.Value = k, kmsg.IncrementalAlterConfigOpSet, v
			one.Configs = append(one.Configs, change)
		}
		for _, k := range unset {
			change := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			change.Name, change.Op = k, kmsg.IncrementalAlterConfigOpDelete
			one.Configs = append(one.Configs, change)
		}
		r.Resources = append(r.Resources, one)
	}
	response, err := r.RequestWith(ctx, a.raw)
	if err != nil {
		return err
	}
	var failed []error
	for _, got := range response.Resources {
		if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", cmp.Or(got.ResourceName, "default"), err))
			continue
		}
		failed = append(failed, s.done("Changed the configuration of %s.", cmp.Or(got.ResourceName, "all brokers")))
	}
	return errors.Join(failed...)
}

func (s *session) configKeys() *cobra.Command {
	return &cobra.Command{
		Use: "keys topic|broker|group [KEY]", Short: "List the keys that Ottla knows, with what they do; asks no server", Args: cobra.RangeArgs(1, 2),
		Example:           "  ottla config keys topic\n  ottla config keys broker num.partitions",
		ValidArgsFunction: firstOnly(cobra.FixedCompletions([]string{"topic", "broker", "group"}, cobra.ShellCompDirectiveNoFileComp)),
		RunE: s.runIt(func(_ context.Context, args []string) error {
			scope, known := map[string]config.Scope{"topic": config.Topic, "broker": config.Broker, "group": config.Group}[strings.TrimSuffix(args[0], "s")]
			if !known {
				return fmt.Errorf("%q must be topic, broker or group", args[0])
			}
			t := &table{columns: []string{"KEY", "TYPE", "DEFAULT", "DOCUMENTATION"}}
			for _, k := range config.Keys(scope) {
				if len(args) == 1 || k.Name == args[1] {
					t.add(k.Name, k.Type.String(), k.Default, k.Documentation())
				}
			}
			if len(t.rows) == 0 {
				return fmt.Errorf("there is no %s key %s; did you mean %s?", args[0], args[1], config.Nearest(scope, args[1]))
			}
			return s.show(t)
		}),
	}
}
