package dataset

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The library takes memory and time for whatever a Parquet file claims: lists of
// 2^31 elements in its footer, pages of 2 GiB, thousands of millions of rows that
// are null. So the claims are held against the length of the file before.
const (
	// maxPage bounds a page, unpacked: writers that make one page of a column
	// stay below it with 64 million rows in a group.
	maxPage = 512 << 20
	// maxPageValues bounds the values of a page: their levels take a byte each.
	maxPageValues = 64 << 20
	// maxRowsPerByte bounds the rows of a file, and its pages, unpacked: a million
	// equal rows take more than 1 kB.
	maxRowsPerByte = 4096
	// maxPageHeader bounds the header of a page, which may have a minimum and a
	// maximum in it.
	maxPageHeader = 1 << 20
	// maxFooter bounds the footer: that of a thousand columns in a thousand row
	// groups is smaller.
	maxFooter = 64 << 20
	// maxThriftDepth is more than Parquet's structures are nested.
	maxThriftDepth = 32
)

// claimError says what a file claims and cannot have.
func claimError(format string, args ...any) error {
	return fmt.Errorf("the Parquet file is damaged (%s): fetch it again", fmt.Sprintf(format, args...))
}

// checkFooter holds the rows and the sizes of row groups against the file.
func checkFooter(meta *format.FileMetaData, size int64) error {
	rows, room := meta.NumRows, size
	if rows < 0 || rows > size*maxRowsPerByte {
		return claimError("it claims %d rows in %d bytes", rows, size)
	}
	for i := range meta.RowGroups {
		group := &meta.RowGroups[i]
		if group.NumRows < 0 || group.NumRows > rows {
			return claimError("its row group %d claims %d rows of %d", i, group.NumRows, rows)
		}
		rows -= group.NumRows
		for j := range group.Columns {
			n := group.Columns[j].MetaData.TotalCompressedSize
			if n < 0 || n > room {
				return claimError("its columns claim more than %d bytes", size)
			}
			room -= n
		}
	}
	return nil
}

// checkChunk reads the headers of all pages of a column in a row group.
func checkChunk(file io.ReaderAt, size int64, meta *format.ColumnMetaData, rows int64) error {
	at := meta.DataPageOffset
	if meta.DictionaryPageOffset != 0 {
		at = meta.DictionaryPageOffset
	}
	if at < int64(len(parquetMagic)) || meta.TotalCompressedSize > size-at || meta.NumValues != rows {
		return claimError("a column claims %d bytes at %d, and %d values in %d rows", meta.TotalCompressedSize, at, meta.NumValues, rows)
	}
	end, left := at+meta.TotalCompressedSize, rows
	for at < end && left > 0 {
		header, length, err := readPageHeader(file, at, end-at)
		if err != nil {
			return err
		}
		at += length
		if n := int64(header.CompressedPageSize); n < 0 || n > end-at {
			return claimError("a page claims %d bytes, and its column has %d more", n, end-at)
		}
		at += int64(header.CompressedPageSize)
		unpacked := int64(header.UncompressedPageSize)
		if unpacked < 0 || unpacked > min(maxPage, max(1<<20, size*maxRowsPerByte)) {
			return claimError("a page claims %d bytes, unpacked", unpacked)
		}
		values := int64(0)
		switch header.Type {
		case format.DictionaryPage:
			if n := int64(header.DictionaryPageHeader.V.NumValues); n < 0 || n*minWidth(meta.Type) > unpacked {
				return claimError("a dictionary claims %d values in %d bytes", n, unpacked)
			}
		case format.DataPage:
			values = int64(header.DataPageHeader.V.NumValues)
		case format.DataPageV2:
			values = int64(header.DataPageHeaderV2.V.NumValues)
		}
		if values < 0 || values > min(left, maxPageValues) {
			return claimError("a page claims %d values, and its column has %d more", values, left)
		}
		left -= values
	}
	if left > 0 {
		return claimError("a column lacks %d of %d values", left, rows)
	}
	return nil
}

// minWidth is the least that a value takes in a dictionary.
func minWidth(kind format.Type) int64 {
	switch kind {
	case format.Int64, format.Double:
		return 8
	case format.Int96:
		return 12
	case format.Int32, format.Float, format.ByteArray:
		return 4
	}
	return 1
}

// readPageHeader reads the header at a place, and its length.
func readPageHeader(file io.ReaderAt, at, room int64) (*format.PageHeader, int64, error) {
	for size := int64(512); ; size *= 8 {
		raw := make([]byte, min(size, room))
		if _, err := file.ReadAt(raw, at); err != nil {
			return nil, 0, err
		}
		rest, err := skipStruct(raw, 0)
		if errors.Is(err, io.ErrUnexpectedEOF) && size < min(maxPageHeader, room) {
			continue
		}
		raw = raw[:len(raw)-len(rest)]
		header := new(format.PageHeader)
		if err == nil {
			err = thrift.Unmarshal(new(thrift.CompactProtocol), raw, header)
		}
		if err != nil {
			return nil, 0, claimError("the header of a page: %.100v", err)
		}
		return header, int64(len(raw)), nil
	}
}

var errThrift = errors.New("it is no Thrift")

// skipStruct returns what follows a structure in Thrift's compact protocol. Each
// list and text in it is no longer than what it is in.
func skipStruct(b []byte, depth int) ([]byte, error) {
	for {
		if len(b) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		head := b[0]
		if b = b[1:]; head == 0 {
			return b, nil
		}
		var err error
		if head>>4 == 0 { // the field's number follows
			if _, b, err = uvarint(b); err != nil {
				return nil, err
			}
		}
		if kind := head & 15; kind > 2 { // 1 and 2 are true and false
			if b, err = skipValue(b, kind, depth+1); err != nil {
				return nil, err
			}
		}
	}
}

// skipValue returns what follows a value.
func skipValue(b []byte, kind byte, depth int) (_ []byte, err error) {
	if depth > maxThriftDepth {
		return nil, errThrift
	}
	fixed := 1 // bytes
	var n uint64
	switch kind {
	case 1, 2, 3:
	case 4, 5, 6: // a number
		_, b, err = uvarint(b)
		return b, err
	case 7: // a double
		fixed = 8
	case 8: // bytes
		if n, b, err = uvarint(b); err != nil {
			return nil, err
		}
		if n > uint64(len(b)) {
			return nil, io.ErrUnexpectedEOF
		}
		fixed = int(n)
	case 9, 10: // a list, a set
		if len(b) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		kind, n = b[0]&15, uint64(b[0]>>4)
		if b = b[1:]; n == 15 {
			if n, b, err = uvarint(b); err != nil {
				return nil, err
			}
		}
		if n > uint64(len(b)) {
			return nil, io.ErrUnexpectedEOF
		}
		for range n {
			if b, err = skipValue(b, kind, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case 12:
		return skipStruct(b, depth)
	default: // Parquet has no maps
		return nil, errThrift
	}
	if fixed > len(b) {
		return nil, io.ErrUnexpectedEOF
	}
	return b[fixed:], nil
}

// uvarint reads a number of up to 10 bytes.
func uvarint(b []byte) (n uint64, rest []byte, err error) {
	for i, c := range b {
		if i == 10 {
			return 0, nil, errThrift
		}
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return n, b[i+1:], nil
		}
	}
	return 0, nil, io.ErrUnexpectedEOF
}
