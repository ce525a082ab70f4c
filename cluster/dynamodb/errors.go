package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/tripgrid/tripgrid/internal/amazon"
)

// explained is an error in one sentence; the SDK's is below it.
type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }

// explain says what went wrong with what, and what to do. action is the name
// of the permission that the call needs.
func (t *Table) explain(what, action string, err error) error {
	say := func(format string, a ...any) error {
		return explained{text: what + ": " + fmt.Sprintf(format, a...), err: err}
	}
	var late lateError
	var ended endedError
	var missing *types.ResourceNotFoundException
	network := amazon.Explain(err, "DynamoDB", "lease table "+t.where(), t.region)
	switch code := amazon.Code(err); {
	case errors.As(err, &ended) && errors.Is(ended.ctx, context.Canceled):
		return explained{text: what + ": " + ended.ctx.Error(), err: err}
	case errors.As(err, &ended):
		return say("DynamoDB did not do it in time: %v", ended)
	case errors.As(err, &missing):
		return say("lease table %s does not exist: create it, or set the right table and region", t.where())
	case code == "AccessDeniedException":
		return say("this identity may not call dynamodb:%s on lease table %s: grant it (%s)", action, t.where(), brief(err))
	case amazon.Throttled(err):
		return say("lease table %s is still throttled after %d attempts: raise its capacity or bill it on demand (%s)", t.where(), t.c.Attempts, brief(err))
	case code == "UnknownOperationException" || code == "InvalidAction":
		return say("what answers for lease table %s does not know %s: check that the endpoint is that of DynamoDB (%s)", t.where(), action, brief(err))
	case code == "ValidationException":
		return say("lease table %s does not take it: check that its keys are %s and %s (%s)", t.where(), attrScope, attrResource, brief(err))
	case network != "":
		return say("%s", network)
	case errors.As(err, &late):
		return say("DynamoDB gave no answer within %s in %d attempts: check the network to lease table %s", late.after, t.c.Attempts, t.where())
	case amazon.Broken(err):
		return say("lease table %s failed: the connection broke: check the endpoint, whether it begins with http:// or https://, and the network (%s)", t.where(), brief(err))
	}
	return say("lease table %s failed: %s", t.where(), brief(err))
}

// brief is the service's own message, or the cause without the SDK's frame.
func brief(err error) string {
	var late lateError
	if amazon.Code(err) == "" && errors.As(err, &late) {
		return late.Error()
	}
	return amazon.Brief(err)
}
