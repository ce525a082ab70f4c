// Package testservers runs the real servers that tests judge us against: each
// is a process of its own, installed from its public registry, that lives as
// long as one test.
//
//	constructor    server                       installed by     keeps its data over Kill and Restart
//	OpenSearch     OpenSearch 2.19 in one JVM   Maven, Java 17   yes
//	DynamoDBLocal  Amazon's DynamoDB Local      Maven, Java 17   yes
//	Dynalite       dynalite                     npm              yes
//	Kinesalite     kinesalite                   npm              yes
//	KinesisLocal   kinesis-local                npm              no
//	VersityGW      versitygw, S3 on a folder    go               yes
//	Moto           moto, many services of AWS   Python, pip      no
//	NATS           nats-server with JetStream   go               yes
//
// An installation is made once per user, in the folder tripgrid-test of
// os.UserCacheDir: under a file lock, in a folder beside that takes its name
// when it is complete. A server that cannot be installed or started fails its
// test, and never skips it.
//
// A server listens on 127.0.0.1, on a port below those that the system gives to
// outgoing connections: between Kill and Restart nobody takes it, neither a
// client that dials it in vain and would otherwise meet itself. Its process
// group is killed when the test ends and, on Linux, when the test process dies
// in whatever way. Its output is logged when the test failed.
//
// Proxy stands between a client and a server and misbehaves on demand.
package testservers
