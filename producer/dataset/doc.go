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
// [Open] reads TLC's CSV files with coordinates (yellow and green 2009 to
// mid-2016, FOIL 2013 with or without fares, DEBS 2015 without a header) and JSON
// lines, in any mix, even within one file, plain or packed by gzip, zstd, lz4,
// snappy (framed, S2 too) or bzip2. All is told apart by content, not by name. A
// packed file that is cut short or damaged is refused; snappy alone has no end,
// so that a cut between its chunks cannot be seen. Open accepts and rejects row for row what the batch oracle does:
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
// Nothing is deduplicated. All trips are sorted in memory, 72 bytes each; more
// than Options.MaxTrips are refused. Once spooled they need none.
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
