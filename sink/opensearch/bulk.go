package opensearch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tripgrid/tripgrid/sink"
)

// maxID is how many bytes OpenSearch takes as an _id.
const maxID = 512

// unfit says why OpenSearch could never take d, or is empty. One document with
// such a fault would make it refuse the whole request.
func unfit(d *sink.Document) string {
	switch {
	case d.ID == "":
		return "the id is empty"
	case len(d.ID) > maxID:
		return fmt.Sprintf("the id has %d bytes, OpenSearch takes %d", len(d.ID), maxID)
	case !utf8.ValidString(d.ID):
		return "the id is not UTF-8"
	case d.Version > math.MaxInt64:
		return fmt.Sprintf("version %d is above %d", d.Version, int64(math.MaxInt64))
	case !isObject(d.Body):
		return "the body is not one JSON object"
	case d.Query == "" || !fitsIndex(d.Query):
		return fmt.Sprintf("the query %q cannot name an index", d.Query)
	}
	return ""
}

func fitsIndex(query string) bool {
	return len(query) <= 64 && strings.Trim(query, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{' && json.Valid(b)
}

// appendItem appends a document's two lines of a bulk request.
func appendItem(b []byte, index string, d *sink.Document) []byte {
	b = append(append(append(b, `{"index":{"_index":"`...), index...), `","_id":`...)
	b = appendString(b, d.ID)
	b = strconv.AppendUint(append(b, `,"version":`...), d.Version, 10)
	b = append(b, `,"version_type":"external_gte"}}`+"\n"...)
	if bytes.IndexByte(d.Body, '\n') < 0 {
		return append(append(b, d.Body...), '\n')
	}
	var line bytes.Buffer // a line feed ends a body
	_ = json.Compact(&line, d.Body)
	return append(append(b, line.Bytes()...), '\n')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= utf8.RuneSelf || s[i] == '"' || s[i] == '\\' {
			j, _ := json.Marshal(s) // no string fails
			return append(b, j...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// verdict is what is known of one document.
type verdict struct {
	sink.Result
	why  string // of a Retry
	busy bool   // 429
}

// bulkAnswer is what filter_path leaves of an answer.
type bulkAnswer struct {
	Items []map[string]struct {
		ID     string       `json:"_id"`
		Status int          `json:"status"`
		Error  *serverError `json:"error"`
	} `json:"items"`
}

// judge reads the answer to a request for docs. A document that is not found in
// it, or about which it says nothing clear, is put off. The error says that the
// answer is none.
func judge(docs []*sink.Document, body []byte) ([]verdict, error) {
	var a bulkAnswer
	if err := json.Unmarshal(body, &a); err != nil || a.Items == nil {
		return nil, errors.New("the answer to a bulk request is damaged, or something else than OpenSearch answers")
	}
	verdicts := make([]verdict, len(docs))
	for i := range verdicts {
		verdicts[i] = verdict{Result: sink.Result{Retry: true}, why: fmt.Sprintf("the answer has %d items for %d documents", len(a.Items), len(docs))}
	}
	at := 0
	for _, item := range a.Items {
		for _, it := range item {
			to := at
			for to < len(docs) && docs[to].ID != it.ID {
				to++
			}
			if to == len(docs) {
				continue // about a document that we did not send
			}
			verdicts[to] = judgeItem(it.Status, it.Error)
			at = to + 1
		}
	}
	return verdicts, nil
}

func judgeItem(status int, e *serverError) verdict {
	if e == nil {
		e = &serverError{Type: "status " + strconv.Itoa(status), Reason: http.StatusText(status)}
	}
	switch {
	case status == http.StatusOK, status == http.StatusCreated, status == http.StatusConflict:
		return verdict{}
	case status == http.StatusBadRequest && !ofCluster(e),
		status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return verdict{Result: sink.Result{Rejected: e.String()}}
	}
	return verdict{Result: sink.Result{Retry: true}, why: e.String(), busy: status == http.StatusTooManyRequests}
}

// ofCluster tells the refusals with status 400 that are about the cluster and
// not about the document: somebody has to mend something, and then it is taken.
func ofCluster(e *serverError) bool {
	switch e.Type {
	case "index_closed_exception",
		"validation_exception",         // no room for another shard
		"invalid_alias_name_exception", // an index has the alias's name
		"invalid_index_name_exception", "index_create_block_exception":
		return true
	case "illegal_argument_exception":
		return strings.Contains(e.Reason, "pipeline") || strings.Contains(e.Reason, "alias") || strings.Contains(e.Reason, "write index")
	}
	return false
}
