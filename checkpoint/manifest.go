package checkpoint

import (
	"fmt"
	"slices"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// Manifest is one checkpoint: the cut that all partitions share, and for each
// partition where its state is and how to go on from it. Manifest 0 of a
// generation has no parts and fixes the job's Spec; later ones repeat it.
type Manifest struct {
	Format     int               `json:"format"`
	Job        string            `json:"job"`
	Generation stream.Generation `json:"generation"`
	// Nonce is the generation's.
	Nonce uint64 `json:"nonce,string"`
	// Base is the checkpoint that HEAD showed when N was announced.
	Base    stream.BarrierID `json:"base"`
	N       stream.BarrierID `json:"n"`
	Created time.Time        `json:"created"`
	Spec    Spec             `json:"spec"`
	// Vector is the cut; in manifest 0 it is empty, or a restore's start.
	Vector Vector `json:"vector"`
	// Partitions are 0 to N-1 in order.
	Partitions []PartitionEntry `json:"partitions"`
}

// PartitionEntry is what a manifest says of a partition; the fields are those of its Ack.
type PartitionEntry struct {
	Partition stream.Partition `json:"partition"`
	Part      PartRef          `json:"part"`
	Anchors   []Anchor         `json:"anchors"`
	Resume    uint64           `json:"resume"`
	Ordinal   uint64           `json:"ordinal"`
	Pending   uint64           `json:"pending"`
	Counters  Counters         `json:"counters"`
}

func (a *Ack) entry() PartitionEntry {
	return PartitionEntry{
		Partition: a.Partition, Part: a.Part, Anchors: a.Anchors, Resume: a.Resume,
		Ordinal: a.Ordinal, Pending: a.Pending, Counters: a.Counters,
	}
}

// Upload is the manifest's upload id.
func (m *Manifest) Upload() UploadID { return UploadID{m.Generation, m.N} }

// Encode returns the object and the reference that names it.
func (m *Manifest) Encode() ([]byte, ManifestRef, error) {
	c := *m
	c.Format = documentFormat
	data, err := encodeDocument("manifest", &c)
	if err != nil {
		return nil, ManifestRef{}, err
	}
	return data, ManifestRef{
		Generation: m.Generation, N: m.N, Name: ManifestName(m.Job, m.Upload(), data),
		Size: int64(len(data)), SHA256: sumHex(data),
	}, nil
}

// DecodeManifest reads a manifest; a corrupt one is refused by name.
func DecodeManifest(name string, data []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := decodeDocument("manifest", name, data, m); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("manifest %s is %w: %w", name, ErrCorrupt, err)
	}
	return m, nil
}

// Validate says what the manifest's parts do not agree on.
func (m *Manifest) Validate() error {
	if err := m.Spec.Validate(); err != nil {
		return err
	}
	if m.Job != m.Spec.Job {
		return fmt.Errorf("it is of job %s, its spec of %s", m.Job, m.Spec.Job)
	}
	if m.Generation == 0 {
		return fmt.Errorf("it has generation 0")
	}
	if len(m.Partitions) != m.Spec.Partitions {
		return fmt.Errorf("it has %d partitions instead of %d", len(m.Partitions), m.Spec.Partitions)
	}
	if m.N > 0 && len(m.Vector) == 0 {
		return fmt.Errorf("its vector has no shards")
	}
	for i := 1; i < len(m.Vector); i++ {
		if m.Vector[i].Shard <= m.Vector[i-1].Shard {
			return fmt.Errorf("its vector is not sorted at shard %s", m.Vector[i].Shard)
		}
	}
	for i := range m.Partitions {
		if e := &m.Partitions[i]; e.Partition != stream.Partition(i) {
			return fmt.Errorf("it has partition %d in the place of %d", e.Partition, i)
		} else if err := m.validateEntry(e); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
	}
	return nil
}

func (m *Manifest) validateEntry(e *PartitionEntry) error {
	if m.N == 0 {
		if e.Part.Name != "" {
			return fmt.Errorf("manifest 0 has a part %s", e.Part.Name)
		}
		return nil
	}
	o, ok := parseName(e.Part.Name)
	if !ok || o.Manifest || o.Job != m.Job || o.Partition != e.Partition || o.UploadID.Compare(m.Upload()) > 0 {
		return fmt.Errorf("%q cannot be its part in checkpoint %d", e.Part.Name, m.N)
	}
	seen := make(map[stream.ShardID]bool, len(e.Anchors))
	for _, a := range e.Anchors {
		c, ok := m.Vector.Find(a.Shard)
		switch {
		case !ok:
			return fmt.Errorf("the anchor of shard %s is of no shard of the vector", a.Shard)
		case seen[a.Shard]:
			return fmt.Errorf("shard %s has two anchors", a.Shard)
		case c.State == Open && a.Seq == 0:
			return fmt.Errorf("the anchor of shard %s is at 0, which is not in the log", a.Shard)
		case c.State == Open && a.Seq < e.Resume:
			return fmt.Errorf("it resumes at %d, past the anchor of shard %s at %d", e.Resume, a.Shard, a.Seq)
		}
		seen[a.Shard] = true
	}
	for _, c := range m.Vector {
		if c.State == Open && !seen[c.Shard] {
			return fmt.Errorf("the open shard %s has no anchor", c.Shard)
		}
	}
	return nil
}

// Drained tells whether every shard is ended or FINAL at the cut.
func (m *Manifest) Drained() bool {
	return len(m.Vector) > 0 && !slices.ContainsFunc(m.Vector, func(c ShardCut) bool {
		return c.State != Ended && !c.Final
	})
}

// Pending is the number of documents that no sink has confirmed at the cut.
func (m *Manifest) Pending() (n uint64) {
	for i := range m.Partitions {
		n += m.Partitions[i].Pending
	}
	return n
}

// Bytes is the size of all parts.
func (m *Manifest) Bytes() (n int64) {
	for i := range m.Partitions {
		n += m.Partitions[i].Part.Size
	}
	return n
}

// Finished tells whether nothing is left to do after the checkpoint: every
// shard is ended or FINAL and every document is confirmed.
func Finished(m *Manifest) bool { return m.Drained() && m.Pending() == 0 }

// PurgeBelow is, for each partition, the stream sequence strictly below which
// no reader and no writer needs the log as long as m is the oldest retained
// manifest: the smallest anchor of a shard open in m (R12). 0 means: nothing
// may be purged; that is so for manifest 0 and where no shard is open.
func PurgeBelow(m *Manifest) []uint64 {
	below := make([]uint64, len(m.Partitions))
	for i := range m.Partitions {
		for _, a := range m.Partitions[i].Anchors {
			if c, ok := m.Vector.Find(a.Shard); ok && c.State == Open && (below[i] == 0 || a.Seq < below[i]) {
				below[i] = a.Seq
			}
		}
	}
	return below
}
