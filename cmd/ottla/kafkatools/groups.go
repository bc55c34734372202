package kafkatools

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
	"github.com/ottla/ottla/protocol"
)

const groupsAbout = "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets."

// resets are the options that say where --reset-offsets moves to, in the order in which Kafka's tool lists them.
var resets = []string{"shift-by", "from-file", "to-datetime", "by-duration", "to-latest", "to-current", "to-earliest", "to-offset"}

func groupsTool() tool {
	return tool{
		name: "kafka-consumer-groups", about: groupsAbout, bare: groupsAbout,
		options: optionSet{
			text("bootstrap-server", "server to connect to", "REQUIRED: the server to connect to."), text("group", "consumer group", "The group (repeatable)."),
			text("topic", "topic", "A topic, or topic:0,1,2 for some of its partitions (repeatable)."), flag("all-topics", "All topics with offsets of the group."),
			flag("list", "List groups."), flag("describe", "Show a group's offsets and lag, its members or its state."), flag("all-groups", "All groups."),
			flag("delete", "Delete groups."), number("Long", "timeout", "timeout (ms)", "How long to wait for answers.").or("5000"),
			text("command-config", "command config property file", "A file of settings for the client."),
			flag("reset-offsets", "Move a group's offsets: a plan unless --execute is given."), flag("delete-offsets", "Delete a group's offsets of topics."),
			text("validate-regex", "regex", "Check a regular expression for topics, as brokers understand it."),
			flag("dry-run", "Show the plan only."), flag("execute", "Do it."), flag("export", "Print the plan as CSV."),
			number("Long", "to-offset", "offset", "To this offset."), text("from-file", "path to CSV file", "To the offsets of a CSV file."),
			text("to-datetime", "datetime", "To the first record at or after YYYY-MM-DDThh:mm:ss.sss."), text("by-duration", "duration", "To what came since PnDTnHnMnS ago."),
			flag("to-earliest", "To the first offset."), flag("to-latest", "To the end."), flag("to-current", "To where it is."),
			number("Long", "shift-by", "number-of-offsets", "By so many offsets, forwards or (negative) backwards."),
			flag("members", "Describe the members.", "describe"), flag("verbose", "Describe more.", "describe"), flag("offsets", "Describe the offsets (as without it).", "describe"),
			{name: "state", takes: maybeValue, about: "Describe or list the state; list groups in these states only.", needs: []string{"describe", "list"}},
			{name: "type", takes: maybeValue, about: "List the type; list groups of these types only.", needs: []string{"list"}},
		},
		run:  runGroups,
		fail: failGroups,
	}
}

// failGroups prints what went wrong. Kafka's tool ends with 0 nevertheless, and so do we, unless it is the command line.
func failGroups(c *call, err error) int {
	var bad *optionError
	if errors.As(err, &bad) {
		c.errorf("%s\n", err)
		c.set.printHelp(c.err)
		return 1
	}
	text := err.Error()
	var wrapped *wrappedError
	if errors.As(err, &wrapped) {
		c.printf("\nError: Executing consumer group command failed due to %s\n", full(wrapped.error))
		c.errorf("%s: %s\n", wrapped.by, full(wrapped.error))
		return 0
	}
	c.printf("\nError: Executing consumer group command failed due to %s\n", text)
	c.errorf("%s\n", full(err))
	return 0
}

// wrappedError is one that Java's tool gets inside another exception.
type wrappedError struct {
	error
	by string
}

func (e *wrappedError) Unwrap() error { return e.error }

// inFuture wraps an error as the result of a request that was waited for.
func inFuture(err error) error {
	if err == nil {
		return nil
	}
	return &wrappedError{err, "java.util.concurrent.ExecutionException"}
}

func runGroups(c *call) error {
	if err := checkGroups(c); err != nil {
		return err
	}
	if c.count("list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex") != 1 {
		return usage("Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex")
	}
	if c.has("validate-regex") {
		return validateRegex(c)
	}
	if err := c.connect("command-config"); err != nil {
		return err
	}
	switch {
	case c.has("list"):
		return listGroups(c)
	case c.has("describe"):
		return describeGroups(c)
	case c.has("delete"):
		return deleteGroups(c)
	case c.has("reset-offsets"):
		return resetOffsets(c)
	}
	return deleteOffsets(c)
}

func checkGroups(c *call) error {
	if err := c.required("bootstrap-server"); err != nil {
		return err
	}
	chosen := c.has("group") || c.has("all-groups")
	if c.has("describe") {
		switch state, err := c.one("state"); {
		case !chosen:
			return usage("Option [describe] takes one of these options: [group], [all-groups]")
		case c.count("members", "offsets", "state") > 1:
			return usage("Option [describe] takes at most one of these options: [members], [offsets], [state]")
		case err != nil:
			return err
		case state != "":
			return usage("Option [describe] does not take a value for [state]")
		}
	}
	if c.has("delete") && !chosen {
		return usage("Option [delete] takes one of these options: [group], [all-groups]")
	}
	if c.has("delete") && c.has("topic") {
		return usage("The consumer does not support topic-specific offset deletion from a consumer group.")
	}
	if c.has("delete-offsets") && (!c.has("group") || !c.has("topic")) {
		return usage("Option [delete-offsets] takes the following options: [group], [topic]")
	}
	if c.has("reset-offsets") {
		if err := checkReset(c, chosen); err != nil {
			return err
		}
	}
	return first(c.forbid("group", "all-groups", "list"), c.forbid("topic", "all-topics", "list", "describe", "delete"))
}

func checkReset(c *call, chosen bool) error {
	if c.has("dry-run") && c.has("execute") {
		return usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
	}
	if !c.has("dry-run") && !c.has("execute") {
		c.errorf("WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require either --dry-run or --execute to be specified. " +
			"You should add the --dry-run option explicitly if you are scripting this command and want to keep the current default behavior without prompting.\n")
	}
	switch {
	case !chosen:
		return usage("Option [reset-offsets] takes one of these options: [group], [all-groups]")
	case c.count(resets...) != 1:
		return usage("Option '[reset-offsets]' requires one of the following scenarios: [[%s]]", strings.Join(resets, "], ["))
	case !c.has("all-topics") && !c.has("topic") && !c.has("from-file"):
		return usage("One of the reset scopes should be defined: --all-topics, --topic.")
	}
	for _, r := range resets {
		if err := c.forbid(r, slices.DeleteFunc(slices.Clone(resets), func(o string) bool { return o == r })...); err != nil {
			return err
		}
	}
	return nil
}

func validateRegex(c *call) error {
	text, err := c.one("validate-regex")
	if err != nil {
		return err
	}
	if _, err := regexp.Compile(text); err != nil {
		c.printf("The regular expression `%s` is invalid: %s.\n", text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return nil
	}
	c.printf("The regular expression `%s` is valid.\n", text)
	return nil
}

// The states and types that groups of consumers may have, in the order in which Kafka's tool names them.
var (
	groupStates = []string{"CompletingRebalance", "Empty", "Assigning", "Dead", "Stable", "Reconciling", "PreparingRebalance"}
	groupTypes  = []string{"Consumer", "Classic"}
)

// chosen are the names of a list in the case of known.
func chosen(c *call, name string, known []string, mistake string) ([]string, error) {
	list, err := c.one(name)
	if err != nil || list == "" {
		return nil, err
	}
	var all []string
	for s := range strings.SplitSeq(list, ",") {
		plain := strings.ReplaceAll(strings.TrimSpace(s), "_", "")
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, plain) })
		if i < 0 {
			return nil, usage(mistake, list, strings.Join(known, ", "))
		}
		all = append(all, known[i])
	}
	return all, nil
}

// listed groups of consumers, by name.
func (c *call) consumerGroups(states, types []string) ([]kmsg.ListGroupsResponseGroup, error) {
	r := kmsg.NewPtrListGroupsRequest()
	r.StatesFilter, r.TypesFilter = states, types
	response, err := request(c, r)
	if err == nil {
		err = connect.Check(response.ErrorCode, nil)
	}
	if err != nil {
		return nil, err
	}
	groups := slices.DeleteFunc(response.Groups, func(g kmsg.ListGroupsResponseGroup) bool {
		return g.GroupType == "share" || g.GroupType == "streams" || g.ProtocolType != "" && g.ProtocolType != "consumer"
	})
	slices.SortFunc(groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	return groups, nil
}

func listGroups(c *call) error {
	states, err := chosen(c, "state", groupStates, "Invalid state list '%s'. Valid states are: %s")
	if err != nil {
		return err
	}
	types, err := chosen(c, "type", groupTypes, "Invalid types list '%s'. Valid types are: %s")
	if err != nil {
		return err
	}
	groups, err := c.consumerGroups(states, types)
	if err != nil {
		return inFuture(err)
	}
	if !c.has("type") && !c.has("state") {
		for _, g := range groups {
			c.printf("%s\n", g.Group)
		}
		return nil
	}
	width := 15
	for _, g := range groups {
		width = max(width, len(g.Group))
	}
	row := func(group, kind, state string) {
		c.printf("%-*s", width+10, group)
		if c.has("type") {
			c.printf(" %-20s", kind)
		}
		if c.has("state") {
			c.printf(" %-20s", state)
		}
		c.printf("\n")
	}
	row("GROUP", "TYPE", "STATE")
	for _, g := range groups {
		row(g.Group, titled(g.GroupType), cmp.Or(g.GroupState, "Unknown"))
	}
	return nil
}

// titled is a type of group as Java prints it.
func titled(kind string) string {
	if kind == "" {
		return "Unknown"
	}
	return strings.ToUpper(kind[:1]) + kind[1:]
}

// chosenGroups are the groups that the options name.
func (c *call) chosenGroups() ([]string, error) {
	if !c.has("all-groups") {
		return c.all("group"), nil
	}
	listed, err := c.consumerGroups(nil, nil)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, g := range listed {
		all = append(all, g.Group)
	}
	return all, nil
}

func deleteGroups(c *call) error {
	groups, err := c.chosenGroups()
	if err != nil {
		return err
	}
	failed := map[string]error{}
	var gone []string
	if len(groups) > 0 {
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = groups
		response, err := request(c, r)
		if err != nil {
			return inFuture(err)
		}
		for _, g := range response.Groups {
			if err := connect.Check(g.ErrorCode, nil); err != nil {
				failed[g.Group] = err
			} else {
				gone = append(gone, g.Group)
			}
		}
	}
	quoted := func(all []string) string {
		if len(all) == 0 {
			return ""
		}
		return "'" + strings.Join(names(all), "', '") + "'"
	}
	if len(failed) == 0 {
		c.printf("Deletion of requested consumer groups (%s) was successful.\n", quoted(gone))
		return nil
	}
	c.printf("\nError: Deletion of some consumer groups failed:\n")
	for _, g := range names(slices.Sorted(maps.Keys(failed))) {
		c.printf("* Group '%s' could not be deleted due to: %s\n", g, full(failed[g]))
	}
	if len(gone) > 0 {
		c.printf("\nThese consumer groups were deleted successfully: %s\n", quoted(gone))
	}
	return nil
}

func deleteOffsets(c *call) error {
	group, err := c.one("group")
	if err != nil {
		return err
	}
	var asked []partition
	status := map[partition]error{}
	for _, topic := range c.all("topic") {
		found, err := c.partitionsNamed(topic)
		if errors.Is(err, protocol.UnknownTopicOrPartition) {
			status[partition{topic, -1}] = err
			continue
		}
		if err != nil {
			return err
		}
		asked = append(asked, found...)
	}
	top := error(nil)
	if len(asked) > 0 {
		if top, err = c.deleteOffsetsOf(group, asked, status); err != nil {
			return inFuture(err)
		}
	}
	switch {
	case top == nil:
		c.printf("Request succeeded for deleting offsets from group %s.\n", group)
	case errors.Is(top, protocol.GroupSubscribedToTopic) || errors.Is(top, protocol.TopicAuthorizationFailed) || errors.Is(top, protocol.UnknownTopicOrPartition):
		c.printf("\nError: Encountered some partition-level error, see the follow-up details.\n")
	default:
		c.printf("\nError: %s\n", top)
	}
	width := 15
	for p := range status {
		width = max(width, len(p.topic))
	}
	c.printf("\n%-*s %-10s %-15s", width, "TOPIC", "PARTITION", "STATUS")
	for _, p := range slices.SortedFunc(maps.Keys(status), func(a, b partition) int {
		return cmp.Compare(fmt.Sprint(a.topic, a.id), fmt.Sprint(b.topic, b.id))
	}) {
		id, text := fmt.Sprint(p.id), "Successful"
		if p.id < 0 {
			id = "-"
		}
		if status[p] != nil {
			text = "Error: " + full(status[p])
		}
		c.printf("\n%-*s %-10s %-15s", width, p.topic, id, text)
	}
	c.printf("\n")
	return nil
}

// deleteOffsetsOf asks the coordinator and fills status. top is what it says of the whole, or of the first partition that failed.
func (c *call) deleteOffsetsOf(group string, asked []partition, status map[partition]error) (top, err error) {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = group
	for _, p := range asked {
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = p.topic
		rp := kmsg.NewOffsetDeleteRequestTopicPartition()
		rp.Partition = p.id
		t.Partitions = append(t.Partitions, rp)
		if i := slices.IndexFunc(r.Topics, func(o kmsg.OffsetDeleteRequestTopic) bool { return o.Topic == p.topic }); i >= 0 {
			r.Topics[i].Partitions = append(r.Topics[i].Partitions, rp)
		} else {
			r.Topics = append(r.Topics, t)
		}
	}
	response, err := request(c, r)
	if err != nil {
		return nil, err
	}
	if top = connect.Check(response.ErrorCode, nil); top != nil {
		for _, p := range asked {
			status[p] = top
		}
		return top, nil
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			err := connect.Check(p.ErrorCode, nil)
			status[partition{t.Topic, p.Partition}] = err
			top = first(top, err)
		}
	}
	return top, nil
}
