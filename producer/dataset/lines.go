package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// bufferSize is how much of a file is read at once.
const bufferSize = 256 << 10

// maxLine bounds the memory that one line may take.
const maxLine = 64 << 20

// lines reads a file line by line, unpacked if it is compressed.
type lines struct {
	r      *bufio.Reader
	long   []byte // a line that is longer than the buffer of r
	packed string // how; "" if it is not
}

func newLines(r io.Reader) (*lines, error) {
	raw := bufio.NewReaderSize(r, bufferSize)
	plain, packed, err := decompress(raw)
	if err != nil {
		return nil, err
	}
	if packed == "" {
		return &lines{r: raw}, nil
	}
	unpacked := bufio.NewReaderSize(plain, bufferSize)
	head, err := unpacked.Peek(len(parquetStart))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(head) == parquetStart {
		return nil, errors.New("it is a Parquet file that was packed once more: unpack it, Parquet packs by itself")
	}
	return &lines{r: unpacked, packed: packed}, nil
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
