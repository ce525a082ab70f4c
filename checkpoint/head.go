package checkpoint

import (
	"fmt"

	"github.com/tripgrid/tripgrid/stream"
)

// Head is the one mutable object of a job: which generation lives, which
// checkpoint is its newest, and which manifests are kept (R10).
type Head struct {
	Format     int               `json:"format"`
	Job        string            `json:"job"`
	Generation stream.Generation `json:"generation"`
	// Nonce is the generation's; it also stands in the log.
	Nonce uint64           `json:"nonce,string"`
	N     stream.BarrierID `json:"n"`
	// CommitNonce says whose swap this is: it resolves a lost answer.
	CommitNonce string `json:"commit_nonce"`
	// Manifests are the retained ones, newest first; the first is checkpoint N.
	Manifests []ManifestRef `json:"manifests"`
	// Pins are kept until they are removed, whatever their age.
	Pins []Pin `json:"pins,omitempty"`
}

// ManifestRef names a manifest and fixes its content.
type ManifestRef struct {
	Generation stream.Generation `json:"generation"`
	N          stream.BarrierID  `json:"n"`
	Name       string            `json:"name"`
	Size       int64             `json:"size"`
	SHA256     string            `json:"sha256"`
}

// Pin keeps a manifest and its parts for a reason, such as a restore's base.
type Pin struct {
	Reason   string      `json:"reason"`
	Manifest ManifestRef `json:"manifest"`
}

// Upload is HEAD's place in the order of uploads.
func (h *Head) Upload() UploadID { return UploadID{h.Generation, h.N} }

// Encode returns HEAD's bytes.
func (h *Head) Encode() ([]byte, error) {
	c := *h
	c.Format = documentFormat
	return encodeDocument("head", &c)
}

// DecodeHead reads a HEAD; a corrupt one is refused by name.
func DecodeHead(job string, data []byte) (Head, error) {
	var h Head
	name := HeadName(job)
	if err := decodeDocument("head", name, data, &h); err != nil {
		return Head{}, err
	}
	switch {
	case h.Job != job:
		return Head{}, fmt.Errorf("head %s is %w: it is of job %q", name, ErrCorrupt, h.Job)
	case len(h.Manifests) == 0 || h.Manifests[0].N != h.N || h.Manifests[0].Generation != h.Generation:
		return Head{}, fmt.Errorf("head %s is %w: checkpoint %d of generation %d is not its first manifest", name, ErrCorrupt, h.N, h.Generation)
	}
	return h, nil
}

// retained lists all manifests that the HEAD keeps, pins included.
func (h *Head) retained() []ManifestRef {
	refs := append([]ManifestRef(nil), h.Manifests...)
	for _, p := range h.Pins {
		refs = append(refs, p.Manifest)
	}
	return refs
}
