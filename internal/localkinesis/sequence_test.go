package localkinesis

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func anySequence(t *rapid.T, label string) sequence {
	return sequence{
		epoch: epoch(rapid.Uint64Range(0, mask36).Draw(t, label+" epoch")),
		shard: shardID(rapid.Uint32().Draw(t, label+" shard")),
		ord:   ordinal(rapid.Uint64().Draw(t, label+" ordinal")),
		secs:  rapid.Uint64Range(0, mask36).Draw(t, label+" seconds"),
	}
}

func TestSequenceLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySequence(t, "s")
		// The layout of the doc comment, written down naively.
		want, _ := new(big.Int).SetString(fmt.Sprintf("2%09x%x%016x00%09x%08x2", uint64(s.epoch), uint32(s.shard)&15, uint64(s.ord), s.secs, uint32(s.shard)), 16)
		if got := s.String(); got != want.String() {
			t.Fatalf("%+v is %s, not %s", s, got, want)
		}
		if back, ok := parseSequence(s.String()); !ok || back != s {
			t.Fatalf("%+v reads back as %+v, %v", s, back, ok)
		}
	})
}

func TestSequenceLikeAWS(t *testing.T) {
	s := sequence{epoch: 1_792_000_000, shard: 3, ord: firstOrdinal(1), secs: 1_792_000_001}.String()
	if len(s) != 56 || !strings.HasPrefix(s, "496") {
		t.Errorf("%s does not look like AWS's", s)
	}
	for _, bad := range []string{"", "0", "1", s[:55], s + "0", "9" + s[1:], "-" + s, s[:55] + "x", strings.Repeat("9", 129)} {
		if q, ok := parseSequence(bad); ok {
			t.Errorf("%q is read as %+v", bad, q)
		}
	}
}

func TestSequenceOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anySequence(t, "a"), anySequence(t, "b")
		b.epoch, b.shard = a.epoch, a.shard
		if a.ord == b.ord {
			return
		}
		x, _ := new(big.Int).SetString(a.String(), 10)
		y, _ := new(big.Int).SetString(b.String(), 10)
		if (x.Cmp(y) < 0) != (a.ord < b.ord) {
			t.Fatalf("%v and %v are in the wrong order", a, b)
		}
	})
}

func TestShardID(t *testing.T) {
	for _, id := range []shardID{0, 7, 1234, 9999, 10_000, 4_294_967_295} {
		s := id.String()
		if back, ok := parseShardID(s); !ok || back != id || string(id.appendTo(nil)) != s || len(s) != len("shardId-000000000000") {
			t.Errorf("%d: %s, %s, back %d %v", uint32(id), s, id.appendTo(nil), uint32(back), ok)
		}
	}
	for _, bad := range []string{"", "shardId-", "shardId-1", "shardId-+00000000001", "shardId-999999999999", "shard-000000000001", "0"} {
		if id, ok := parseShardID(bad); ok {
			t.Errorf("%q is read as %s", bad, id)
		}
	}
}

func TestHashKey(t *testing.T) {
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[0-9]{1,41}`), rapid.StringMatching(`34028236692093846346337460743176821[0-9]{4}`)).Draw(t, "text")
		n, _ := new(big.Int).SetString(text, 10)
		want := n.Cmp(limit) < 0 && n.String() == text
		k, ok := parseHashKey(text)
		if ok != want || ok && k.String() != text {
			t.Fatalf("%s: %v, %s", text, ok, k)
		}
	})
	for _, bad := range []string{"", "-1", "+1", "0x1", "1 ", "٣", "00"} {
		if _, ok := parseHashKey(bad); ok {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranges := evenRanges(rapid.IntRange(1, 300).Draw(t, "shards"))
		var shards []*shard
		for i, r := range ranges {
			sh, err := newShard(shardMeta{ID: shardID(i), HashStart: r.start.String(), HashEnd: r.end.String()}, nil)
			if err != nil {
				t.Fatal(err)
			}
			shards = append(shards, sh)
		}
		st, err := newStream(streamMeta{}, "", "", shards)
		if err != nil {
			t.Fatal(err)
		}
		k := hashKey{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		if rapid.Bool().Draw(t, "edge") {
			r := rapid.SampledFrom(ranges).Draw(t, "range")
			k = rapid.SampledFrom([]hashKey{r.start, r.end}).Draw(t, "end")
		}
		want := slices.IndexFunc(ranges, func(r hashRange) bool { return !k.less(r.start) && !r.end.less(k) })
		if got := st.owner(k); int(got) != want {
			t.Fatalf("%s is of %d, not %d", k, got, want)
		}
	})
}

// TestOwnerOfClosed: closed shards own nothing, and open ones must own everything.
func TestOwnerOfClosed(t *testing.T) {
	half, full := evenRanges(2), evenRanges(1)
	build := func(metas ...shardMeta) (*stream, error) {
		var shards []*shard
		for i, m := range metas {
			m.ID = shardID(i)
			sh, err := newShard(m, nil)
			if err != nil {
				return nil, err
			}
			shards = append(shards, sh)
		}
		return newStream(streamMeta{}, "", "", shards)
	}
	parent := shardMeta{HashStart: full[0].start.String(), HashEnd: full[0].end.String(), SequenceEnd: "1"}
	low := shardMeta{HashStart: half[0].start.String(), HashEnd: half[0].end.String()}
	high := shardMeta{HashStart: half[1].start.String(), HashEnd: half[1].end.String()}
	st, err := build(parent, high, low)
	if err != nil {
		t.Fatal(err)
	}
	if st.owner(half[0].end) != 2 || st.owner(half[1].start) != 1 {
		t.Errorf("owners are %d and %d", st.owner(half[0].end), st.owner(half[1].start))
	}
	for _, metas := range [][]shardMeta{{low}, {high}, {parent}, {low, low, high}, {low, high, high}, nil} {
		if _, err := build(metas...); err == nil {
			t.Errorf("%d shards that do not cover the keys once are accepted", len(metas))
		}
	}
}

func TestToken(t *testing.T) {
	key := []byte("a key of this test")
	want := token{kind: iteratorToken, epoch: 5, shard: 7, ord: 11, issued: 13}
	s := want.string(key)
	if got, ok := parseToken(s, iteratorToken, key); !ok || got != want {
		t.Errorf("read back as %+v, %v", got, ok)
	}
	if _, ok := parseToken(s, shardsToken, key); ok {
		t.Error("an iterator is taken for a ListShards token")
	}
	if _, ok := parseToken(s, iteratorToken, []byte("another key")); ok {
		t.Error("another folder's iterator is accepted")
	}
	for i := range s {
		b := []byte(s)
		if b[i]++; b[i] == '+' || b[i] == '=' {
			continue
		}
		if _, ok := parseToken(string(b), iteratorToken, key); ok {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}
