package source

import (
	"errors"
	"time"

	kcl "github.com/vmware/vmware-go-kcl-v2/clientlibrary/interfaces"

	"github.com/tripgrid/tripgrid/stream"
)

// processor is what the library drives; everything is in the session. The
// library never calls it after its consumer returned, which may happen without
// Shutdown.
type processor struct {
	k *KCL
	s *session
}

// Initialize implements the library's interface.
func (p *processor) Initialize(in *kcl.InitializationInput) {
	if p.s = p.k.session(stream.ShardID(in.ShardId)); p.s != nil {
		p.s.open()
	}
}

// ProcessRecords implements the library's interface. The records in the input
// are the carrier that the middleware made.
func (p *processor) ProcessRecords(in *kcl.ProcessRecordsInput) {
	if p.s != nil {
		p.s.deliver(time.Duration(in.MillisBehindLatest) * time.Millisecond)
	}
}

// Shutdown implements the library's interface.
func (p *processor) Shutdown(in *kcl.ShutdownInput) {
	if p.s == nil {
		return
	}
	if in.ShutdownReason != kcl.TERMINATE {
		p.s.end(errConsumerOver)
		return
	}
	if !p.s.terminate() {
		return
	}
	if err := in.Checkpointer.Checkpoint(nil); err != nil { // nil is SHARD_END
		p.s.end(err)
		return
	}
	p.s.end(errShardEnded)
}

var errNoCheckpoint = errors.New("positions are recorded by KCL.Completed, when a checkpoint was committed")
