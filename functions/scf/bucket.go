package main

import (
	"cmp"
	"errors"
	"log/slog"

	"groupimport/pkg/blob"
	"groupimport/pkg/blob/cosblob"
)

// open opens a bucket of COS. It reads these variables, of which the platform sets the first four:
//
//	TENCENTCLOUD_SECRETID, _SECRETKEY, _SESSIONTOKEN    of the function's role
//	TENCENTCLOUD_REGION                                 of the function, the default of COS_REGION
//	COS_REGION                                          of the bucket
//	COS_ENDPOINT                                        another base URL, for tests and proxies
func open(getenv func(string) string, name string, log *slog.Logger) (blob.Bucket, error) {
	if getenv("TENCENTCLOUD_SECRETID") == "" || getenv("TENCENTCLOUD_SECRETKEY") == "" {
		return nil, errors.New("the function has no role, so the platform gives it no keys for the bucket: " +
			"set Role and HttpRole in .env and deploy again, or choose the role of the function in the console")
	}
	return cosblob.Open(cosblob.Config{
		Bucket: name, Region: cmp.Or(getenv("COS_REGION"), getenv("TENCENTCLOUD_REGION")), Endpoint: getenv("COS_ENDPOINT"),
		Log: log,
		// The library sets the environment with each event: the keys of the role are temporary, and a process may
		// outlive them.
		Credentials: func() (id, key, token string) {
			return getenv("TENCENTCLOUD_SECRETID"), getenv("TENCENTCLOUD_SECRETKEY"), getenv("TENCENTCLOUD_SESSIONTOKEN")
		},
	})
}
