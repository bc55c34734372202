package kafkatools

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/cmd/ottla/connect"
)

func aclsTool() tool {
	return tool{
		name: "kafka-acls", about: "This tool helps to manage acls on kafka.", bare: "This tool helps to manage acls on kafka.",
		options: optionSet{
			text("bootstrap-server", "server to connect to", "The servers to connect to."), text("bootstrap-controller", "controller to connect to", "The controllers to connect to."),
			text("command-config", "command-config", "A file of settings for the client."),
			flag("add", "Add ACLs."), flag("remove", "Remove ACLs."), flag("list", "List ACLs."), flag("force", "Ask nothing."),
			text("topic", "topic", "A topic, * for all (repeatable)."), flag("cluster", "The cluster."), text("group", "group", "A group, * for all (repeatable)."),
			text("transactional-id", "transactional-id", "A transactional id, * for all (repeatable)."), flag("idempotent", "With --producer: allow idempotent writes too."),
			text("delegation-token", "delegation-token", "A token, * for all (repeatable)."), text("user-principal", "user-principal", "A user as a resource (repeatable)."),
			text("resource-pattern-type", "", "literal or prefixed; any or match to list and remove.").or("literal"),
			text("operation", "", "Read, Write, Create, Delete, Alter, Describe, ClusterAction, AlterConfigs, DescribeConfigs, IdempotentWrite, CreateTokens, DescribeTokens or All (repeatable).").or("All"),
			text("allow-principal", "allow-principal", "Type:name of who is allowed (repeatable)."), text("deny-principal", "deny-principal", "Type:name of who is denied (repeatable)."),
			text("principal", "principal", "List the ACLs of Type:name only (repeatable)."),
			text("allow-host", "allow-host", "From where those allowed come; * if absent."), text("deny-host", "deny-host", "From where those denied come; * if absent."),
			flag("producer", "What a producer needs: Write, Describe and Create on the topic."), flag("consumer", "What a consumer needs: Read and Describe on the topic, Read on the group."),
		},
		run:  runACLs,
		fail: failACLs,
	}
}

func failACLs(c *call, err error) int {
	var bad *optionError
	if errors.As(err, &bad) {
		c.errorf("%s\n", err)
		c.set.printHelp(c.err)
		return 1
	}
	c.printf("Error while executing ACL command: %s\n", full(err))
	var wrapped *wrappedError
	var illegal *javaIllegal
	switch {
	case errors.As(err, &wrapped):
		c.printf("%s: %s\n", wrapped.by, full(wrapped.error))
	case errors.As(err, &illegal):
		c.printf("java.lang.IllegalArgumentException: %s\n", illegal.text)
	}
	return 1
}

// The names of what ACLs are made of, by their codes on the wire.
var (
	aclResources   = map[int8]string{2: "TOPIC", 3: "GROUP", 4: "CLUSTER", 5: "TRANSACTIONAL_ID", 6: "DELEGATION_TOKEN", 7: "USER"}
	aclPatterns    = map[int8]string{1: "ANY", 2: "MATCH", 3: "LITERAL", 4: "PREFIXED"}
	aclPermissions = map[int8]string{1: "ANY", 2: "DENY", 3: "ALLOW"}
	aclOperations  = map[int8]string{
		0: "UNKNOWN", 1: "ANY", 2: "ALL", 3: "READ", 4: "WRITE", 5: "CREATE", 6: "DELETE", 7: "ALTER", 8: "DESCRIBE", 9: "CLUSTER_ACTION", 10: "DESCRIBE_CONFIGS",
		11: "ALTER_CONFIGS", 12: "IDEMPOTENT_WRITE", 13: "CREATE_TOKENS", 14: "DESCRIBE_TOKENS",
	}
	// operationsOf are what each type of resource knows, in the order in which Kafka prints them.
	operationsOf = map[int8][]int8{2: {3, 11, 7, 5, 6, 4, 10, 8, 2}, 3: {3, 11, 6, 10, 8, 2}, 4: {11, 9, 12, 7, 5, 10, 8, 2}, 5: {4, 8, 2}, 6: {8, 2}, 7: {13, 14, 2}}
)

const (
	patternAny, patternMatch, patternLiteral, patternPrefixed int8 = 1, 2, 3, 4
	permissionDeny, permissionAllow                           int8 = 2, 3
	operationAll, operationRead, operationWrite               int8 = 2, 3, 4
	operationCreate, operationDescribe, operationIdempotent   int8 = 5, 8, 12
	resourceTopic, resourceGroup, resourceCluster             int8 = 2, 3, 4
	resourceTransaction, resourceToken, resourceUser          int8 = 5, 6, 7
)

// aclResource is what an ACL is about, or a filter of such.
type aclResource struct {
	kind    int8
	name    string
	pattern int8
}

func (r aclResource) text(class string) string {
	return fmt.Sprintf("%s(resourceType=%s, name=%s, patternType=%s)", class, aclResources[r.kind], r.name, aclPatterns[r.pattern])
}

// aclEntry is who may do what.
type aclEntry struct {
	principal, host       string
	operation, permission int8
}

func (e aclEntry) String() string {
	return fmt.Sprintf("(principal=%s, host=%s, operation=%s, permissionType=%s)", e.principal, e.host, aclOperations[e.operation], aclPermissions[e.permission])
}

// aclSet is the entries of one resource.
type aclSet struct {
	resource aclResource
	entries  []aclEntry
}

func runACLs(c *call) error {
	if err := checkACLs(c); err != nil {
		return err
	}
	pattern, err := patternType(c)
	if err != nil {
		return err
	}
	if c.has("bootstrap-controller") {
		c.values["bootstrap-server"] = c.values["bootstrap-controller"]
	}
	if c.has("list") {
		if err := c.connect("command-config"); err != nil {
			return err
		}
		return listACLs(c, pattern)
	}
	if c.has("add") && (pattern == patternAny || pattern == patternMatch) {
		return usage("A '--resource-pattern-type' value of '%s' is not valid when adding acls.", aclPatterns[pattern])
	}
	sets, err := c.aclSets(pattern)
	if err != nil {
		return err
	}
	if c.has("add") && slices.ContainsFunc(sets, func(s aclSet) bool { return len(s.entries) == 0 }) {
		return usage("You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.")
	}
	if err := c.connect("command-config"); err != nil {
		return err
	}
	for _, s := range sets {
		if c.has("add") {
			err = addACLs(c, s)
		} else {
			err = removeACLs(c, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkACLs(c *call) error {
	switch {
	case c.count("bootstrap-server", "bootstrap-controller") == 2:
		return usage("Only one of --bootstrap-server or --bootstrap-controller must be specified")
	case c.count("bootstrap-server", "bootstrap-controller") == 0:
		return usage("One of --bootstrap-server or --bootstrap-controller must be specified")
	case c.count("add", "remove", "list") != 1:
		return usage("Command must include exactly one action: --list, --add, --remove. ")
	}
	err := first(c.forbid("list", "producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"),
		c.forbid("producer", "operation", "deny-principal", "deny-host"), c.forbid("consumer", "operation", "deny-principal", "deny-host"))
	switch {
	case err != nil:
		return err
	case c.has("principal") && !c.has("list"):
		return usage("The --principal option is only available if --list is set")
	case c.has("producer") && !c.has("topic"):
		return usage("With --producer you must specify a --topic")
	case c.has("idempotent") && !c.has("producer"):
		return usage("The --idempotent option is only available if --producer is set")
	case c.has("consumer") && (!c.has("topic") || !c.has("group") || !c.has("producer") && (c.has("cluster") || c.has("transactional-id"))):
		return usage("With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified.")
	}
	return nil
}

func patternType(c *call) (int8, error) {
	text, err := c.one("resource-pattern-type")
	if err != nil {
		return 0, err
	}
	for code, name := range aclPatterns {
		if strings.EqualFold(name, text) {
			return code, nil
		}
	}
	return 0, &optionError{fmt.Sprintf("Cannot parse argument '%s' of option resource-pattern-type", text)}
}

// aclResources are what the options name.
func (c *call) aclResources(pattern int8) []aclResource {
	var all []aclResource
	add := func(option string, kind int8) {
		for _, name := range c.all(option) {
			all = append(all, aclResource{kind, strings.TrimSpace(name), pattern})
		}
	}
	add("topic", resourceTopic)
	if pattern == patternLiteral && c.count("cluster", "idempotent") > 0 {
		all = append(all, aclResource{resourceCluster, "kafka-cluster", patternLiteral})
	}
	add("group", resourceGroup)
	add("transactional-id", resourceTransaction)
	add("delegation-token", resourceToken)
	add("user-principal", resourceUser)
	return all
}

// aclSets are the ACLs that the options stand for.
func (c *call) aclSets(pattern int8) ([]aclSet, error) {
	resources := c.aclResources(pattern)
	if len(resources) == 0 {
		return nil, usage("You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation Token ID>")
	}
	var sets []aclSet
	for _, r := range resources {
		var operations []int8
		switch {
		case c.count("producer", "consumer") == 0:
			for _, name := range c.all("operation") {
				operations = append(operations, operationOf(name))
			}
		default:
			operations = c.roleOperations(r.kind)
		}
		if operations == nil {
			continue
		}
		entries, err := c.aclEntries(operations)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !slices.Contains(operationsOf[r.kind], e.operation) {
				var valid []string
				for _, o := range operationsOf[r.kind] {
					valid = append(valid, aclOperations[o])
				}
				return nil, usage("ResourceType %s only supports operations %s", aclResources[r.kind], brackets(valid))
			}
		}
		sets = append(sets, aclSet{r, entries})
	}
	return sets, nil
}

// roleOperations are what --producer and --consumer need on a type of resource; nil if nothing.
func (c *call) roleOperations(kind int8) (all []int8) {
	if c.has("producer") {
		switch kind {
		case resourceTopic:
			all = append(all, operationDescribe, operationCreate, operationWrite)
		case resourceTransaction:
			all = append(all, operationDescribe, operationWrite)
		case resourceCluster:
			all = append(all, operationIdempotent)
		}
	}
	if c.has("consumer") {
		switch kind {
		case resourceTopic:
			all = append(all, operationRead)
			if !c.has("producer") {
				all = append(all, operationDescribe)
			}
		case resourceGroup:
			all = append(all, operationRead)
		}
	}
	return all
}

func operationOf(name string) int8 {
	plain := strings.ReplaceAll(strings.TrimSpace(name), "_", "")
	for code, known := range aclOperations {
		if strings.EqualFold(strings.ReplaceAll(known, "_", ""), plain) {
			return code
		}
	}
	return 0
}

func (c *call) aclEntries(operations []int8) ([]aclEntry, error) {
	var all []aclEntry
	for _, side := range []struct {
		who, hosts string
		permission int8
	}{{"allow-principal", "allow-host", permissionAllow}, {"deny-principal", "deny-host", permissionDeny}} {
		hosts := c.all(side.hosts)
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		for _, principal := range c.all(side.who) {
			principal = strings.TrimSpace(principal)
			if kind, name, found := strings.Cut(principal, ":"); !found || kind == "" || name == "" {
				return nil, &javaIllegal{"expected a string in format principalType:principalName but got " + principal}
			}
			for _, o := range operations {
				for _, h := range hosts {
					all = append(all, aclEntry{principal, strings.TrimSpace(h), o, side.permission})
				}
			}
		}
	}
	return all, nil
}

// javaIllegal is an IllegalArgumentException, which tools print without its class.
type javaIllegal struct{ text string }

func (e *javaIllegal) Error() string { return e.text }

// describeACLs are those that a filter selects, in the order of the answer.
func (c *call) describeACLs(r aclResource) ([]aclSet, error) {
	q := kmsg.NewPtrDescribeACLsRequest()
	q.ResourceType, q.ResourcePatternType = kmsg.ACLResourceType(r.kind), kmsg.ACLResourcePatternType(r.pattern)
	q.Operation, q.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	if r.name != "" {
		q.ResourceName = &r.name
	}
	response, err := request(c, q)
	if err == nil {
		err = connect.Check(response.ErrorCode, response.ErrorMessage)
	}
	if err != nil {
		return nil, inFuture(err)
	}
	var all []aclSet
	for _, res := range response.Resources {
		s := aclSet{resource: aclResource{int8(res.ResourceType), res.ResourceName, int8(res.ResourcePatternType)}}
		for _, a := range res.ACLs {
			s.entries = append(s.entries, aclEntry{a.Principal, a.Host, int8(a.Operation), int8(a.PermissionType)})
		}
		slices.SortFunc(s.entries, compareACLs)
		all = append(all, s)
	}
	return all, nil
}

func compareACLs(a, b aclEntry) int {
	return cmp.Or(cmp.Compare(a.principal, b.principal), cmp.Compare(a.host, b.host), cmp.Compare(a.operation, b.operation), cmp.Compare(a.permission, b.permission))
}

func addACLs(c *call, s aclSet) error {
	there, err := c.describeACLs(s.resource)
	if err != nil {
		return err
	}
	var wanted []string
	r := kmsg.NewPtrCreateACLsRequest()
	for _, e := range s.entries {
		if slices.ContainsFunc(there, func(t aclSet) bool { return t.resource == s.resource && slices.Contains(t.entries, e) }) {
			c.printf("Acl (pattern=%s, entry=%s) already exists.\n", s.resource.text("ResourcePattern"), e)
			continue
		}
		wanted = append(wanted, "\t"+e.String())
		one := kmsg.NewCreateACLsRequestCreation()
		one.ResourceType, one.ResourceName, one.ResourcePatternType = kmsg.ACLResourceType(s.resource.kind), s.resource.name, kmsg.ACLResourcePatternType(s.resource.pattern)
		one.Principal, one.Host, one.Operation, one.PermissionType = e.principal, e.host, kmsg.ACLOperation(e.operation), kmsg.ACLPermissionType(e.permission)
		r.Creations = append(r.Creations, one)
	}
	if len(wanted) == 0 {
		return nil
	}
	c.printf("Adding ACLs for resource `%s`: \n %s\n\n", s.resource.text("ResourcePattern"), strings.Join(wanted, "\n"))
	response, err := request(c, r)
	if err != nil {
		return inFuture(err)
	}
	for _, got := range response.Results {
		if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
			return inFuture(err)
		}
	}
	return nil
}

func removeACLs(c *call, s aclSet) error {
	if !c.has("force") {
		if len(s.entries) == 0 {
			c.printf("Are you sure you want to delete all ACLs for resource filter `%s`? (y/n)\n", s.resource.text("ResourcePattern"))
		} else {
			var all []string
			for _, e := range s.entries {
				all = append(all, "\t"+e.String())
			}
			c.printf("Are you sure you want to remove ACLs: \n %s\n from resource filter `%s`? (y/n)\n", strings.Join(all, "\n"), s.resource.text("ResourcePattern"))
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		answer, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil && answer == "" || !strings.EqualFold(strings.TrimSpace(answer), "y") {
			return nil
		}
	}
	r := kmsg.NewPtrDeleteACLsRequest()
	filter := func() kmsg.DeleteACLsRequestFilter {
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = kmsg.ACLResourceType(s.resource.kind), &s.resource.name, kmsg.ACLResourcePatternType(s.resource.pattern)
		f.Operation, f.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		return f
	}
	if len(s.entries) == 0 {
		r.Filters = append(r.Filters, filter())
	}
	for _, e := range s.entries {
		f := filter()
		f.Principal, f.Host, f.Operation, f.PermissionType = &e.principal, &e.host, kmsg.ACLOperation(e.operation), kmsg.ACLPermissionType(e.permission)
		r.Filters = append(r.Filters, f)
	}
	response, err := request(c, r)
	if err != nil {
		return inFuture(err)
	}
	for _, got := range response.Results {
		if err := connect.Check(got.ErrorCode, got.ErrorMessage); err != nil {
			return inFuture(err)
		}
	}
	return nil
}

func listACLs(c *call, pattern int8) error {
	filters := c.aclResources(pattern)
	if len(filters) == 0 {
		filters = []aclResource{{kind: 1, pattern: patternAny}}
	}
	var found []aclSet
	for _, f := range filters {
		sets, err := c.describeACLs(f)
		if err != nil {
			return err
		}
		for _, s := range sets {
			if !slices.ContainsFunc(found, func(o aclSet) bool { return o.resource == s.resource }) {
				found = append(found, s)
			}
		}
	}
	print := func(keep func(aclEntry) bool) {
		for _, s := range found {
			var all []string
			for _, e := range s.entries {
				if keep(e) {
					all = append(all, "\t"+e.String())
				}
			}
			if len(all) > 0 {
				c.printf("Current ACLs for resource `%s`:\n%s\n\n", s.resource.text("ResourcePattern"), strings.Join(all, "\n"))
			}
		}
	}
	if !c.has("principal") {
		print(func(aclEntry) bool { return true })
		return nil
	}
	for _, p := range names(c.all("principal")) {
		c.printf("ACLs for principal `%s`\n", p)
		print(func(e aclEntry) bool { return e.principal == strings.TrimSpace(p) })
	}
	return nil
}
