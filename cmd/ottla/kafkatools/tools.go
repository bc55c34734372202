package kafkatools

import (
	"bufio"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
)

// KafkaVersion is the release whose tools are followed; --version prints it.
const KafkaVersion = "4.3.1"

// tool is one of Kafka's shell tools.
type tool struct {
	name    string
	about   string // one line
	options optionSet
	run     func(c *call) error
	fail    func(c *call, err error) int // prints an error that is no mistake in the command line, and gives the exit code
	// bare says what the tool prints before its options if it is called without arguments; "" lets run see to it.
	bare string
	raw  func(c *call, args []string) int // instead of options and run, for tools with another kind of command line
}

func tools() []tool {
	return []tool{topicsTool(), configsTool(), groupsTool(), offsetsTool(), producerTool(), consumerTool(), aclsTool(), versionsTool(), storageTool()}
}

// Tool is what others may know of a tool.
type Tool struct {
	Name    string
	About   string
	Options []string
}

// Tools lists the tools that Run knows, but for kafka-server-start, which is the server command.
func Tools() []Tool {
	var all []Tool
	for _, t := range tools() {
		known := Tool{Name: t.name, About: t.about}
		for _, o := range t.options {
			known.Options = append(known.Options, o.name)
		}
		slices.Sort(known.Options)
		all = append(all, known)
	}
	return all
}

// NameOf is the tool that a program called by path is, without folder and ending; ok is false if it is none.
func NameOf(path string) (name string, ok bool) {
	name = filepath.Base(path)
	for _, ending := range []string{".exe", ".sh", ".bat"} {
		name = strings.TrimSuffix(name, ending)
	}
	if name == "kafka-server-start" {
		return name, true
	}
	return name, slices.ContainsFunc(tools(), func(t tool) bool { return t.name == name })
}

// Run runs a tool by its name and returns the exit code.
func Run(ctx context.Context, name string, args []string, s Streams) int {
	all := tools()
	i := slices.IndexFunc(all, func(t tool) bool { return t.name == name })
	if i < 0 {
		return 127
	}
	t := all[i]
	c := &call{ctx: ctx, in: s.In, out: bufio.NewWriter(s.Out), err: s.Err, args: args}
	defer c.close()
	var code int
	if t.raw != nil {
		code = t.raw(c, args)
	} else {
		code = t.runOptions(c, args)
	}
	if err := c.out.Flush(); err != nil && code == 0 {
		return 1
	}
	return code
}

func (t *tool) runOptions(c *call, args []string) int {
	t.options = append(t.options, flag("help", "Print this page."), flag("version", "Print the version of Kafka that this tool follows."))
	if len(args) == 0 && t.bare != "" {
		return t.help(c, t.bare)
	}
	var err error
	if c.given, err = t.options.parse(args); err == nil {
		switch {
		case c.has("help"):
			return t.help(c, t.about)
		case c.has("version"):
			c.printf("%s\n", KafkaVersion)
			return 0
		}
		err = t.run(c)
	}
	var mistake *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &mistake):
		return t.help(c, mistake.text)
	}
	if c.given == nil {
		c.given = &given{set: t.options, values: map[string][]string{}}
	}
	return t.fail(c, err)
}

// help prints a line and the options; Kafka's tools call that a failure.
func (t *tool) help(c *call, line string) int {
	c.errorf("%s\n", line)
	t.options.printHelp(c.err)
	return 1
}

// command is a tool's command line as Kafka repeats it in errors.
func (c *call) commandLine() string { return strings.Join(c.args, " ") }
