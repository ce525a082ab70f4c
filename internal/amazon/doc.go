// Package amazon is what the clients of AWS services here have in common: their
// configuration, an HTTP client that does not trip over fast servers, and what
// the SDK's errors mean for people.
package amazon
