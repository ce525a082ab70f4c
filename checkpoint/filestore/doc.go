// Package filestore keeps checkpoints in a folder, with the guarantees of an
// object store (checkpoint.Store):
//
//	<root>/<object name>        objects, immutable
//	<root>/<job>/HEAD           the job's HEAD; its version is its SHA-256
//	<root>/<job>/.HEAD.lock     permanent lock file; it is never removed
//	<root>/.tmp/                files being written
//
// A file is written to .tmp, synced, and renamed to its name; then its folder,
// and every folder created for it, is synced. So a reader sees all of a file or
// nothing, and what was reported done survives a power failure. HEAD is swapped
// under an exclusive flock of the lock file: compare the SHA-256 of what is
// there, then write as above. The kernel drops the lock with the process, so a
// killed writer blocks nobody and leaves either the old HEAD or the new one.
//
// Each temporary is itself flocked by its writer; Open removes those that
// nobody holds. Folders on network file systems without flock are not
// supported.
package filestore
