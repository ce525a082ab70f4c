package checkpoint

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tripgrid/tripgrid/stream"
)

// UploadID orders uploads: it is the checkpoint that an object was uploaded
// for, stands in the object's name, and is compared with HEAD before anything
// is deleted (R11).
type UploadID struct {
	Generation stream.Generation
	N          stream.BarrierID
}

// Compare orders by generation, then by checkpoint.
func (u UploadID) Compare(v UploadID) int {
	return cmp.Or(cmp.Compare(u.Generation, v.Generation), cmp.Compare(u.N, v.N))
}

// hashDigits is how much of an object's SHA-256 stands in its name.
const hashDigits = 32

// PartName is the name of a partition's part: <job>/<generation>/<n>/<partition>/<hash>.
// Generation and n are the upload id; the hash is of the encoded object, so two
// owners of a partition never write different bytes under one name.
func PartName(job string, u UploadID, p stream.Partition, object []byte) string {
	return fmt.Sprintf("%s/%d/%d/%d/%s", job, u.Generation, u.N, p, sumHex(object)[:hashDigits])
}

// ManifestName is the name of a manifest: <job>/<generation>/<n>/manifest-<hash>.
func ManifestName(job string, u UploadID, object []byte) string {
	return fmt.Sprintf("%s/%d/%d/manifest-%s", job, u.Generation, u.N, sumHex(object)[:hashDigits])
}

// objectName is a parsed part or manifest name.
type objectName struct {
	UploadID
	Job       string
	Manifest  bool
	Partition stream.Partition
}

// parseName reads what PartName and ManifestName write; ok is false for all else.
func parseName(name string) (o objectName, ok bool) {
	f := strings.Split(name, "/")
	if len(f) < 4 || len(f) > 5 {
		return o, false
	}
	o.Job = f[0]
	g, err1 := strconv.ParseUint(f[1], 10, 16)
	n, err2 := strconv.ParseUint(f[2], 10, 64)
	if err1 != nil || err2 != nil {
		return o, false
	}
	o.Generation, o.N = stream.Generation(g), stream.BarrierID(n)
	if len(f) == 4 {
		o.Manifest = true
		return o, strings.HasPrefix(f[3], "manifest-")
	}
	p, err := strconv.ParseUint(f[3], 10, 32)
	o.Partition = stream.Partition(p)
	return o, err == nil && len(f[4]) == hashDigits
}
