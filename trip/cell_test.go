package trip

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// exactCell is the definition, in rational numbers: cut each axis into
// 2**bits parts, take the part that a coordinate is in, and mix the bits one by
// one, longitude first.
func exactCell(lat, lon float64, precision int) Cell {
	index := func(value, half float64, bits int) uint64 {
		r := new(big.Rat).SetFloat64(value)
		r.Add(r, new(big.Rat).SetFloat64(half))
		r.Mul(r, new(big.Rat).SetFrac64(1<<bits, int64(2*half)))
		k := new(big.Int).Div(r.Num(), r.Denom()).Uint64()
		return min(k, 1<<bits-1)
	}
	nlat, nlon := 5*precision/2, (5*precision+1)/2
	klat, klon := index(lat, 90, nlat), index(lon, 180, nlon)
	var bits uint64
	for i := range 5 * precision {
		if i%2 == 0 {
			nlon--
			bits = bits<<1 | klon>>nlon&1
		} else {
			nlat--
			bits = bits<<1 | klat>>nlat&1
		}
	}
	return Cell(uint64(precision)<<60 | bits)
}

func checkCell(t *testing.T, lat, lon float64) {
	t.Helper()
	for precision := 1; precision <= MaxPrecision; precision++ {
		if got, want := CellOf(lat, lon, precision), exactCell(lat, lon, precision); got != want {
			t.Fatalf("CellOf(%v, %v, %d) = %v, want %v", lat, lon, precision, got, want)
		}
	}
}

// ulps returns v and its neighbours, within [-half, half].
func ulps(v, half float64) []float64 {
	all := []float64{v}
	if down := math.Nextafter(v, -1000); down >= -half {
		all = append(all, down)
	}
	if up := math.Nextafter(v, 1000); up <= half {
		all = append(all, up)
	}
	return all
}

func TestCellOfIsExactAtEdges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for precision := 1; precision <= MaxPrecision; precision++ {
		lats, lons := axesOf(precision)
		for range 300 {
			lat := lats.edge(random.Int64N(lats.last + 2))
			lon := lons.edge(random.Int64N(lons.last + 2))
			for _, lat := range ulps(lat, 90) {
				for _, lon := range ulps(lon, 180) {
					checkCell(t, lat, lon)
				}
			}
		}
	}
	for _, lat := range []float64{-90, 90, 0, math.Copysign(0, -1), 5e-324, -5e-324} {
		for _, lon := range []float64{-180, 180, 0, math.Copysign(0, -1), 5e-324, -5e-324} {
			for _, lat := range ulps(lat, 90) {
				for _, lon := range ulps(lon, 180) {
					checkCell(t, lat, lon)
				}
			}
		}
	}
}

// Coordinates from 32-bit floats lie on edges of fine cells all the time.
func TestCellOfIsExactOnFloat32Values(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	atEdge := 0
	for range 20_000 {
		lat := float64(float32(40.5 + 0.4*random.Float64()))
		lon := float64(float32(-74.1 + 0.4*random.Float64()))
		checkCell(t, lat, lon)
		latMin, _, lonMin, _ := CellOf(lat, lon, 6).Box()
		if lat == latMin || lon == lonMin {
			atEdge++
		}
	}
	if atEdge == 0 {
		t.Error("no point lay on an edge: the test does not test what it says")
	}
}

func TestCellOfIsExactAnywhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		checkCell(t, rapid.Float64Range(-90, 90).Draw(rt, "lat"), rapid.Float64Range(-180, 180).Draw(rt, "lon"))
	})
	random := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		checkCell(t, 180*random.Float64()-90, 360*random.Float64()-180)
	}
}

func TestCellOfNoPoint(t *testing.T) {
	for _, p := range [][2]float64{
		{math.NaN(), 0}, {0, math.NaN()}, {math.Inf(1), 0}, {0, math.Inf(-1)},
		{math.Nextafter(90, 91), 0}, {0, math.Nextafter(-180, -181)},
	} {
		if c := CellOf(p[0], p[1], 6); c != 0 {
			t.Errorf("CellOf(%v) = %v", p, c)
		}
	}
	for _, precision := range []int{-1, 0, 13} {
		if c := CellOf(1, 1, precision); c != 0 {
			t.Errorf("precision %d gives %v", precision, c)
		}
	}
	if c := Cell(0); c.String() != "" || c.Precision() != 0 || c.Prefix(3) != 0 {
		t.Error("no cell has a name, a precision or a prefix")
	}
}

func TestCellParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lat, lon := rapid.Float64Range(-90, 90).Draw(t, "lat"), rapid.Float64Range(-180, 180).Draw(t, "lon")
		precision := rapid.IntRange(1, MaxPrecision).Draw(t, "precision")
		c := CellOf(lat, lon, precision)
		if c.Precision() != precision || c.Bits()>>(5*precision) != 0 || len(c.String()) != precision {
			t.Fatalf("%v has precision %d, bits %x", c, c.Precision(), c.Bits())
		}
		if back, err := ParseCell(c.String()); err != nil || back != c {
			t.Fatalf("ParseCell(%v) = %v, %v", c, back, err)
		}
		for p := 1; p <= precision; p++ {
			if got := c.Prefix(p); got != CellOf(lat, lon, p) || got.String() != c.String()[:p] {
				t.Fatalf("%v.Prefix(%d) = %v", c, p, got)
			}
		}
		latMin, latMax, lonMin, lonMax := c.Box()
		if !(latMin <= lat && lonMin <= lon && (lat < latMax || latMax == 90) && (lon < lonMax || lonMax == 180)) {
			t.Fatalf("%v,%v lies outside of its cell's box %v %v %v %v", lat, lon, latMin, latMax, lonMin, lonMax)
		}
		if back := CellOf(latMin, lonMin, precision); back != c {
			t.Fatalf("the lower corner of %v is in %v", c, back)
		}
		if midLat, midLon := c.Center(); CellOf(midLat, midLon, precision) != c {
			t.Fatalf("the centre of %v is elsewhere", c)
		}
	})
}

func TestParseCell(t *testing.T) {
	if c, err := ParseCell("dr5ru7"); err != nil || c != CellOf(40.7549, -73.9840, 6) {
		t.Errorf("dr5ru7 is %v, %v", c, err)
	}
	for _, s := range []string{"", "dr5ru7dr5ru7d", "DR5RU7", "dr5ra7", "dr5r 7", "dr5é"} {
		if c, err := ParseCell(s); err == nil || c != 0 {
			t.Errorf("ParseCell(%q) = %v, %v", s, c, err)
		}
	}
}

func BenchmarkCellOf(b *testing.B) {
	b.ReportAllocs()
	random := rand.New(rand.NewPCG(1, 2))
	var points [1024][2]float64
	for i := range points {
		points[i] = [2]float64{40.5 + 0.4*random.Float64(), -74.1 + 0.4*random.Float64()}
	}
	var sum Cell
	for i := 0; b.Loop(); i++ {
		p := &points[i%len(points)]
		sum += CellOf(p[0], p[1], 6)
	}
	_ = sum
}
