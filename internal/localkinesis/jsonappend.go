package localkinesis

import (
	"fmt"
	"strconv"
)

// appendString appends a JSON string. The text is UTF-8.
func appendString[T string | []byte](b []byte, text T) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, text[from:]...)
	return append(b, '"')
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendSeconds appends milliseconds since 1970 as seconds with three decimals, which is how the API writes times.
func appendSeconds(b []byte, millis int64) []byte {
	b = strconv.AppendInt(b, millis/1000, 10)
	n := millis % 1000
	return append(b, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

// appendTo appends the API's form of a shard id.
func (id shardID) appendTo(b []byte) []byte {
	if id > 9999 {
		return fmt.Append(b, id)
	}
	b = append(b, shardIDPrefix...)
	return append(b, '0', '0', '0', '0', '0', '0', '0', '0',
		byte('0'+id/1000), byte('0'+id/100%10), byte('0'+id/10%10), byte('0'+id%10))
}
