package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ottla/ottla/protocol/config"
	serverconfig "github.com/ottla/ottla/server/config"
)

const (
	fromDefault = "default"
	fromOttla   = "Ottla, where no file says otherwise"
)

func (s *session) configExplain() *cobra.Command {
	var from serverconfig.Sources
	var all, properties bool
	c := &cobra.Command{
		Use: "explain [KEY]", Short: "Show what a server started here would use, and where each value comes from; asks no server", Args: cobra.MaximumNArgs(1),
		Long: "Show the settings with which `ottla server` would start here: the defaults, under the properties file, under the variables KAFKA_* and KAFKA_CFG_*, " +
			"under --override. Without a key those that were given; with one also what it is for. --properties prints those that were given as a properties file, secrets too: " +
			"with it variables become a file.",
		Example: "  ottla config explain\n  ottla config explain num.partitions --override num.partitions=3\n  KAFKA_LOG_RETENTION_HOURS=1 ottla config explain log.retention.ms\n" +
			"  KAFKA_NUM_PARTITIONS=3 ottla config explain --properties",
		ValidArgsFunction: firstOnly(func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, k := range config.Keys(config.Broker) {
				names = append(names, k.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}),
		RunE: s.runIt(func(_ context.Context, args []string) error {
			from.Environment = os.Environ()
			server, err := from.Load()
			if err != nil {
				return err
			}
			switch {
			case len(args) == 1:
				return s.explainKey(server, args[0])
			case properties:
				_, err := io.WriteString(s.out, propertiesOf(server))
				return err
			}
			t := &table{columns: []string{"KEY", "VALUE", "FROM"}}
			for _, d := range server.Values.DescribeAll() {
				if place := placeOf(server, d.Key.Name); all || place != fromDefault {
					t.add(d.Key.Name, shownValue(d), place)
				}
			}
			return s.show(t)
		}),
	}
	c.Flags().StringVarP(&from.File, "file", "f", "", "the server's properties `file`")
	c.Flags().StringArrayVar(&from.Overrides, "override", nil, "a `key=value` over file and environment (repeatable)")
	c.Flags().BoolVar(&all, "all", false, "defaults too")
	c.Flags().BoolVar(&properties, "properties", false, "print a properties file")
	return c
}

// propertiesOf are the settings that were given or chosen, as a properties file that gives them all.
func propertiesOf(server *serverconfig.Server) string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`)
	for _, o := range server.Origins {
		value := escape.Replace(o.Value)
		if strings.HasPrefix(value, " ") {
			value = `\` + value
		}
		fmt.Fprintf(&b, "%s=%s\n", o.Key, value)
	}
	return b.String()
}

// placeOf is where the value of a key comes from.
func placeOf(server *serverconfig.Server, name string) string {
	i := slices.IndexFunc(server.Origins, func(o serverconfig.Origin) bool { return o.Key == name })
	if i < 0 {
		return fromDefault
	}
	return cmp.Or(server.Origins[i].Place, fromOttla)
}

func shownValue(d config.Described) any {
	if d.Key.Sensitive() && len(d.Synonyms) > 0 {
		return "(hidden)"
	}
	return pointed(d.Value)
}

// explainKey shows one key: what holds, what it falls back on, and what it is for.
func (s *session) explainKey(server *serverconfig.Server, name string) error {
	k := config.Lookup(config.Broker, name)
	if k == nil {
		if reason := config.RemovedReason(name); reason != "" {
			return fmt.Errorf("%s has no effect: %s", name, reason)
		}
		text := "there is no key " + name
		if near := config.Nearest(config.Broker, name); near != "" {
			text += "; did you mean " + near + "?"
		}
		return fmt.Errorf("%s", text)
	}
	d := server.Values.Describe(k)
	t := &table{columns: []string{"WHAT", "VALUE"}}
	t.add("key", name)
	if value := shownValue(d); value != nil {
		t.add("value", value)
	} else {
		t.add("value", "(not set)")
	}
	t.add("from", placeOf(server, name))
	for _, synonym := range d.Synonyms {
		if synonym.Source == config.SourceStatic && synonym.Name != name {
			t.add("set by", fmt.Sprintf("%s=%s, %s", synonym.Name, shownSynonym(synonym), placeOf(server, synonym.Name)))
		}
	}
	if d.Value == nil && !k.Sensitive() {
		for _, other := range k.Synonyms { // as log.retention.hours, where log.retention.ms is not set
			if value := server.Values.Describe(config.Lookup(config.Broker, other)).Value; value != nil {
				t.add("instead", fmt.Sprintf("%s=%s, %s", other, *value, placeOf(server, other)))
				break
			}
		}
	}
	if !k.NoDefault {
		t.add("default", k.Default)
	}
	t.add("type", strings.ToLower(k.Type.String()))
	if k.Allowed != "" {
		t.add("allowed", k.Allowed)
	}
	t.add("changes", map[config.Update]string{config.ReadOnly: "at the next start", config.PerBroker: "at run time, for each broker", config.ClusterWide: "at run time, for a broker or all"}[k.Update])
	t.add("documentation", k.Documentation())
	return s.show(t)
}

func shownSynonym(synonym config.Synonym) string {
	if synonym.Value == nil {
		return "(hidden)"
	}
	return *synonym.Value
}

func (s *session) configCheck() *cobra.Command {
	var overrides []string
	c := &cobra.Command{
		Use: "check FILE", Short: "Find every mistake in a server's properties file; asks no server", Args: cobra.ExactArgs(1),
		Long:    "Read a properties file as `ottla server` does here, with the variables KAFKA_* and KAFKA_CFG_* over it, and tell every mistake with its line.",
		Example: "  ottla config check server.properties",
		RunE: s.runIt(func(_ context.Context, args []string) error {
			server, err := serverconfig.Sources{File: args[0], Environment: os.Environ(), Overrides: overrides}.Load()
			t := &table{columns: []string{"KIND", "TEXT"}}
			var mistakes *serverconfig.Mistakes
			if errors.As(err, &mistakes) { // the error's text has the mistakes
				for _, text := range mistakes.Warnings {
					t.add("warning", text)
				}
				if len(t.rows) > 0 {
					err = errors.Join(s.show(t), err)
				}
			}
			if err != nil {
				return err
			}
			for _, text := range server.Warnings {
				t.add("warning", text)
			}
			for _, text := range server.Notices {
				t.add("notice", text)
			}
			if s.output != "table" || len(t.rows) > 0 {
				if err := s.show(t); err != nil {
					return err
				}
			}
			return s.done("%s has no mistakes: a server with node id %d starts with it.", args[0], server.NodeID)
		}),
	}
	c.Flags().StringArrayVar(&overrides, "override", nil, "a `key=value` over file and environment (repeatable)")
	return c
}
