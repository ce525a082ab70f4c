// Command localkinesis runs tripgrid's local Kinesis endpoint alone, for people and for checks of its protocol.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/internal/localkinesis"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:4567", "listen on `HOST:PORT`")
	dir := flag.String("dir", "tripgrid-data/kinesis", "keep the streams in `FOLDER`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log, err := zap.NewDevelopment(zap.AddStacktrace(zap.DPanicLevel))
	if err != nil {
		return err
	}
	s, err := localkinesis.Open(localkinesis.Config{Dir: *dir, Addr: *addr, Logger: log})
	if err != nil {
		return err
	}
	fmt.Println(s.Endpoint())
	return s.Run(ctx)
}
