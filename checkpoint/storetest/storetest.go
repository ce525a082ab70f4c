// Package storetest has the conformance suite that every checkpoint.Store
// passes, and Faulty, a store that fails, loses answers and crashes on demand.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// Run checks a store. open returns an empty one; a second value that it gives
// for the same test must reach the same objects, as a second process would.
func Run(t *testing.T, open func(t *testing.T) (checkpoint.Store, checkpoint.Store)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b checkpoint.Store)
	}{
		{"PutGetDelete", putGetDelete},
		{"PutIsImmutable", putIsImmutable},
		{"LargeObject", largeObject},
		{"List", list},
		{"OddNames", oddNames},
		{"Cancelled", cancelled},
		{"HeadIsCreatedOnce", headIsCreatedOnce},
		{"HeadSwap", headSwap},
		{"R10SixteenRacersForOneSwap", sixteenRacers},
		{"R10NoSwapIsLost", noSwapIsLost},
		{"R10LostAnswerIsResolved", lostAnswer},
		{"ReadersSeeAllOrNothing", allOrNothing},
		{"RacersPutOneObject", racersPut},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			c.test(t, a, b)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, want %v", err, want)
	}
}

func wantObject(t *testing.T, s checkpoint.Store, name string, want []byte) {
	t.Helper()
	got, err := s.Get(context.Background(), name)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("%s has %d bytes, want %d, or they differ", name, len(got), len(want))
	}
}

func putGetDelete(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	_, err := a.Get(ctx, "taxi/1/2/part")
	wantErr(t, err, checkpoint.ErrNotFound)
	must(t, a.Put(ctx, "taxi/1/2/part", []byte("state")))
	wantObject(t, b, "taxi/1/2/part", []byte("state"))
	must(t, a.Put(ctx, "taxi/1/2/empty", nil))
	wantObject(t, b, "taxi/1/2/empty", nil)
	must(t, b.Delete(ctx, "taxi/1/2/part"))
	must(t, b.Delete(ctx, "taxi/1/2/part"))
	must(t, b.Delete(ctx, "taxi/9/9/never-there"))
	_, err = a.Get(ctx, "taxi/1/2/part")
	wantErr(t, err, checkpoint.ErrNotFound)
	must(t, a.Put(ctx, "taxi/1/2/part", []byte("again")))
	wantObject(t, b, "taxi/1/2/part", []byte("again"))
	must(t, b.Delete(ctx, "taxi/1/2/part"))
	must(t, b.Delete(ctx, "taxi/1/2/empty"))
	must(t, a.Put(ctx, "taxi/1/2/part", []byte("once more")))
}

func putIsImmutable(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	must(t, a.Put(ctx, "taxi/1/2/part", []byte("state")))
	must(t, b.Put(ctx, "taxi/1/2/part", []byte("state")))
	wantErr(t, b.Put(ctx, "taxi/1/2/part", []byte("other")), checkpoint.ErrConflict)
	wantErr(t, b.Put(ctx, "taxi/1/2/part", nil), checkpoint.ErrConflict)
	wantObject(t, a, "taxi/1/2/part", []byte("state"))
}

func largeObject(t *testing.T, a, b checkpoint.Store) {
	data := make([]byte, 20<<20+1)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data) // never fails
	must(t, a.Put(context.Background(), "taxi/1/1/large", data))
	wantObject(t, b, "taxi/1/1/large", data)
}

func list(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	got, err := a.List(ctx, "taxi/")
	must(t, err)
	if len(got) != 0 {
		t.Fatalf("an empty store lists %v", got)
	}
	var want []string
	for i := range 1100 { // more than one page of S3
		name := fmt.Sprintf("taxi/%d/%d/p", i%3, i)
		if i < 1050 {
			must(t, a.Put(ctx, name, []byte("x")))
			want = append(want, name)
		}
	}
	must(t, a.Put(ctx, "taxi-2/1/1/p", []byte("xyz")))
	_, err = a.SwapHead(ctx, "taxi", "", []byte("head"))
	must(t, err)
	slices.Sort(want)
	names := func(prefix string) []string {
		all, err := b.List(ctx, prefix)
		must(t, err)
		var n []string
		for _, o := range all {
			n = append(n, o.Name)
		}
		return n
	}
	if got := names("taxi/"); !slices.Equal(got, want) {
		t.Fatalf("%d objects are listed, want %d, or they differ; HEAD must not be there", len(got), len(want))
	}
	one := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.HasPrefix(s, "taxi/1/10") })
	if got := names("taxi/1/10"); !slices.Equal(got, one) {
		t.Fatalf("the prefix taxi/1/10 lists %v, want %v", got, one)
	}
	if got := names(""); len(got) != len(want)+1 {
		t.Fatalf("the empty prefix lists %d objects, want %d", len(got), len(want)+1)
	}
	if got := names("nobody/"); len(got) != 0 {
		t.Fatalf("the prefix nobody/ lists %v", got)
	}
	all, err := b.List(ctx, "taxi-2")
	must(t, err)
	if len(all) != 1 || all[0].Size != 3 {
		t.Fatalf("the prefix taxi-2 lists %v", all)
	}
}

func oddNames(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/.hidden", ".tmp/x", "a\\b", "a b",
		"a\x00b", "ä/b", "taxi/HEAD", "a:b", "a/b\n", strings.Repeat("a", 201), strings.Repeat("a/", 300) + "a",
	} {
		if err := a.Put(ctx, name, []byte("x")); err == nil {
			t.Errorf("the name %q is accepted by Put", name)
		}
		if _, err := a.Get(ctx, name); err == nil || errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("Get of the name %q says %v, want a refusal", name, err)
		}
		if err := a.Delete(ctx, name); err == nil {
			t.Errorf("the name %q is accepted by Delete", name)
		}
	}
	for _, job := range []string{"", ".", "..", "a/b", "a.b", "ä", strings.Repeat("a", 65)} {
		if _, err := a.SwapHead(ctx, job, "", []byte("x")); err == nil {
			t.Errorf("the job %q is accepted", job)
		}
		if _, _, err := a.ReadHead(ctx, job); err == nil || errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("ReadHead of the job %q says %v, want a refusal", job, err)
		}
	}
	for _, name := range []string{"a/b=c/d_e-f.g", "taxi/1/HEAD", "A/" + strings.Repeat("z", 200), "x/LOCK", "x/new-1"} {
		must(t, a.Put(ctx, name, []byte(name)))
		wantObject(t, b, name, []byte(name))
	}
}

func cancelled(t *testing.T, a, _ checkpoint.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for what, err := range map[string]error{
		"Put":      a.Put(ctx, "taxi/1/1/p", nil),
		"Delete":   a.Delete(ctx, "taxi/1/1/p"),
		"Get":      second(a.Get(ctx, "taxi/1/1/p")),
		"SwapHead": second(a.SwapHead(ctx, "taxi", "", nil)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s says %v after its context was cancelled", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func headIsCreatedOnce(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	_, _, err := a.ReadHead(ctx, "taxi")
	wantErr(t, err, checkpoint.ErrNotFound)
	_, err = a.SwapHead(ctx, "taxi", "0000", []byte("one"))
	wantErr(t, err, checkpoint.ErrConflict)
	v, err := a.SwapHead(ctx, "taxi", "", []byte("one"))
	must(t, err)
	_, err = b.SwapHead(ctx, "taxi", "", []byte("two"))
	wantErr(t, err, checkpoint.ErrConflict)
	data, version, err := b.ReadHead(ctx, "taxi")
	must(t, err)
	if string(data) != "one" || version != v || v == "" {
		t.Fatalf("HEAD is %q at %q, want one at %q", data, version, v)
	}
	_, _, err = b.ReadHead(ctx, "tax")
	wantErr(t, err, checkpoint.ErrNotFound)
}

func headSwap(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	v1, err := a.SwapHead(ctx, "taxi", "", []byte("one"))
	must(t, err)
	v2, err := b.SwapHead(ctx, "taxi", v1, []byte("two"))
	must(t, err)
	if v1 == v2 {
		t.Fatal("two HEADs have one version")
	}
	_, err = a.SwapHead(ctx, "taxi", v1, []byte("three"))
	wantErr(t, err, checkpoint.ErrConflict)
	data, version, err := a.ReadHead(ctx, "taxi")
	must(t, err)
	if string(data) != "two" || version != v2 {
		t.Fatalf("HEAD is %q at %q, want two at %q", data, version, v2)
	}
}
