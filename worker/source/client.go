package source

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/tripgrid/tripgrid/internal/amazon"
)

// NewKinesisClient returns a client over amazon.Config. An empty endpoint is AWS's
// own; with an endpoint, nil credentials are placeholders.
func NewKinesisClient(ctx context.Context, endpoint, region string, creds aws.CredentialsProvider) (*kinesis.Client, error) {
	if creds == nil && endpoint != "" {
		creds = credentials.NewStaticCredentialsProvider("local", "local", "")
	}
	cfg, err := amazon.Config(ctx, region, creds)
	if err != nil {
		return nil, err
	}
	return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	}), nil
}
