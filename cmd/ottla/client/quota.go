package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// quotaKeys are the limits that Kafka knows.
var quotaKeys = []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}

// quotaFlags name whom a quota is of. The name default stands for all that have none of their own.
type quotaFlags struct{ user, client, ip string }

func quotaCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "quota", Short: "Show and change limits of users, clients and addresses",
		Example: "  ottla quota describe\n  ottla quota set --user alice producer_byte_rate=1048576\n  ottla quota unset --user default request_percentage",
	}
	c.AddCommand(s.quotaDescribe(), s.quotaChange("set KEY=VALUE...", "Set limits", "  ottla quota set --user alice --client-id batch producer_byte_rate=1048576", false),
		s.quotaChange("unset KEY...", "Remove limits", "  ottla quota unset --ip default connection_creation_rate", true))
	return c
}

func (f *quotaFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.user, "user", "", "the `user`, or default")
	c.Flags().StringVar(&f.client, "client-id", "", "the client `id`, or default")
	c.Flags().StringVar(&f.ip, "ip", "", "the `address`, or default")
}

// parts are the kinds of entities with the names that were given.
func (f *quotaFlags) parts() (all [][2]string) {
	for _, p := range [][2]string{{"user", f.user}, {"client-id", f.client}, {"ip", f.ip}} {
		if p[1] != "" {
			all = append(all, p)
		}
	}
	return all
}

func (s *session) quotaDescribe() *cobra.Command {
	var f quotaFlags
	c := &cobra.Command{
		Use: "describe", Short: "Show limits", Args: cobra.NoArgs,
		Example: "  ottla quota describe\n  ottla quota describe --user alice -o json",
		RunE: s.run(func(ctx context.Context, a *cluster, _ []string) error {
			var wanted []kadm.DescribeClientQuotaComponent
			for _, p := range f.parts() {
				one := kadm.DescribeClientQuotaComponent{Type: p[0], MatchType: 1}
				if p[1] != "default" {
					one.MatchType, one.MatchName = 0, &p[1]
				}
				wanted = append(wanted, one)
			}
			found, err := a.DescribeClientQuotas(ctx, false, wanted)
			if err != nil {
				return err
			}
			t := &table{columns: []string{"ENTITY", "KEY", "VALUE"}}
			for _, q := range found {
				var names []string
				for _, e := range q.Entity {
					name := "default"
					if e.Name != nil {
						name = *e.Name
					}
					names = append(names, e.Type+"="+name)
				}
				for _, v := range q.Values {
					t.add(strings.Join(names, ","), v.Key, v.Value)
				}
			}
			return s.show(t)
		}),
	}
	f.bind(c)
	return c
}

func (s *session) quotaChange(use, short, example string, remove bool) *cobra.Command {
	var f quotaFlags
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.MinimumNArgs(1), Example: example,
		ValidArgsFunction: cobra.FixedCompletions(quotaKeys, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace),
		RunE: s.run(func(ctx context.Context, a *cluster, args []string) error {
			entry := kadm.AlterClientQuotaEntry{}
			for _, p := range f.parts() {
				one := kadm.ClientQuotaEntityComponent{Type: p[0]}
				if p[1] != "default" {
					one.Name = &p[1]
				}
				entry.Entity = append(entry.Entity, one)
			}
			if len(entry.Entity) == 0 {
				return errors.New("say whose limit: --user, --client-id or --ip, with a name or default")
			}
			for _, arg := range args {
				k, text, found := strings.Cut(arg, "=")
				op := kadm.AlterClientQuotaOp{Key: k, Remove: remove}
				if !remove {
					v, err := strconv.ParseFloat(text, 64)
					if err != nil || !found {
						return fmt.Errorf("%q must be key=number, where the key is one of %s", arg, strings.Join(quotaKeys, ", "))
					}
					op.Value = v
				}
				entry.Ops = append(entry.Ops, op)
			}
			results, err := a.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{entry})
			if err != nil {
				return err
			}
			for _, r := range results {
				if r.Err != nil {
					return refusal("", r.Err, r.ErrMessage)
				}
			}
			return s.done("Changed the limits of %s.", cmp.Or(f.user, f.client, f.ip))
		}),
	}
	f.bind(c)
	return c
}
