// Package sinktest judges sinks: Run is the conformance suite that every
// sink.Sink passes, Memory is the simplest sink that does, and Faulty makes any
// sink fail, put off, reject or hang, on purpose.
package sinktest
