package importer

import (
	"context"
	"fmt"
	"sync"

	"groupimport/pkg/blob"
	"groupimport/pkg/mapping"
)

// A userTable is the table of users in the bucket, as it was last read.
type userTable struct {
	mu      sync.Mutex // while the table is read, so that imports at the same time read it once
	version string     // of the object, "" before it was read
	table   *mapping.Users
}

// loadUsers returns the table of users, or nil without one. It reads the object again if the object has changed.
func (i *Importer) loadUsers(ctx context.Context) (*mapping.Users, error) {
	key := i.Config.Users
	if i.Config.UserTable != nil || key == "" {
		return i.Config.UserTable, nil
	}
	i.users.mu.Lock()
	defer i.users.mu.Unlock()
	info, err := i.Bucket.Stat(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the table of users %q: %w", key, err)
	}
	if i.users.version == info.Version && i.users.table != nil {
		return i.users.table, nil
	}
	i.users.table = nil // before there are two
	body := blob.NewReader(ctx, i.Bucket, key, info.Version, 0, info.Size)
	defer body.Close()
	table, err := mapping.ReadUsers(body)
	if err != nil {
		return nil, fmt.Errorf("read the table of users %q: %w", key, err)
	}
	i.users.version, i.users.table = info.Version, table
	return table, nil
}

// usersSetting returns the value of [results.Settings.Users].
func (i *Importer) usersSetting(users *mapping.Users) string {
	if i.Config.UsersStrict {
		return users.Sum() + " strict"
	}
	return users.Sum()
}
