package dataset

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxWindow is the most memory that a zstd file may want for its window; that is
// what zstd --long takes without a number.
const maxWindow = 128 << 20

// compression is one way in which a file may be compressed.
type compression struct {
	name string
	// matches says whether a file that begins with head is compressed this way.
	matches func(head []byte) bool
	// open returns a reader of what is in raw. It need not tell damage from the
	// end of raw in the middle: see decompressed.
	open func(raw *bufio.Reader) (io.Reader, error)
}

// magicBytes is what all of a compression's magic numbers fit into.
const magicBytes = 10

var compressions = []compression{
	{"gzip", begins("\x1f\x8b"), func(raw *bufio.Reader) (io.Reader, error) { return &gunzip{raw: raw}, nil }},
	{"zstd", isZstd, openZstd},
	{"lz4", begins("\x04\x22\x4d\x18"), openLZ4},
	{"snappy", begins("\xff\x06\x00\x00sNaPpY", "\xff\x06\x00\x00S2sTwO"), openSnappy},
	{"bzip2", isBzip2, func(raw *bufio.Reader) (io.Reader, error) { return bzip2.NewReader(raw), nil }},
}

// begins returns a match for any of some magic numbers.
func begins(magics ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, magic := range magics {
			if bytes.HasPrefix(head, []byte(magic)) {
				return true
			}
		}
		return false
	}
}

// isZstd knows frames and, as pzstd puts them first, skippable frames.
func isZstd(head []byte) bool {
	return begins("\x28\xb5\x2f\xfd")(head) || len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18"))
}

// isBzip2 looks at the first block's or the end's magic number too: what is
// before it is plain text.
func isBzip2(head []byte) bool {
	return begins("BZh")(head) && len(head) >= 10 && '1' <= head[3] && head[3] <= '9' &&
		begins("\x31\x41\x59\x26\x53\x59", "\x17\x72\x45\x38\x50\x90")(head[4:])
}

func openZstd(raw *bufio.Reader) (io.Reader, error) {
	// With a concurrency of 1 there is no goroutine, so there is nothing to close.
	return zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

func openLZ4(raw *bufio.Reader) (io.Reader, error) {
	r := lz4.NewReader(raw)
	return r, r.Apply(lz4.ConcurrencyOption(1))
}

func openSnappy(raw *bufio.Reader) (io.Reader, error) { return s2.NewReader(raw), nil }

// archives are of several files, or of what nothing here unpacks.
var archives = []struct {
	name  string
	magic string
}{
	{"ZIP", "PK\x03\x04"}, {"7z", "7z\xbc\xaf\x27\x1c"}, {"xz", "\xfd7zXZ\x00"}, {"RAR", "Rar!\x1a\x07"},
}

// decompress returns what is in raw, and how it is packed: "" if it is not. The
// content says so, not the name.
func decompress(raw *bufio.Reader) (plain io.Reader, packed string, err error) {
	head, err := raw.Peek(magicBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	for _, c := range compressions {
		if !c.matches(head) {
			continue
		}
		r, err := c.open(raw)
		if err != nil {
			return nil, "", fmt.Errorf("the %s file cannot be unpacked: %w", c.name, err)
		}
		return &decompressed{name: c.name, r: r}, c.name, nil
	}
	for _, a := range archives {
		if begins(a.magic)(head) {
			return nil, "", fmt.Errorf("it is a %s archive: unpack it, and give what is in it", a.name)
		}
	}
	return raw, "", nil
}

// decompressed gives the errors of a compression in words for people. It ends
// with its first error: what a decoder does after one is not to be relied on.
type decompressed struct {
	name string
	r    io.Reader
	err  error
}

// Read implements io.Reader.
func (d *decompressed) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.r.Read(p)
	d.err = d.explain(err)
	return n, d.err
}

func (d *decompressed) explain(err error) error {
	var disk *fs.PathError
	switch {
	case err == nil, err == io.EOF, errors.As(err, &disk): //nolint:errorlint // a wrapped EOF is no end
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("the %s file is cut short: fetch it again", d.name)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("the zstd file wants more than %d MiB of memory: compress it again without a greater --long", maxWindow>>20)
	}
	return fmt.Errorf("the %s file is damaged (%w): fetch it again", d.name, err)
}

// gunzip reads the members of a gzip file one after the other, and zeros behind
// a member as the padding they are.
type gunzip struct {
	raw    *bufio.Reader
	member *gzip.Reader
	open   bool
}

// Read implements io.Reader.
func (g *gunzip) Read(p []byte) (int, error) {
	for {
		if !g.open {
			if err := g.nextMember(); err != nil {
				return 0, err
			}
		}
		n, err := g.member.Read(p)
		if errors.Is(err, io.EOF) {
			g.open, err = false, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// nextMember opens the next member; io.EOF says that there is none.
func (g *gunzip) nextMember() error {
	if g.member != nil {
		for {
			c, err := g.raw.ReadByte()
			if err != nil {
				return err // io.EOF: all is read
			}
			if c != 0 {
				if err := g.raw.UnreadByte(); err != nil {
					return err
				}
				break
			}
		}
	} else {
		g.member = new(gzip.Reader)
	}
	if err := g.member.Reset(g.raw); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	g.member.Multistream(false)
	g.open = true
	return nil
}
