// Package remote fetches the files of data sets that are not on this machine:
// objects in S3 and files of web servers.
//
// # Names
//
//	s3://bucket/key           that object
//	s3://bucket/prefix/       all objects under the prefix; s3://bucket/ is all of the bucket
//	s3://bucket/prefix*.csv   the objects whose whole key matches, as path.Match
//	                          knows patterns: a * does not reach over a /
//	https://host/path         that file; http:// too
//
// A key is taken as it stands, without %-escapes. What consoles make of a folder,
// an empty object whose key ends with a slash, is no file. A URL may have a user
// and a password, and a query with a signature: [Object.Name] and errors are
// without both.
//
// The order of objects is that of their names as bytes, which is the order in
// which S3 lists the keys of a bucket.
//
// # Fetching
//
// Parquet is read from its end, and a connection that is held open while a file
// is parsed may be cut for being slow. So an object is fetched into a file before
// it is read, and the next ones while it is read: up to Config.Ahead of them, and
// up to Config.AheadBytes of disk together with the one at hand. A file that is
// larger than that, or whose size nobody says, is fetched alone.
//
// The file has no name, so that it is gone when it is closed, even by a crash. In
// Config.Cache it has one, by its URL, version and size, and stays: the next run
// takes it from there if its server still says the same. What has no version is
// not kept.
//
// # Failures
//
// The version of an object is its ETag, or the time of its last change where a
// web server gives no strong ETag. What follows a cut is asked for by its place
// and under the condition of that version, so that a file is never put together
// from two; without a version, or where a server ignores the place, the file is
// fetched from its start. Its length must be right, and its checksum where S3
// gives one of the whole object.
//
// A try without a byte for Config.Timeout is given up. Config.Attempts tries in a
// row that bring less than 1 MiB each end the fetch, with a pause before each
// that doubles, half of it random. What no try can mend (no such bucket, access
// denied, another region, an unknown certificate) ends it at once.
package remote
