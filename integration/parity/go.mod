module github.com/ottla/ottla/integration/parity

go 1.26.0

replace github.com/ottla/ottla => ../..

require (
	github.com/ottla/ottla v0.0.0-00010101000000-000000000000
	github.com/twmb/franz-go/pkg/kmsg v1.15.0
)
