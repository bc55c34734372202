# Prints of the output of go test, the linter and make what failed: of each test its name and the first and last lines that it told.
function flush(   i, from) {
	if (!failed) return
	print failed
	for (i = 1; i <= n && i <= 3; i++) print lines[i]
	from = n - 4 > 3 ? n - 4 : 4
	if (from > 4) print "        ..."
	for (i = from; i <= n; i++) print lines[i]
	failed = ""
}
/^ *--- FAIL: / { flush(); failed = $0; n = 0; next }
/^ *--- (PASS|SKIP): / || /^=== / || /^(ok|FAIL)\t/ || /^(FAIL|PASS)$/ { flush() }
/^ +[A-Za-z0-9_]+\.go:[0-9]+: / {
	if (failed && !/the output of the broker|the members of .* told|standard error:|printed:/) lines[++n] = $0
	next
}
/^panic: |^fatal error: |^WARNING: DATA RACE/ { flush(); more = 12 }
more > 0 { print; more--; next }
/^[^ ]+\.go:[0-9]+:[0-9]+: / || /^FAIL\t/ || /^make(\[[0-9]+\])?: \*\*\*/ || /^# [^ ]+\// { print }
END { flush() }
