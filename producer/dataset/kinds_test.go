package dataset

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tripgrid/tripgrid/trip"
)

// zstd17 is a header of as many columns as DEBS has, packed.
func zstd17(t *testing.T) string {
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Replace(yellow2019, ",congestion_surcharge", "", 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// What a file is, is said; and the times of what is valid in it.
func TestReportSaysFormatAndSpan(t *testing.T) {
	t.Parallel()
	ride := "6,START,2014-05-06 07:08:09,1970-01-01 00:00:00,-73.985,40.75,-73.7825,40.644,1,2,3\n"
	for want, content := range map[string]string{
		"CSV with coordinates":       yellow2009,
		"CSV with zone ids":          yellow2019,
		"CSV with zone ids in gzip":  zipped(t, yellow2019),
		"CSV of DEBS 2015 in bzip2":  packed(t)["bzip2"],
		"CSV of DEBS 2015 in zstd":   packed(t)["zstd"],
		"CSV with zone ids in zstd":  zstd17(t),
		"CSV that lacks columns":     "pickup_datetime\nx\n",
		"CSV of DEBS 2015":           debs2015,
		"JSON lines":                 jsonLine + "{\n",
		"ride events":                ride,
		"unknown":                    "what is this?\n",
		"Parquet with coordinates":   parquetFile(t, []yellow2009Row{{}}),
		"Parquet with zone ids":      parquetFile(t, []greenRow{{}}),
		"Parquet that lacks columns": parquetFile(t, []struct{ A int64 }{{1}}),
		"CSV with coordinates and CSV with zone ids and JSON lines": yellow2009 + yellow2019 + jsonLine,
	} {
		f := open(t, write(t, "a", content), write(t, "b", debs2015))
		report := f.Report()[0]
		if report.Format != want || report.Bytes != int64(len(content)) {
			t.Errorf("%q, %d bytes, want %q, %d", report.Format, report.Bytes, want, len(content))
		}
		if (report.Valid == 0) != (report.Span == Span{}) {
			t.Errorf("%s: span %v of %d trips", want, report.Span, report.Valid)
		}
	}
	later := strings.ReplaceAll(strings.ReplaceAll(debs2015, "07:08:09", "06:00:00"), "07:20:00", "08:00:00")
	got := open(t, write(t, "a", debs2015+later+"x\n")).Report()[0].Span
	clock := func(text string) time.Time { return trip.Time(at("2014-05-06 " + text)) }
	if want := (Span{clock("06:00:00"), clock("07:08:09"), clock("07:20:00"), clock("08:00:00")}); got != want {
		t.Errorf("span %v, want %v", got, want)
	}
}

// What is packed in a way that nothing here unpacks is refused by name.
func TestOpenRefusesArchives(t *testing.T) {
	for name, content := range map[string]string{
		"ZIP": "PK\x03\x04\x14\x00", "7z": "7z\xbc\xaf\x27\x1c\x00", "xz": "\xfd7zXZ\x00\x00", "RAR": "Rar!\x1a\x07\x01",
	} {
		_, err := Open(t.Context(), []string{write(t, "x", content)}, Options{})
		if err == nil || !strings.Contains(err.Error(), "it is a "+name+" archive: unpack it, and give what is in it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
