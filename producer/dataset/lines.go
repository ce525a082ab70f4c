package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// maxLine bounds the memory that one line may take.
const maxLine = 64 << 20

// lines reads a file line by line, unzipped if it is gzipped by content.
type lines struct {
	r    *bufio.Reader
	long []byte // a line that is longer than the buffer of r
}

func newLines(r io.Reader) (*lines, error) {
	raw := bufio.NewReaderSize(r, 256<<10)
	magic, err := raw.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return &lines{r: raw}, nil
	}
	zipped := &gunzip{raw: raw}
	return &lines{r: bufio.NewReaderSize(zipped, 256<<10)}, nil
}

// next returns the next line with its end, which the last one may lack. It is
// good until the next call. The error is io.EOF behind the last line.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == nil || errors.Is(err, io.EOF) && len(line) > 0 {
		return line, nil
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	l.long = l.long[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		if l.long = append(l.long, line...); len(l.long) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d MiB: is it a text file?", maxLine>>20)
		}
		line, err = l.r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	l.long = append(l.long, line...)
	return l.long, nil
}

// gunzip reads gzip members one after the other, and like gzip(1) and Python
// ignores zeros behind the last one, with which tapes and discs pad files.
type gunzip struct {
	raw    *bufio.Reader
	member *gzip.Reader
	open   bool
}

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
			return n, gzipError(err)
		}
	}
}

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
		if err := g.member.Reset(g.raw); err != nil {
			return gzipError(err)
		}
	} else {
		member, err := gzip.NewReader(g.raw)
		if err != nil {
			return gzipError(err)
		}
		g.member = member
	}
	g.member.Multistream(false)
	g.open = true
	return nil
}

// gzipError says in words what is wrong with a gzip file.
func gzipError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("the gzip file is cut short: fetch it again")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return fmt.Errorf("the gzip file is damaged (%w): fetch it again", err)
	}
	return err
}
