package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Errors of a Store. Any other error says that the operation did not happen
// for a reason worth showing to a person (a full disk, no credentials).
var (
	// ErrNotFound: there is no object of that name, no HEAD of that job.
	ErrNotFound = errors.New("not found")
	// ErrConflict: Put found other bytes under the name, or SwapHead found
	// another version; nothing was changed by this call.
	ErrConflict = errors.New("conflict")
	// ErrUncertain: the answer was lost; the operation happened, did not
	// happen, or will still happen. Putting the same bytes again is always
	// safe; a swap is resolved by reading HEAD and its commit nonce, and may be
	// sent again with the same version and bytes.
	ErrUncertain = errors.New("answer lost")
	// ErrUnavailable: nothing is known of the object or HEAD, because the store
	// is out of reach or overloaded; it passes by itself.
	ErrUnavailable = errors.New("store unavailable")
)

// Store keeps immutable objects and one HEAD per job. S3 offers exactly this:
// Put is PutObject with If-None-Match: *, SwapHead is PutObject with If-Match
// (or If-None-Match) and the version is the ETag.
//
// Names satisfy CheckName; no name is a folder of another. Implementations
// are safe for concurrent use by any number of processes, and what a call
// reported done survives a power failure.
type Store interface {
	// Get returns an object's bytes, or ErrNotFound.
	Get(ctx context.Context, name string) ([]byte, error)
	// Put creates an object. The same bytes again are fine; other bytes under
	// an existing name are ErrConflict. No reader ever sees half an object.
	Put(ctx context.Context, name string, data []byte) error
	// List returns the objects whose names begin with prefix (a plain string
	// prefix), sorted by name; HEADs are not among them.
	List(ctx context.Context, prefix string) ([]ObjectInfo, error)
	// Delete removes an object; a missing one is no error.
	Delete(ctx context.Context, name string) error
	// ReadHead returns a job's HEAD and its version, or ErrNotFound. It sees
	// every swap that was reported done before the call.
	ReadHead(ctx context.Context, job string) (data []byte, version string, err error)
	// SwapHead replaces the job's HEAD if it still has version old ("" means
	// that there must be none) and returns the new version; otherwise
	// ErrConflict.
	SwapHead(ctx context.Context, job, old string, data []byte) (version string, err error)
}

// ObjectInfo describes a stored object.
type ObjectInfo struct {
	Name string
	Size int64
}

// HeadName is the name under which implementations keep a job's HEAD. Put,
// Get, List and Delete do not reach it.
func HeadName(job string) string { return job + "/HEAD" }

// CheckName says why name cannot be an object's name: names are at most 512
// bytes of slash-separated segments of ASCII letters, digits, '.', '_', '-'
// and '=', none of which begins with a dot, and none may be a HEAD.
func CheckName(name string) error {
	if len(name) > 512 {
		return fmt.Errorf("the object name %.40q... is longer than 512 bytes", name)
	}
	segments := strings.Split(name, "/")
	for _, s := range segments {
		if s == "" || s[0] == '.' || len(s) > 200 || strings.ContainsFunc(s, oddRune) {
			return fmt.Errorf("%q is no object name", name)
		}
	}
	if len(segments) == 2 && segments[1] == "HEAD" {
		return fmt.Errorf("%q is a HEAD, no object: it is only swapped", name)
	}
	return nil
}

// CheckJob says why job cannot name a job: it becomes part of object names,
// NATS subjects and buckets, so it has 1 to 64 letters, digits, '_' and '-'.
func CheckJob(job string) error {
	if job == "" || len(job) > 64 || strings.ContainsFunc(job, func(r rune) bool {
		return oddRune(r) || r == '.' || r == '='
	}) {
		return fmt.Errorf("%q is no job name: use 1 to 64 letters, digits, _ and -", job)
	}
	return nil
}

func oddRune(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		r == '.' || r == '_' || r == '-' || r == '=')
}
