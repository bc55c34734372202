package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// aclFlags name what ACLs are about, and whom.
type aclFlags struct {
	topics, groups, transactions, tokens []string
	cluster, prefixed                    bool
	allow, deny, allowHosts, denyHosts   []string
	operations                           []string
}

func aclCommand(s *session) *cobra.Command {
	c := &cobra.Command{
		Use: "acl", Short: "List, give and take away rights",
		Example: "  ottla acl list\n  ottla acl create --allow User:alice --operation read --topic orders\n  ottla acl delete --topic orders",
	}
	c.AddCommand(s.aclList(), s.aclCreate(), s.aclDelete())
	return c
}

func (f *aclFlags) bind(c *cobra.Command, s *session) {
	fl := c.Flags()
	fl.StringSliceVar(&f.topics, "topic", nil, "topics")
	fl.StringSliceVar(&f.groups, "group", nil, "groups")
	fl.StringSliceVar(&f.transactions, "transactional-id", nil, "transactional ids")
	fl.StringSliceVar(&f.tokens, "delegation-token", nil, "delegation tokens")
	fl.BoolVar(&f.cluster, "cluster", false, "the cluster")
	fl.BoolVar(&f.prefixed, "prefixed", false, "the names are the beginnings of names")
	fl.StringSliceVar(&f.allow, "allow", nil, "`principals` that may, as User:alice")
	fl.StringSliceVar(&f.deny, "deny", nil, "`principals` that may not")
	fl.StringSliceVar(&f.allowHosts, "allow-host", nil, "addresses from where they may")
	fl.StringSliceVar(&f.denyHosts, "deny-host", nil, "addresses from where they may not")
	fl.StringSliceVar(&f.operations, "operation", nil, "read, write, create, delete, alter, describe, cluster_action, describe_configs, alter_configs, idempotent_write or all")
	_ = c.RegisterFlagCompletionFunc("topic", s.topicNames()) // it fails only for an unknown flag
	_ = c.RegisterFlagCompletionFunc("group", s.groupNames()) // as above
}

// builder is the request that the flags stand for. A filter takes everything that the flags do not limit.
func (f *aclFlags) builder(filter bool) (*kadm.ACLBuilder, error) {
	var operations []kadm.ACLOperation
	for _, name := range f.operations {
		o, err := kmsg.ParseACLOperation(strings.ReplaceAll(name, "-", "_"))
		if err != nil {
			return nil, fmt.Errorf("--operation %s is not known; it is one of read, write, create, delete, alter, describe, cluster_action, describe_configs, alter_configs, idempotent_write, all", name)
		}
		operations = append(operations, o)
	}
	pattern := kadm.ACLPatternLiteral
	if f.prefixed {
		pattern = kadm.ACLPatternPrefixed
	}
	b := kadm.NewACLs().ResourcePatternType(pattern)
	named := len(f.topics)+len(f.groups)+len(f.transactions)+len(f.tokens) > 0 || f.cluster
	if !filter {
		b.MaybeTopics(f.topics...).MaybeGroups(f.groups...).MaybeTransactionalIDs(f.transactions...).MaybeDelegationTokens(f.tokens...).MaybeClusters(f.cluster)
		b.MaybeAllow(f.allow...).MaybeDeny(f.deny...).MaybeAllowHosts(f.allowHosts...).MaybeDenyHosts(f.denyHosts...).MaybeOperations(operations...)
		return b, nil
	}
	if named {
		b.MaybeTopics(f.topics...).MaybeGroups(f.groups...).MaybeTransactionalIDs(f.transactions...).MaybeDelegationTokens(f.tokens...).MaybeClusters(f.cluster)
	} else {
		b.AnyResource().ResourcePatternType(kadm.ACLPatternAny)
	}
	if len(f.deny) == 0 || len(f.allow) > 0 {
		b.Allow(f.allow...).AllowHosts(f.allowHosts...)
	}
	if len(f.allow) == 0 || len(f.deny) > 0 {
		b.Deny(f.deny...).DenyHosts(f.denyHosts...)
	}
	return b.Operations(operations...), nil
}

func (s *session) aclList() *cobra.Command {
	var f aclFlags
	c := &cobra.Command{
		Use: "list", Short: "List rights", Args: cobra.NoArgs,
		Example: "  ottla acl list\n  ottla acl list --topic orders -o json",
		RunE: s.run(func(ctx context.Context, a *cluster, _ []string) error {
			b, err := f.builder(true)
			if err != nil {
				return err
			}
			results, err := a.DescribeACLs(ctx, b)
			if err != nil {
				return err
			}
			t := aclTable()
			seen := map[kadm.DescribedACL]bool{}
			for _, r := range results {
				if r.Err != nil {
					return refusal("", r.Err, r.ErrMessage)
				}
				for _, d := range r.Described {
					if !seen[d] {
						seen[d] = true
						t.add(lower(d.Type), d.Name, lower(d.Pattern), d.Principal, d.Host, lower(d.Operation), lower(d.Permission))
					}
				}
			}
			return s.show(t)
		}),
	}
	f.bind(c, s)
	return c
}

func aclTable() *table {
	return &table{columns: []string{"RESOURCE", "NAME", "PATTERN", "PRINCIPAL", "HOST", "OPERATION", "PERMISSION"}}
}

func lower(x fmt.Stringer) string { return strings.ToLower(x.String()) }

func (s *session) aclCreate() *cobra.Command {
	var f aclFlags
	c := &cobra.Command{
		Use: "create", Short: "Give rights, or deny them", Args: cobra.NoArgs,
		Example: "  ottla acl create --allow User:alice --operation read,describe --topic orders --group billing\n  ottla acl create --deny User:eve --operation all --topic secret- --prefixed",
		RunE: s.run(func(ctx context.Context, a *cluster, _ []string) error {
			b, err := f.builder(false)
			if err != nil {
				return err
			}
			if err := b.ValidateCreate(); err != nil {
				return fmt.Errorf("%w: say who (--allow or --deny), what (--operation) and on what (--topic, --group, --cluster ...)", err)
			}
			results, err := a.CreateACLs(ctx, b)
			if err != nil {
				return err
			}
			t := aclTable()
			var failed []error
			for _, r := range results {
				if r.Err != nil {
					failed = append(failed, refusal(r.Name, r.Err, r.ErrMessage))
					continue
				}
				t.add(lower(r.Type), r.Name, lower(r.Pattern), r.Principal, r.Host, lower(r.Operation), lower(r.Permission))
			}
			if len(failed) > 0 {
				return errors.Join(failed...)
			}
			return s.show(t)
		}),
	}
	f.bind(c, s)
	return c
}

func (s *session) aclDelete() *cobra.Command {
	var f aclFlags
	var all bool
	c := &cobra.Command{
		Use: "delete", Short: "Take away the rights that the flags select", Args: cobra.NoArgs,
		Example: "  ottla acl delete --topic orders --allow User:alice\n  ottla acl delete --all",
		RunE: s.run(func(ctx context.Context, a *cluster, _ []string) error {
			if f.none() && !all {
				return errors.New("this would take away all rights: say which with --topic, --group, --allow and so on, or --all")
			}
			b, err := f.builder(true)
			if err != nil {
				return err
			}
			results, err := a.DeleteACLs(ctx, b)
			if err != nil {
				return err
			}
			t := aclTable()
			for _, r := range results {
				if r.Err != nil {
					return refusal("", r.Err, r.ErrMessage)
				}
				for _, d := range r.Deleted {
					t.add(lower(d.Type), d.Name, lower(d.Pattern), d.Principal, d.Host, lower(d.Operation), lower(d.Permission))
				}
			}
			return s.show(t)
		}),
	}
	f.bind(c, s)
	c.Flags().BoolVar(&all, "all", false, "all of them")
	return c
}

// none reports whether the flags limit nothing.
func (f *aclFlags) none() bool {
	return len(f.topics)+len(f.groups)+len(f.transactions)+len(f.tokens)+len(f.allow)+len(f.deny)+len(f.allowHosts)+len(f.denyHosts)+len(f.operations) == 0 && !f.cluster
}
