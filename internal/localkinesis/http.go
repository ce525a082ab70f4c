package localkinesis

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"
)

const (
	targetPrefix = "Kinesis_20131202."
	contentType  = "application/x-amz-json-1.1"

	// maxBody bounds a request: 10 MiB in base64, 500 of the longest keys and what JSON adds.
	maxBody = 18 << 20
	// maxDrain bounds how much of a longer one is read, so that its sender reads the refusal instead of a broken
	// connection.
	maxDrain = 256 << 20
	// maxPooled bounds the buffers that are kept for the next call: a full GetRecords answer fits.
	maxPooled = 18 << 20
)

// operations are what the endpoint serves. Each reads c.body and writes c.out.
var operations = map[string]func(*call) error{
	"CreateStream":          createStream,
	"DeleteStream":          deleteStream,
	"DescribeStream":        describeStream,
	"DescribeStreamSummary": describeStreamSummary,
	"ListStreams":           listStreams,
	"ListShards":            listShards,
	"PutRecord":             putRecord,
	"PutRecords":            putRecords,
	"GetShardIterator":      getShardIterator,
	"GetRecords":            getRecords,
}

// call is one request and its answer. Its buffers are pooled: nothing of it may be kept.
type call struct {
	*Server
	body []byte
	out  []byte
	put  putRequest
}

var callPool = sync.Pool{New: func() any { return new(call) }}

func (c *call) release() {
	c.Server = nil
	if max(cap(c.body), cap(c.out), cap(c.put.scan.arena)) <= maxPooled {
		callPool.Put(c)
	}
}

// decode reads the body into the shape of a call.
func (c *call) decode(in any) error {
	body := c.body
	if len(body) == 0 {
		body = []byte("{}")
	}
	if err := json.Unmarshal(body, in); err != nil {
		return malformed("The request body is no JSON for this call (%v); send what the API reference shows.", err)
	}
	return nil
}

// answer writes a shape as the answer.
func (c *call) answer(out any) error {
	b, err := json.Marshal(out)
	c.out = append(c.out, b...)
	return err
}

// serve answers one request. The whole body is read and Content-Length is set in any case, so connections stay usable.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c := callPool.Get().(*call)
	c.Server, c.out = s, c.out[:0]
	defer c.release()
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Amzn-Requestid", requestID())
	status := http.StatusOK
	err := c.read(r)
	if err == nil {
		err = c.dispatch(r)
	}
	if err != nil {
		status = c.refuse(h, r, err)
	}
	h.Set("Content-Length", strconv.Itoa(len(c.out)))
	w.WriteHeader(status)
	_, _ = w.Write(c.out) // if the client is gone, nobody is left to tell
}

// read reads the whole body.
func (c *call) read(r *http.Request) error {
	c.body = c.body[:0]
	if n := r.ContentLength; n > 0 && n <= maxBody && int64(cap(c.body)) <= n {
		c.body = make([]byte, 0, n+1) // one more to see the end
	}
	for len(c.body) <= maxBody {
		if len(c.body) == cap(c.body) {
			c.body = append(c.body, 0)[:len(c.body)]
		}
		n, err := r.Body.Read(c.body[len(c.body):min(cap(c.body), maxBody+1)])
		c.body = c.body[:len(c.body)+n]
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return malformed("The request body could not be read (%v); send it again.", err)
		}
	}
	_, _ = io.CopyN(io.Discard, r.Body, maxDrain) // whatever comes of it, the call is refused
	return &apiError{"RequestEntityTooLargeException", http.StatusRequestEntityTooLarge,
		"The request body has more than " + strconv.Itoa(maxBody) + " bytes; send the records in several calls."}
}

// dispatch finds the operation and runs it.
func (c *call) dispatch(r *http.Request) error {
	target := r.Header.Get("X-Amz-Target")
	name, ok := strings.CutPrefix(target, targetPrefix)
	if r.Method != http.MethodPost || target == "" {
		return &apiError{"UnknownOperationException", http.StatusNotFound,
			"This is tripgrid's local Kinesis endpoint; send it POST requests with a header X-Amz-Target, as AWS SDKs do."}
	}
	op := operations[name]
	if !ok || op == nil {
		return unknownOperation("%s is not served by the local endpoint; use one of CreateStream, DeleteStream, DescribeStream, "+
			"DescribeStreamSummary, ListStreams, ListShards, PutRecord, PutRecords, GetShardIterator and GetRecords.", target)
	}
	if ct := r.Header.Get("Content-Type"); !strings.HasPrefix(ct, contentType) {
		return malformed("Content-Type %q is not spoken by the local endpoint; send %s (AWS_CBOR_DISABLE=true makes the Java SDK do so).", ct, contentType)
	}
	return op(c)
}

// refuse writes an error as the answer and returns its status.
func (c *call) refuse(h http.Header, r *http.Request, err error) int {
	var refusal *apiError
	if !errors.As(err, &refusal) {
		if errors.Is(err, errGone) {
			refusal = notFound("The stream is being deleted, or the endpoint is stopping; try another.")
		} else {
			refusal = internalFailure(err)
			c.log.Error("call failed", zap.String("target", r.Header.Get("X-Amz-Target")), zap.Error(err))
		}
	}
	h.Set("X-Amzn-Errortype", refusal.code)
	c.out = append(c.out[:0], `{"__type":`...)
	c.out = appendString(c.out, refusal.code)
	c.out = append(c.out, `,"message":`...)
	c.out = appendString(c.out, refusal.message)
	c.out = append(c.out, '}')
	return refusal.status
}

// requestID is a random UUID.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var s [36]byte
	hex.Encode(s[:8], b[:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:], b[10:])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
