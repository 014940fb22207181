package s3blob

// OpenDial is Open with connections from dial.
func OpenDial(getenv func(string) string, name string, dial dialFunc) (*Bucket, error) {
	cfg, err := Config(getenv, "S3")
	if err != nil {
		return nil, err
	}
	cfg.HTTPClient = newHTTPClient(dial)
	return open(cfg, name)
}
