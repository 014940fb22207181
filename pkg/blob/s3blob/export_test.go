package s3blob

import "github.com/aws/aws-sdk-go-v2/aws"

// OpenDial is Open with connections made by dial.
func OpenDial(getenv func(string) string, name string, dial dialFunc) (*Bucket, error) {
	cfg, err := Config(getenv, "S3")
	if err != nil {
		return nil, err
	}
	cfg.HTTPClient = newHTTPClient(dial)
	return open(cfg, name)
}

// OpenChecksums is Open with CRC32 of what is written, as it is without an endpoint of one's own.
func OpenChecksums(getenv func(string) string, name string) (*Bucket, error) {
	cfg, err := Config(getenv, "S3")
	if err != nil {
		return nil, err
	}
	cfg.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
	return open(cfg, name)
}
