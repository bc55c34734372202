package client

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completionLimit bounds the wait of a shell for names.
const completionLimit = 2 * time.Second

type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// names completes with what ask gives, leaving out what stands on the command line already. A cluster that does not answer gives no names.
func (s *session) names(ask func(context.Context, *cluster) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		a, closes, err := s.admin(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer closes()
		all, err := ask(ctx, a)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all = slices.DeleteFunc(all, func(n string) bool { return !strings.HasPrefix(n, begun) || slices.Contains(args, n) })
		slices.Sort(all)
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

func (s *session) topicNames() completer {
	return s.names(func(ctx context.Context, a *cluster) ([]string, error) {
		topics, err := a.ListTopics(ctx)
		return topics.Names(), err
	})
}

func (s *session) groupNames() completer {
	return s.names(func(ctx context.Context, a *cluster) ([]string, error) {
		groups, err := a.ListGroups(ctx)
		return groups.Groups(), err
	})
}

// firstOnly completes the first argument only.
func firstOnly(c completer) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c(cmd, args, begun)
	}
}
