package dataset

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// debs2015 as bzip2 packs it: Go can only unpack it.
const debsBzip2 = "QlpoOTFBWSZTWWE7U3QAADVeAAAQQAd/8AhCCAAgAHIoGmhkxMCVT01PCj0TEJookTreVLrD49Qcual+IZEZUc25kMii43JINVIx" +
	"upINMx3HY/CHNrlhTELrksiwkUh4kXckU4UJBhO1N0A="

// packed returns debs2015 in every compression.
func packed(t testing.TB) map[string]string {
	t.Helper()
	bz, err := base64.StdEncoding.DecodeString(debsBzip2)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"gzip": zipped(t, debs2015), "bzip2": string(bz)}
	for name, writer := range map[string]func(io.Writer) io.WriteCloser{
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
		"lz4": func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) },
		"lz4 without checksum": func(w io.Writer) io.WriteCloser {
			z := lz4.NewWriter(w)
			if err := z.Apply(lz4.ChecksumOption(false), lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
				t.Fatal(err)
			}
			return z
		},
		"snappy": func(w io.Writer) io.WriteCloser { return snappy.NewBufferedWriter(w) },
		"s2":     func(w io.Writer) io.WriteCloser { return s2.NewWriter(w) },
	} {
		var buf bytes.Buffer
		w := writer(&buf)
		if _, err := io.WriteString(w, debs2015); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		all[name] = buf.String()
	}
	return all
}

// Every compression is known by its content, and pieces may follow each other.
func TestOpenEveryCompression(t *testing.T) {
	t.Parallel()
	for name, content := range packed(t) {
		if f := open(t, write(t, "trips.csv", content)); f.Len() != 1 || all(t, f)[0] != oneTrip {
			t.Errorf("%s: got %+v", name, all(t, f))
		}
		if f := open(t, write(t, "trips", strings.Repeat(content, 3))); f.Len() != 3 || f.Report()[0].Rows != 3 {
			t.Errorf("%s, three times: %+v", name, f.Report())
		}
	}
	skippable := "\x5a\x2a\x4d\x18\x02\x00\x00\x00hi"
	if f := open(t, write(t, "trips", skippable+packed(t)["zstd"])); f.Len() != 1 {
		t.Errorf("behind a skippable frame: %+v", f.Report())
	}
	// Text that begins like bzip2.
	if f := open(t, write(t, "trips", "BZh9,1\n"+debs2015)); f.Len() != 1 || f.Report()[0].Rows != 2 {
		t.Errorf("text: %+v", f.Report())
	}
}

// A file that is cut at any (second) byte, or has a wrong bit, is refused in one sentence:
// it never gives fewer or other trips. Snappy alone has no end: a cut between
// its chunks cannot be seen.
func TestOpenDamagedCompression(t *testing.T) {
	t.Parallel()
	for name, content := range packed(t) {
		for cut := 1; cut < len(content); cut += 2 {
			// Less than the magic number is text.
			f, err := Open(t.Context(), []string{write(t, "cut", content[:cut])}, Options{})
			snappy := name == "snappy" || name == "s2"
			switch {
			case err == nil && !(snappy && all(t, f)[0] == oneTrip):
				t.Errorf("%s cut at %d: %+v", name, cut, f.Report())
			case err != nil && cut >= magicBytes && !snappy && !strings.Contains(err.Error(), "cut short"):
				t.Errorf("%s cut at %d: %v", name, cut, err)
			}
		}
		if name == "lz4 without checksum" {
			continue // nothing can tell
		}
		for i := magicBytes; i < len(content); i += 5 {
			damaged := []byte(content)
			damaged[i] ^= 0x10
			f, err := Open(t.Context(), []string{write(t, "damaged", string(damaged))}, Options{})
			if err == nil && (f.Len() != 1 || all(t, f)[0] != oneTrip) {
				t.Errorf("%s damaged at %d: %+v", name, i, f.Report())
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s damaged at %d: %v", name, i, err)
			}
		}
	}
}
