package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/vmware-go-kcl-v2/logger"
	"go.uber.org/zap"
)

// kclLog writes the library's messages to zap: what it says of its steps at
// debug, its warnings and errors as warnings, each kind once a minute. Nothing
// that the library says ends the process.
type kclLog struct {
	log  *zap.Logger
	kept *suppressor
	stop context.Context // once it has ended, failures are expected
}

func newKCLLog(stop context.Context, log *zap.Logger) logger.Logger {
	return kclLog{log: log.Named("kcl").WithOptions(zap.AddCallerSkip(1)), kept: newSuppressor(), stop: stop}
}

func (l kclLog) Debugf(format string, args ...any) { l.debug(format, args) }
func (l kclLog) Infof(format string, args ...any)  { l.debug(format, args) }
func (l kclLog) Warnf(format string, args ...any)  { l.warn(format, args) }
func (l kclLog) Errorf(format string, args ...any) { l.warn(format, args) }
func (l kclLog) Fatalf(format string, args ...any) { l.fatal(format, args) }
func (l kclLog) Panicf(format string, args ...any) { l.fatal(format, args) }

// WithFields implements logger.Logger.
func (l kclLog) WithFields(fields logger.Fields) logger.Logger {
	all := make([]zap.Field, 0, len(fields))
	for k, v := range fields {
		all = append(all, zap.Any(k, v))
	}
	return kclLog{log: l.log.With(all...), kept: l.kept, stop: l.stop}
}

func (l kclLog) debug(format string, args []any) {
	if e := l.log.Check(zap.DebugLevel, ""); e != nil {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l kclLog) warn(format string, args []any) {
	expected := l.stop.Err() != nil
	for _, a := range args {
		err, ok := a.(error)
		var known reported
		expected = expected || ok && (errors.Is(err, errSessionOver) || errors.As(err, &known))
	}
	if expected {
		l.debug(format, args)
		return
	}
	if repeats, ok := l.kept.let(format); ok {
		l.log.Warn(fmt.Sprintf(format, args...), zap.Int("suppressed", repeats))
	}
}

func (l kclLog) fatal(format string, args []any) { l.log.Error(fmt.Sprintf(format, args...)) }

// reported is an error that is logged already, in our words.
type reported struct{ error }

func (r reported) Unwrap() error { return r.error }

// suppressor lets one message of a kind through a minute.
type suppressor struct {
	mu   sync.Mutex
	seen map[string]*suppressed
}

type suppressed struct {
	next  time.Time
	count int
}

func newSuppressor() *suppressor { return &suppressor{seen: map[string]*suppressed{}} }

// let tells whether a message of this kind may go out, and how many did not.
func (s *suppressor) let(kind string) (repeats int, ok bool) {
	const every, maxKinds = time.Minute, 1024
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.seen[kind]
	if k == nil {
		if len(s.seen) >= maxKinds {
			clear(s.seen)
		}
		k = &suppressed{}
		s.seen[kind] = k
	}
	if now.Before(k.next) {
		k.count++
		return 0, false
	}
	repeats, k.count, k.next = k.count, 0, now.Add(every)
	return repeats, true
}
