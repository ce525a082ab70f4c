//go:build integration

package main

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/tripgrid/tripgrid/internal/testservers"
)

// TestMistakesWithServices makes those that servers have to find out, with
// servers that are not ours.
func TestMistakesWithServices(t *testing.T) {
	w := newWorld(t)
	kinesis, tables, buckets := testservers.Kinesalite(t), testservers.DynamoDBLocal(t), testservers.VersityGW(t)
	buckets.CreateBucket(t, bucket)
	client := dynamodb.New(dynamodb.Options{Region: region, BaseEndpoint: &tables.URL, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", "")})
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: aws.String("other"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeN}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}}})
	if err != nil {
		t.Fatal(err)
	}
	worker := func(settings ...string) []string {
		return with(w.worker(w.folder()), append(settings, "--aws-region="+region)...)
	}
	leases := func(settings ...string) []string {
		return worker(append(settings, "--leases-store=dynamodb", "--leases-endpoint="+tables.URL)...)
	}
	checkpoints := func(url string, settings ...string) []string {
		return with(w.checkpoints(w.folder()), append(settings, "--snapshots-endpoint="+buckets.URL, "--snapshots-url="+url)...)
	}
	trips := func(url string) []string {
		return with(w.produce(w.folder()), "--aws-region="+region, "--s3-endpoint="+buckets.URL, "--data="+url)
	}
	for _, c := range []struct {
		name, key, secret string
		list              []mistake
	}{
		{"known", buckets.AccessKey, buckets.SecretKey, []mistake{
			{"no-stream", worker("--kinesis-endpoint=" + kinesis.URL), 1, []string{"stream trips in " + region, "does not exist", "create"}},
			{"produce-no-stream", with(w.produce(w.folder()), "--kinesis-endpoint="+kinesis.URL), 1, []string{"stream trips in " + home, "does not exist", "create"}},
			{"no-table", leases("--no-leases-create"), 1, []string{table + " in " + region, "does not exist", "create"}},
			{"other-table", leases("--leases-table=other"), 1, []string{"other in " + region, "partition key is id (N)", "no sort key", "another table"}},
			{"not-dynamodb", worker("--leases-store=dynamodb", "--leases-endpoint="+kinesis.URL), 1, []string{table, "not", "DynamoDB", "check"}},
			{"not-kinesis", worker("--kinesis-endpoint=" + tables.URL), 1, []string{"trips", "not", "Kinesis", "check"}},
			{"no-bucket", checkpoints("s3://absent/a", "--aws-region="+region), 1, []string{"no bucket absent", "create"}},
			{"other-region", checkpoints("s3://"+bucket+"/a", "--aws-region="+home), 1, []string{"region"}},
			{"no-job", checkpoints("s3://"+bucket+"/a", "--aws-region="+region), 1, []string{"no job", "s3://" + bucket + "/a", "--job"}},
			{"trips-no-bucket", trips("s3://absent/2016/"), 1, []string{"no bucket absent", "correct its name"}},
			{"trips-no-objects", trips("s3://" + bucket + "/2016/"), 1, []string{"s3://" + bucket + "/2016/", "check the prefix"}},
		}},
		{"wrong-secret", buckets.AccessKey, "guess", []mistake{
			{"checkpoint", checkpoints("s3://"+bucket+"/a", "--aws-region="+region), 1, []string{"credentials are wrong", "check"}},
			{"trips", trips("s3://" + bucket + "/2016/"), 1, []string{"credentials are wrong", "check"}},
		}},
		{"wrong-key", "nobody", buckets.SecretKey, []mistake{
			{"checkpoint", checkpoints("s3://"+bucket+"/a", "--aws-region="+region), 1, []string{"credentials are wrong", "check"}},
			{"trips", trips("s3://" + bucket + "/2016/"), 1, []string{"credentials are wrong", "check"}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", c.key)
			t.Setenv("AWS_SECRET_ACCESS_KEY", c.secret)
			for _, m := range c.list {
				t.Run(m.name, m.make)
			}
		})
	}
}
