package opensearch

import (
	"fmt"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/sink"
)

// maxName bounds prefix, job and query together: OpenSearch takes 255 bytes.
const maxName = 200

// IndexName is the index that holds a query's documents of windows that begin
// at windowStart, seconds since 1970: one for each month, in UTC. Late trips and
// dead letters have one index each.
func IndexName(prefix, job, query string, windowStart int64) string {
	return prefix + job + "-" + query + "-" + part(query, windowStart)
}

func part(query string, windowStart int64) string {
	if query == sink.LateQuery || query == sink.DeadQuery {
		return "all"
	}
	return time.Unix(windowStart, 0).UTC().Format("2006.01")
}

// AliasName is the alias under which a job's documents are read: those of one
// query, or of all if query is empty. A dot, which no job has, keeps the two apart.
func AliasName(prefix, name, query string) string {
	if query == "" {
		return prefix + name
	}
	return prefix + name + "." + query
}

// validateNames refuses what could not be part of an index's name.
func validateNames(prefix, job string) error {
	const letters, more = "abcdefghijklmnopqrstuvwxyz0123456789", "-_"
	switch {
	case job == "":
		return fmt.Errorf("opensearch: the job has no name")
	case strings.Trim(job, letters+more) != "":
		return fmt.Errorf("opensearch: job %q cannot name an index: use lower-case letters, digits, - and _", job)
	case strings.Trim(prefix, letters+more+".") != "":
		return fmt.Errorf("opensearch: prefix %q cannot begin an index's name: use lower-case letters, digits, -, _ and dots", prefix)
	case strings.Contains("-_.", (prefix + job)[:1]):
		return fmt.Errorf("opensearch: an index cannot be named %q...: let prefix and job begin with a letter or digit", prefix+job)
	case len(prefix)+len(job) > maxName-64:
		return fmt.Errorf("opensearch: prefix and job have %d letters, an index's name has room for %d", len(prefix)+len(job), maxName-64)
	}
	return nil
}
