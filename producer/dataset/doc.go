// Package dataset gives the producer finite, sorted runs of trips: read from
// files, spooled to one file, or generated.
//
// A [Dataset] is in (drop-off, file, row) order, files by name, and never changes:
// trip i is the same trip in every life of a job. Lanes, sequences and restarts
// of the producer are arithmetic on that index (PROTOCOL R14), so a data set's
// [Identity] is a digest of its trips in their order, whatever their files are
// called and however they are compressed.
//
// # Files
//
// [Open] reads what TLC has published, told apart by content, not by name:
//
//   - CSV with coordinates: yellow and green 2009 to mid-2016, FOIL 2013 with or
//     without fares, DEBS 2015 without a header.
//   - CSV with zone ids: yellow and green from mid-2016 on, FHV from 2017 on,
//     FHVHV. FHV before 2017 has no drop-offs: its rows are rejected.
//   - Parquet, with coordinates (2009, 2010) or zone ids.
//   - Ride events: a START and an END for each trip.
//   - JSON lines, as the stream has them.
//
// Files of text may mix all but Parquet, and may be packed by gzip, zstd, lz4,
// snappy (framed, S2 too) or bzip2. A packed file that is cut short or damaged is
// refused; snappy alone has no end, so that a cut between its chunks cannot be
// seen. In rows with coordinates and JSON lines, Open accepts and rejects row for
// row what the batch oracle does:
//
//   - A line ends with LF; CRs around it, a byte order mark before the first one
//     and blank lines are ignored.
//   - A line that begins with { is a JSON event; watermarks are ignored.
//   - Columns are found by name, whatever the case and blanks around it. Six are
//     needed: both times, both ends. A total is taken where there is one.
//   - A row that is bad and has a cell with the name of a needed column is a
//     header, wherever it stands, and starts a new layout.
//   - Before any header a row has DEBS' 17 columns; more of them may be blank.
//     Under a header, rows may be longer or shorter than it as long as the
//     needed columns are there.
//   - A line with a quote is split by the rules of Python's csv.reader, one line
//     at a time; any other one at its commas.
//
// Nothing is deduplicated.
//
// A path may be a URL: package remote says which, and fetches them, the next ones
// while one is read. Files are in the order of their names as bytes: the paths as
// they were given or found by a pattern, https:// URLs without password and query,
// s3://bucket/key. So the same files under the same names are the same data set,
// in a folder, behind a web server or in a bucket.
//
// # Zones
//
// A row without all coordinates, but with PULocationID and DOLocationID, is at
// the centroids of its zones: Options.Zones, or those of New York. An id that is
// absent, malformed or not in the table rejects the row with [ReasonZone]; its
// times are looked at first. FHV and FHVHV have no total: it is 0.
//
// # Times
//
// Times that do not say their zone are in Options.Timezone. Where the clocks are
// set back, an hour is shown twice: such a time is the first of the two. Where
// they are set forward, an hour is never shown: a time in it counts on from
// before the change, so half past two is half past three. Both follow from one
// rule, the offset before the change, which is what java.time and Python's
// zoneinfo do too. So a trip over the end of daylight saving may seem to take an
// hour more or less than it did, or to end before it began: nothing in TLC's
// files can tell.
//
// A Parquet timestamp that is marked as adjusted to UTC is an instant; all
// others, INT96 too, are without a zone, as TLC's are.
//
// # Parquet
//
// Columns have the same names as in CSV. Ids may be of any type of number or
// text, times timestamps of any unit or text; a null is as an empty cell. Rows
// are decoded by columns, 1024 at a time; only the columns that are needed are
// read, and a page of each is in memory.
//
// What a damaged file claims is held against its length before memory or time is
// spent on it: lists in the footer, rows (4096 a byte at most), the bytes and
// values of each page (512 MiB and 64 Mi at most) and dictionary.
//
// # Ride events
//
// An END makes a trip with the START of the same ride id that is before it in the
// same file. The pick-up is that of the START; of the two times of the END, the
// one that is not the START's is the drop-off, whichever comes first. Without its
// other half an event is rejected with [ReasonUnpaired], so are an END that says
// another beginning and a START whose id has begun already.
//
// # Sorting
//
// Up to Options.MemoryTrips are sorted in memory, 72 bytes each. More go to files
// in Options.SpillDir in sorted runs of blocks with checksums, as in a spool,
// which are merged into one file that the data set then reads in place: order and
// digest are the same. The disk needs 56 bytes a trip, twice. A data set that is
// spooled needs none of it after Close.
//
// # The spool
//
// [Spool] writes a data set into one file, [OpenSpool] reads it in place, so a
// restart needs neither the original files nor their memory. All numbers are
// little-endian; a checksum is CRC-32C.
//
//	offset        size  what
//	0             8     magic "TGSPOOL\n"
//	8             4     version, 1
//	12            4     trips in a block, 1024
//	16            8     length of the file in bytes
//	24            8     number of trips, n
//	32            32    digest of the identity
//	64            4     length of the name, m
//	68            m     name of the identity, UTF-8
//	68+m          4     checksum of all bytes before
//	72+m                blocks of 1024 trips, the last one of the rest:
//	              56*k    trips: pick-up, drop-off (ns since 1970), pick-up latitude
//	                      and longitude, drop-off latitude and longitude (float64),
//	                      total (cents)
//	              4       checksum of the block's number (8 bytes) and its trips
//
// # The generator
//
// [Generate] makes trips with New York's shape from a seed. Trip i is a pure
// function of (seed, start, per day, i), computed in integers, so it is the same
// on every machine, and any part of it can be read at once.
package dataset
