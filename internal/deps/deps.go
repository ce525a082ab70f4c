package deps

import (
	_ "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	_ "github.com/aws/aws-sdk-go-v2/service/s3"
	_ "github.com/opensearch-project/opensearch-go/v4/opensearchapi"
	_ "github.com/opensearch-project/opensearch-go/v4/signer/awsv2"
	_ "github.com/parquet-go/parquet-go"
	_ "github.com/pierrec/lz4/v4"
)
