package dataset

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/tripgrid/tripgrid/producer/zones"
	"github.com/tripgrid/tripgrid/trip"
)

// parquetFile returns rows as a Parquet file.
func parquetFile[T any](t testing.TB, rows []T, options ...parquet.WriterOption) string {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[T](&buf, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func point[T any](x T) *T { return &x }

// The layouts of TLC's Parquet files, with the types that drift between months.
type (
	yellow2009Row struct {
		Vendor  string  `parquet:"vendor_name,optional"`
		Pickup  string  `parquet:"Trip_Pickup_DateTime,optional"`
		Dropoff string  `parquet:"Trip_Dropoff_DateTime,optional"`
		FromLon float64 `parquet:"Start_Lon,optional"`
		FromLat float64 `parquet:"Start_Lat,optional"`
		Rate    *int32  `parquet:"Rate_Code,optional"`
		ToLon   float64 `parquet:"End_Lon,optional"`
		ToLat   float64 `parquet:"End_Lat,optional"`
		Total   float64 `parquet:"Total_Amt,optional"`
	}
	yellow2010Row struct {
		Pickup  string  `parquet:"pickup_datetime"`
		Dropoff string  `parquet:"dropoff_datetime"`
		FromLon float32 `parquet:"pickup_longitude"`
		FromLat float32 `parquet:"pickup_latitude"`
		ToLon   string  `parquet:"dropoff_longitude"`
		ToLat   string  `parquet:"dropoff_latitude"`
		Total   string  `parquet:"total_amount"`
	}
	yellow2011Row struct {
		Pickup  *int64   `parquet:"tpep_pickup_datetime,optional,timestamp(microsecond:local)"`
		Dropoff *int64   `parquet:"tpep_dropoff_datetime,optional,timestamp(microsecond:local)"`
		From    *int64   `parquet:"PULocationID,optional"`
		To      *int64   `parquet:"DOLocationID,optional"`
		Total   *float64 `parquet:"total_amount,optional"`
	}
	greenRow struct {
		Pickup  int64   `parquet:"lpep_pickup_datetime,timestamp(nanosecond:local)"`
		Dropoff int64   `parquet:"lpep_dropoff_datetime,timestamp(millisecond:local)"`
		From    int32   `parquet:"PULocationID"`
		To      int32   `parquet:"DOLocationID"`
		Total   float32 `parquet:"total_amount"`
	}
	fhvRow struct {
		Base    string   `parquet:"dispatching_base_num"`
		Pickup  int64    `parquet:"pickup_datetime,timestamp(microsecond:local)"`
		Dropoff int64    `parquet:"dropOff_datetime,timestamp(microsecond:local)"`
		From    *float64 `parquet:"PUlocationID,optional"`
		To      *float64 `parquet:"DOlocationID,optional"`
	}
	fhvhvRow struct {
		Request int64  `parquet:"request_datetime,timestamp(microsecond:local)"`
		Pickup  int64  `parquet:"pickup_datetime,timestamp(microsecond:local)"`
		Dropoff int64  `parquet:"dropoff_datetime,timestamp(microsecond:local)"`
		From    string `parquet:"PULocationID"`
		To      int64  `parquet:"DOLocationID"`
		Fare    float64
	}
)

// zoneTrip is oneTrip from Times Square (230) to JFK (132).
func zoneTrip() trip.Trip {
	want := oneTrip
	want.PickupLat, want.PickupLon, _ = zones.NewYork().Point(230)
	want.DropoffLat, want.DropoffLon, _ = zones.NewYork().Point(132)
	return want
}

func TestOpenEveryParquetLayout(t *testing.T) {
	t.Parallel()
	const pickup, dropoff = "2014-05-06 07:08:09", "2014-05-06 07:20:00"
	one := oneTrip
	micros := func(ns int64) int64 { return ns / 1000 }
	free := zoneTrip()
	free.TotalCents = 0
	for name, row := range map[string]struct {
		content string
		want    trip.Trip
	}{
		"yellow 2009": {parquetFile(t, []yellow2009Row{{"VTS", pickup, dropoff, -73.985, 40.75, nil, -73.7825, 40.644, 58.33}}), one},
		"yellow 2010": {parquetFile(t, []yellow2010Row{{pickup, dropoff, -73.984375, 40.75, "-73.7825", "40.644", "58.33"}}),
			trip.Trip{Pickup: one.Pickup, Dropoff: one.Dropoff, PickupLat: 40.75, PickupLon: -73.984375,
				DropoffLat: 40.644, DropoffLon: -73.7825, TotalCents: 5833}},
		"yellow 2011": {parquetFile(t, []yellow2011Row{{point(micros(one.Pickup)), point(micros(one.Dropoff)),
			point(int64(230)), point(int64(132)), point(58.33)}}, parquet.Compression(&parquet.Zstd)), zoneTrip()},
		"green": {parquetFile(t, []greenRow{{one.Pickup, one.Dropoff / 1e6, 230, 132, 58.33}}, parquet.Compression(&parquet.Snappy)), zoneTrip()},
		"FHV":   {parquetFile(t, []fhvRow{{"B1", micros(one.Pickup), micros(one.Dropoff), point(230.0), point(132.0)}}, parquet.Compression(&parquet.Gzip)), free},
		"FHVHV": {parquetFile(t, []fhvhvRow{{0, micros(one.Pickup), micros(one.Dropoff), "230", 132, 50}}), free},
	} {
		f := open(t, write(t, "trips", row.content))
		if got := all(t, f); len(got) != 1 || got[0] != row.want {
			t.Errorf("%s: got %+v, want %+v", name, got, row.want)
		}
		checkDataset(t, f)
	}
}

// A Parquet file in several row groups is the same as its rows in CSV, and the
// same by the generic reader of the library.
func TestParquetAsNaively(t *testing.T) {
	t.Parallel()
	random := newRandom(7, 0)
	var rows []yellow2011Row
	for i := range int64(5000) {
		row := yellow2011Row{
			Pickup: point(at("2023-01-01 00:00:00")/1000 + random.below(1e12)), From: point(random.below(270) - 2),
			To: point(random.below(270) - 2), Total: point(float64(random.below(10_000)) / 100),
		}
		row.Dropoff = point(*row.Pickup + random.below(1e10))
		switch i % 97 {
		case 1:
			row.Pickup = nil
		case 2:
			row.Dropoff = point(int64(math.MaxInt64))
		case 3:
			row.From = nil
		case 4:
			row.Total = nil
		case 5:
			row.To = point(int64(1 << 40))
		}
		rows = append(rows, row)
	}
	content := parquetFile(t, rows, parquet.MaxRowsPerRowGroup(1100), parquet.PageBufferSize(700), parquet.DataPageVersion(1))
	path := write(t, "trips.parquet", content)
	f := open(t, path)
	valid, rejected, trips := naiveParquet(t, path)
	report := f.Report()[0]
	if report.Rows != 5000 || report.Valid != valid || !maps.Equal(report.Rejected, rejected) {
		t.Errorf("report %+v, want %d valid and %v", report, valid, rejected)
	}
	if !slices.Equal(all(t, f), trips) {
		t.Error("not the trips of the naive reader")
	}
	if len(report.Examples) != 9 || report.Examples[0].Line != 2 ||
		!strings.HasPrefix(report.Examples[0].Text, "tpep_pickup_datetime <null>, tpep_dropoff_datetime 2023-") {
		t.Errorf("examples %+v", report.Examples)
	}
}

// naiveParquet reads all rows into Go values and goes by the documentation alone.
func naiveParquet(t *testing.T, path string) (valid int64, rejected map[trip.Reason]int64, trips []trip.Trip) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	reader := parquet.NewGenericReader[map[string]any](file, f.Schema())
	defer reader.Close()
	rejected = map[trip.Reason]int64{}
	row := make([]map[string]any, 1)
	for {
		row[0] = map[string]any{}
		if n, _ := reader.Read(row); n == 0 {
			break
		}
		find := func(name string) (any, bool) {
			for key, value := range row[0] {
				if strings.EqualFold(key, name) || strings.EqualFold(key, "t"+name) || strings.EqualFold(key, "l"+name) {
					return value, value != nil
				}
			}
			return nil, false
		}
		instant := func(name string) (int64, bool) {
			value, ok := find(name)
			if !ok {
				return 0, false
			}
			switch v := value.(type) {
			case time.Time:
				return v.UnixNano(), v.Year() < 2262
			case int64:
				return v * 1000, v < 9_000_000_000_000_000
			}
			t.Fatalf("%s is %T", name, value)
			return 0, false
		}
		zone := func(name string) int64 {
			value, _ := find(name)
			switch v := value.(type) {
			case int64:
				return v
			case int32:
				return int64(v)
			}
			return 0
		}
		var ride trip.Trip
		var ok1, ok2, ok3, ok4 bool
		ride.Pickup, ok1 = instant("pep_pickup_datetime")
		ride.Dropoff, ok2 = instant("pep_dropoff_datetime")
		ride.PickupLat, ride.PickupLon, ok3 = zones.NewYork().Point(zone("PULocationID"))
		ride.DropoffLat, ride.DropoffLon, ok4 = zones.NewYork().Point(zone("DOLocationID"))
		if total, ok := find("total_amount"); ok {
			ride.TotalCents = int64(math.Round(total.(float64) * 100))
		}
		switch {
		case !ok1:
			rejected[trip.ReasonPickupTime]++
		case !ok2:
			rejected[trip.ReasonDropoffTime]++
		case !ok3 || !ok4:
			rejected[ReasonZone]++
		default:
			valid++
			trips = append(trips, ride)
		}
	}
	slices.SortStableFunc(trips, func(a, b trip.Trip) int { return int(min(1, max(-1, a.Dropoff-b.Dropoff))) })
	return valid, rejected, trips
}

func TestRealParquetAsNaively(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(realData(t), "parquet", "*.parquet"))
	if err != nil || len(paths) != 3 {
		t.Fatal(err, paths)
	}
	for _, path := range paths {
		f := open(t, path)
		valid, rejected, trips := naiveParquet(t, path)
		report := f.Report()[0]
		if report.Valid != valid || !maps.Equal(report.Rejected, rejected) || report.Valid < 50_000-5_000 {
			t.Errorf("%s: report %+v, want %d and %v", path, report, valid, rejected)
		}
		if !slices.Equal(all(t, f), trips) {
			t.Errorf("%s: not the trips of the naive reader", path)
		}
		t.Logf("%s: %d rows, %d valid, rejected %v", filepath.Base(path), report.Rows, report.Valid, report.Rejected)
		checkDataset(t, f)
	}
}

func TestOpenRefusesParquet(t *testing.T) {
	whole := parquetFile(t, []greenRow{{0, 0, 230, 132, 1}, {1, 1, 1, 1, 1}})
	for name, row := range map[string]struct{ content, say string }{
		"cut":          {whole[:len(whole)-1], "cut short"},
		"cut early":    {whole[:20], "cut short"},
		"packed":       {zipped(t, whole), "packed once more"},
		"no rows":      {parquetFile[greenRow](t, nil), "no valid trip:"},
		"other":        {parquetFile(t, []struct{ A, B int64 }{{1, 2}}), "no valid trip (bad rows: columns 1)"},
		"no zones":     {parquetFile(t, []struct{ Pickup_datetime, Dropoff_datetime string }{{}}), "columns 1"},
		"bad footer":   {whole[:len(whole)-40] + strings.Repeat("\xff", 32) + whole[len(whole)-8:], "damaged"},
		"huge footer":  {whole[:len(whole)-8] + "\xff\xff\xff\xffPAR1", "damaged"},
		"without unit": {parquetFile(t, []struct{ Pickup_datetime, Dropoff_datetime, PULocationID, DOLocationID int64 }{{}}), "pickup_time 1"},
	} {
		f, err := Open(t.Context(), []string{write(t, "trips", row.content)}, Options{})
		if err == nil || f != nil || !strings.Contains(err.Error(), row.say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want it to say %q", name, err, row.say)
		}
	}
}

// Whatever byte of a file is wrong, reading it ends, without a panic.
func TestOpenDamagedParquet(t *testing.T) {
	t.Parallel()
	whole := parquetFile(t, []greenRow{{1e18, 1e12, 230, 132, 1}, {1e18, 1e12, 1, 1, 1}})
	refused := 0
	tried := 0
	for i := 4; i < len(whole); i += 3 {
		tried++
		damaged := []byte(whole)
		damaged[i] ^= 0x14
		f, err := Open(t.Context(), []string{write(t, "damaged", string(damaged))}, Options{})
		if err != nil {
			refused++
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("byte %d: %v", i, err)
			}
			continue
		}
		checkDataset(t, f)
	}
	if refused < tried/10 {
		t.Errorf("%d of %d damaged files are refused", refused, tried)
	}
}

func TestParquetTellsProgress(t *testing.T) {
	rows := make([]greenRow, 40_000)
	for i := range rows {
		rows[i] = greenRow{From: 1 + int32(i%2)*263, To: 1} // 264 has no place
	}
	paths := []string{write(t, "1", parquetFile(t, rows)), write(t, "2", debs2015)}
	var reports []Report
	if _, err := Open(t.Context(), paths, Options{Progress: func(r Report) { reports = append(reports, r) }}); err != nil || len(reports) < 4 {
		t.Fatalf("%v, %d reports", err, len(reports))
	}
	for i := 1; i < len(reports); i++ {
		if a, b := reports[i-1], reports[i]; b.Bytes < a.Bytes || b.Rows < a.Rows || b.Valid < a.Valid {
			t.Errorf("%+v after %+v", b, a)
		}
	}
	if last := reports[len(reports)-1]; last.Bytes != last.TotalBytes || last.Rows != 40_001 || last.Valid != 20_001 {
		t.Errorf("last report %+v", last)
	}
}

// What a file claims and cannot have is refused before memory is taken for it.
func TestParquetClaims(t *testing.T) {
	t.Parallel()
	whole := []byte(parquetFile(t, []yellow2011Row{{Pickup: point(int64(1))}, {From: point(int64(1))}}, parquet.DataPageVersion(1)))
	f, err := parquet.OpenFile(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		damage func(*format.FileMetaData, *format.ColumnMetaData)
		say    string
	}{
		"rows":          {func(m *format.FileMetaData, _ *format.ColumnMetaData) { m.NumRows = 1 << 40 }, "it claims 1099511627776 rows in"},
		"negative rows": {func(m *format.FileMetaData, _ *format.ColumnMetaData) { m.NumRows = -1 }, "num_rows=-1 is negative"},
		"group rows":    {func(m *format.FileMetaData, _ *format.ColumnMetaData) { m.RowGroups[0].NumRows = 3 }, "its row group 0 claims 3 rows of 2"},
		"less values":   {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.NumValues = 1 }, "1 values in 2 rows"},
		"more of all": {func(m *format.FileMetaData, c *format.ColumnMetaData) {
			m.NumRows, m.RowGroups[0].NumRows, c.NumValues = 3, 3, 3
		}, "a column lacks 1 of 3 values"},
		"size":   {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.TotalCompressedSize = 1 << 40 }, "its columns claim more than"},
		"short":  {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.TotalCompressedSize = 30 }, "the header of a page: unexpected EOF"},
		"empty":  {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.TotalCompressedSize = 0 }, "a column lacks 2 of 2 values"},
		"offset": {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.DataPageOffset = 1 << 40 }, "a column claims"},
		"before": {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.DictionaryPageOffset = -4 }, "a column claims"},
		"other":  {func(_ *format.FileMetaData, c *format.ColumnMetaData) { c.DataPageOffset += 3 }, "damaged"},
	} {
		var meta format.FileMetaData
		protocol := new(thrift.CompactProtocol)
		good, err := thrift.Marshal(protocol, f.Metadata())
		if err != nil {
			t.Fatal(err)
		}
		if err := thrift.Unmarshal(protocol, good, &meta); err != nil {
			t.Fatal(err)
		}
		row.damage(&meta, &meta.RowGroups[0].Columns[0].MetaData)
		footer, err := thrift.Marshal(protocol, &meta)
		if err != nil {
			t.Fatal(err)
		}
		length := binary.LittleEndian.Uint32(whole[len(whole)-8:])
		damaged := slices.Concat(whole[:len(whole)-8-int(length)], footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte(parquetMagic))
		d, err := Open(t.Context(), []string{write(t, "x", string(damaged))}, Options{})
		if err == nil || d != nil || !strings.Contains(err.Error(), row.say) || !strings.Contains(err.Error(), "fetch it again") {
			t.Errorf("%s: %v, want it to say %q", name, err, row.say)
		}
	}
	// The headers of pages, as what fuzzing found has them.
	page := func(h format.PageHeader) error {
		raw, err := thrift.Marshal(new(thrift.CompactProtocol), &h)
		if err != nil {
			t.Fatal(err)
		}
		content := slices.Concat([]byte(parquetMagic), raw, make([]byte, 8))
		return checkChunk(bytes.NewReader(content), int64(len(content)), &format.ColumnMetaData{
			Type: format.Int64, NumValues: 1000, DataPageOffset: 4, TotalCompressedSize: int64(len(raw)) + 8}, 1000)
	}
	data := func(n int32) thrift.Null[format.DataPageHeader] {
		return thrift.Null[format.DataPageHeader]{V: format.DataPageHeader{NumValues: n}, Valid: true}
	}
	if err := page(format.PageHeader{CompressedPageSize: 8, UncompressedPageSize: 1 << 20, DataPageHeader: data(1000)}); err != nil {
		t.Errorf("a good page: %v", err)
	}
	for say, h := range map[string]format.PageHeader{
		"a page claims 346413609 bytes":                  {CompressedPageSize: 346413609, DataPageHeader: data(1000)},
		"a page claims -1 bytes":                         {CompressedPageSize: -1, DataPageHeader: data(1000)},
		"a page claims 2147483647 bytes, unpacked":       {UncompressedPageSize: math.MaxInt32, DataPageHeader: data(1000)},
		"a page claims 1001 values":                      {DataPageHeader: data(1001)},
		"a page claims -1 values":                        {DataPageHeader: data(-1)},
		"a dictionary claims 2147483647 values in 99 by": {Type: format.DictionaryPage, UncompressedPageSize: 99, DictionaryPageHeader: thrift.Null[format.DictionaryPageHeader]{V: format.DictionaryPageHeader{NumValues: math.MaxInt32}, Valid: true}},
	} {
		if err := page(h); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v", say, err)
		}
	}
	// Lists and texts of 2^31 elements, and lists in lists without an end.
	for _, footer := range []string{"\x19\xfc\xff\xff\xff\xff\x07\x00", "\x18\xff\xff\xff\xff\x07x\x00", strings.Repeat("\x19\x19", 1<<20), "\x1b\x01\x00", "\x15" + strings.Repeat("\xff", 20), "\x1c"} {
		damaged := parquetStart + footer + string(binary.LittleEndian.AppendUint32(nil, uint32(len(footer)))) + parquetMagic
		_, err := Open(t.Context(), []string{write(t, "x", damaged)}, Options{})
		if err == nil || !strings.Contains(err.Error(), "the Parquet file is damaged (its footer: ") {
			t.Errorf("a footer of %d bytes: %v", len(footer), err)
		}
	}
}

// FuzzParquet: whatever a file is, reading it ends soon, without a panic.
func FuzzParquet(f *testing.F) {
	f.Add([]byte(parquetFile(f, []greenRow{{1e18, 1e12, 230, 132, 1}})))
	f.Add([]byte(parquetFile(f, []yellow2009Row{{Pickup: "2009-01-01 00:00:00", Dropoff: "x"}})))
	f.Add([]byte(parquetFile(f, []yellow2011Row{{}, {From: point(int64(1))}}, parquet.DataPageVersion(1))))
	f.Add([]byte(parquetStart))
	f.Fuzz(func(t *testing.T, content []byte) {
		stalled := time.AfterFunc(10*time.Second, func() { panic("reading a file of " + strconv.Itoa(len(content)) + " bytes takes 10 s") })
		defer stalled.Stop()
		d, err := Open(t.Context(), []string{write(t, "x", string(content))}, Options{})
		if err == nil {
			checkDataset(t, d)
		}
	})
}
