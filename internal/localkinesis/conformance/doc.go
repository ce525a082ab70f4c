// Package conformance tests a Kinesis endpoint through the AWS SDK: what tripgrid relies on, as AWS documents it. The
// suite knows nothing of the server but its client, so that it runs against ours, against servers that are not ours
// (which judge the suite itself) and against AWS.
//
// A server that is known to deviate in a check is run with that check's name and the deviation in Options.Deviations;
// it is not asked then, and the log says so. A name that no check has fails the run.
package conformance
