package config

import "strings"

// Nearest returns the known name of the scope that is the fewest single-character edits away from name, or "" if none is
// near: at most a third of the name's length may differ. Of equally near names the first in order is returned.
func Nearest(s Scope, name string) string {
	t := tableOf(s)
	if t == nil || name == "" {
		return ""
	}
	name = strings.ToLower(name)
	if len(name) > 2*longestName {
		return ""
	}
	best, limit := "", max(len(name)/3, 1)+1
	for _, k := range t.keys {
		if k.Internal {
			continue
		}
		if d := distance(name, k.Name, limit); d < limit {
			best, limit = k.Name, d
		}
	}
	return best
}

// longestName bounds the names that a nearest one is looked for: longer than any key's.
const longestName = 80

// distance is the Levenshtein distance of a and b, or limit if it is at least that.
func distance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		lowest := row[0]
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
			lowest = min(lowest, cost)
		}
		if lowest >= limit {
			return limit
		}
	}
	return min(row[len(b)], limit)
}
