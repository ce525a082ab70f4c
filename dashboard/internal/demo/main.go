// Command demo serves the dashboard of a made-up run, to work on the page:
//
//	go run ./dashboard/internal/demo -phase running
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/tripgrid/tripgrid/dashboard"
	"github.com/tripgrid/tripgrid/dashboard/internal/fake"
)

// moving is a run that goes on: a window a second.
type moving struct {
	begin time.Time
	fake.Run
}

func (m moving) now() fake.Run {
	r := m.Run
	if r.Phase == dashboard.Running {
		r.Closed = min(r.Total, r.Closed+int(time.Since(m.begin)/time.Second))
	}
	return r
}

func (m moving) State(ctx context.Context) (dashboard.State, error)     { return m.now().State(ctx) }
func (m moving) Windows(ctx context.Context) (dashboard.Windows, error) { return m.now().Windows(ctx) }
func (m moving) Starts(ctx context.Context, from int64, limit int) ([]int64, error) {
	return m.now().Starts(ctx, from, limit)
}
func (m moving) Cells(ctx context.Context, from, to int64) ([]dashboard.Cell, error) {
	return m.now().Cells(ctx, from, to)
}
func (m moving) Airports(ctx context.Context, from, to int64) ([]dashboard.AirportSum, error) {
	return m.now().Airports(ctx, from, to)
}

func main() {
	addr := flag.String("addr", "localhost:8777", "listen `address`")
	phase := flag.String("phase", "running", "starting, running, draining, finished or failed")
	windows := flag.Int("windows", 200, "closed windows at the start")
	flag.Parse()
	m := moving{begin: time.Now(), Run: fake.Run{Phase: dashboard.Phase(*phase), Closed: *windows, Total: 432, Partitions: 16, Shards: 4, Now: time.Now}}
	fmt.Printf("http://%s/\n", *addr)
	if err := http.ListenAndServe(*addr, dashboard.New(m, nil)); err != nil { //nolint:gosec // a tool for the developer's own machine
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
