// Package logs knows the loggers of a broker and their levels, which change while it runs: what BROKER_LOGGER resources show and alter.
//
// A logger is named after the part that speaks: "storage", "controller", "controller.raft". It has its own level if one was set, else that of the nearest
// one above it, at last the root's. Levels have Kafka's names. They are of this process only, and are forgotten with it, as in Kafka.
//
// Apache Kafka's names are known too: those of its classes are other names of loggers here, those of its packages stand above several.
//
// Levels owns the levels: its mutex guards what was set; who logs reads an immutable view, by one atomic load where nothing of that level is wanted.
//
// Files:
//
//	kafka.go    Apache Kafka's names of loggers
//	levels.go   the levels, and the zap core that asks for them
package logs
