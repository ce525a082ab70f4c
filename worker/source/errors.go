package source

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	"github.com/tripgrid/tripgrid/internal/amazon"
)

// explained is an error in one sentence; the SDK's is below it.
type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }

// Explain says in one sentence what a failed call for a stream means and what
// to do. The SDK's error is below the result; nil, a cancelled call and what is
// explained already stay as they are.
func Explain(client *kinesis.Client, stream string, err error) error {
	var known explained
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	o := client.Options()
	where := "stream " + stream
	if o.Region != "" {
		where += " in " + o.Region
	}
	if o.BaseEndpoint != nil {
		where += " at " + *o.BaseEndpoint
	}
	say := func(format string, a ...any) error {
		return explained{text: fmt.Sprintf(format, a...), err: err}
	}
	operation := "this action"
	var op *smithy.OperationError
	if errors.As(err, &op) {
		operation = op.OperationName
	}
	if text := amazon.Explain(err, "Kinesis", where, o.Region); text != "" {
		return explained{text, err}
	}
	switch code := amazon.Code(err); {
	case code == "ResourceNotFoundException" && (operation == "GetShardIterator" || operation == "GetRecords"):
		return say("Kinesis %s is gone or has lost a shard: check that nobody deleted or replaced it (%s)", where, amazon.Brief(err))
	case code == "ResourceNotFoundException":
		return say("Kinesis %s does not exist: create it, or set the right stream and region", where)
	case code == "AccessDeniedException":
		return say("this identity may not call kinesis:%s on %s: grant it (%s)", operation, where, amazon.Brief(err))
	case code == "LimitExceededException" && operation == "CreateStream":
		return say("%s was not created: the account's limit of streams or shards is reached: raise it or delete some (%s)", where, amazon.Brief(err))
	case amazon.Throttled(err):
		return say("%s is throttled: add shards, or let fewer applications read it (%s)", where, amazon.Brief(err))
	case code == "UnknownOperationException" || code == "InvalidAction":
		return say("what answers for %s does not know %s: check that the endpoint is that of Kinesis (%s)", where, operation, amazon.Brief(err))
	case strings.HasPrefix(code, "KMS"):
		return say("the KMS key of %s cannot be used: enable it and grant kms:Decrypt (%s)", where, amazon.Brief(err))
	case errors.Is(err, context.DeadlineExceeded):
		return say("Kinesis gave no answer in time: check the network to %s", where)
	case amazon.Broken(err):
		return say("the connection to Kinesis for %s broke: check the endpoint, whether it begins with http:// or https://, and the network (%s)", where, amazon.Brief(err))
	}
	return say("Kinesis failed for %s: %s", where, amazon.Brief(err))
}
