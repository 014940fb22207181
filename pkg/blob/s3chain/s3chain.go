// Package s3chain finds the region and the credentials of a user of AWS, as the AWS CLI does: in the shared config and
// credentials files, by a profile, by a sign-in (aws sso login), from a container or an instance. Functions need none of
// it, and do not link it.
package s3chain

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"

	"groupimport/pkg/blob/s3blob"
)

// maxTime limits the search, which may ask a service: the metadata of an instance, or a sign-in.
const maxTime = 10 * time.Second

// Find returns what the variables of [s3blob.Config] lack. It looks for nothing if they name credentials and a region.
//
//	AWS_PROFILE                        profile, "default" if empty
//	AWS_CONFIG_FILE                    ~/.aws/config if empty
//	AWS_SHARED_CREDENTIALS_FILE        ~/.aws/credentials if empty
//	AWS_EC2_METADATA_DISABLED          true: do not ask the instance
//
// The error says what to do. It holds no secret.
func Find(ctx context.Context, getenv func(string) string) (s3blob.Defaults, error) {
	hasCredentials := s3blob.HasCredentials(getenv)
	if hasCredentials && cmp.Or(getenv("AWS_REGION"), getenv("AWS_DEFAULT_REGION")) != "" {
		return s3blob.Defaults{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	folder := filepath.Join(getenv("HOME"), ".aws")
	instance := imds.ClientDefaultEnableState
	if off, err := strconv.ParseBool(getenv("AWS_EC2_METADATA_DISABLED")); off && err == nil {
		instance = imds.ClientDisabled
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithSharedConfigProfile(getenv("AWS_PROFILE")),
		config.WithSharedConfigFiles([]string{cmp.Or(getenv("AWS_CONFIG_FILE"), filepath.Join(folder, "config"))}),
		config.WithSharedCredentialsFiles(
			[]string{cmp.Or(getenv("AWS_SHARED_CREDENTIALS_FILE"), filepath.Join(folder, "credentials"))}),
		config.WithEC2IMDSClientEnableState(instance),
		config.WithLogger(logging.Nop{}), // the error says enough
	)
	if err == nil && !hasCredentials {
		_, err = cfg.Credentials.Retrieve(ctx)
	}
	if err != nil {
		return s3blob.Defaults{}, fmt.Errorf("no credentials of AWS: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "+
			"AWS_SECRET_ACCESS_KEY, or sign in with \"aws configure\" or \"aws sso login\": %w", err)
	}
	return s3blob.Defaults{Region: cfg.Region, Credentials: cfg.Credentials}, nil
}
