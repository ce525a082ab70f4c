package localkinesis

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrCorrupt is matched by the error of Open when a file in the data folder is damaged where a crash cannot have damaged
// it. The error names the file, the offset and the reason.
var ErrCorrupt = errors.New("corrupt")

// corruptError is an ErrCorrupt at a place.
type corruptError struct {
	file   string
	offset int64
	reason string
}

func (e *corruptError) Error() string {
	return fmt.Sprintf("localkinesis: %s is corrupt at offset %d (%s); restore the file, or delete the stream's folder to give its records up",
		e.file, e.offset, e.reason)
}

func (e *corruptError) Is(target error) bool { return target == ErrCorrupt }

// apiError is an answer that refuses a call, in AWS's vocabulary.
type apiError struct {
	code    string
	status  int
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func clientError(code, format string, args []any) *apiError {
	return &apiError{code: code, status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

// validation refuses a member that breaks a pattern, a length or a range of the API's model.
func validation(format string, args ...any) *apiError {
	return clientError("ValidationException", format, args)
}

// invalidArgument refuses a member that is well formed but makes no sense.
func invalidArgument(format string, args ...any) *apiError {
	return clientError("InvalidArgumentException", format, args)
}

func notFound(format string, args ...any) *apiError {
	return clientError("ResourceNotFoundException", format, args)
}

func inUse(format string, args ...any) *apiError {
	return clientError("ResourceInUseException", format, args)
}

func limitExceeded(format string, args ...any) *apiError {
	return clientError("LimitExceededException", format, args)
}

func expiredIterator(format string, args ...any) *apiError {
	return clientError("ExpiredIteratorException", format, args)
}

func expiredToken(format string, args ...any) *apiError {
	return clientError("ExpiredNextTokenException", format, args)
}

// malformed refuses a body that is no JSON, or JSON of the wrong types.
func malformed(format string, args ...any) *apiError {
	return clientError("SerializationException", format, args)
}

func unknownOperation(format string, args ...any) *apiError {
	return clientError("UnknownOperationException", format, args)
}

// internalFailure is an answer for what went wrong here.
func internalFailure(err error) *apiError {
	return &apiError{code: "InternalFailure", status: http.StatusInternalServerError, message: err.Error()}
}
