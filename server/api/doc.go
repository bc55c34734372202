// Package api serves Kafka's APIs: one file for each, and one row for each in table.go, from which ApiVersions, version checks,
// dispatch and docs/apis.md derive.
//
// A Handler runs in its connection's reader, in request order, and must not block. What waits goes into Result.Later, which the connection's writer
// runs in the order of the answers. So effects that must keep their order, as appends do, belong into the handler itself.
//
// State: the package owns fetch sessions (Sessions, one mutex and one for each session, in this order: a session's mutex is never
// held while the cache's is taken). All else belongs to the parts that Node holds.
//
// Files: node.go and request.go say what handlers are given and what they answer; table.go is the table, of which docs/apis.md is
// generated; leader_hint.go names leaders to clients that asked another broker; broker_loggers.go is what two APIs do to levels of loggers; every other file is the API it is named after, with its
// versions at the top. Fetch has its sessions in fetch_session.go and their cache in fetch_session_cache.go.
package api
