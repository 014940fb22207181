package scheduler

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"groupimport/pkg/export"
	"groupimport/pkg/results"
)

// Control pauses, resumes or cancels the import of the export at key for who, see [results.Dir.Control], and returns
// its state. The error wraps [fs.ErrNotExist] also if key is not that of an export below [config.Config.Prefix].
func (s *Scheduler) Control(ctx context.Context, key string, a results.Action, who string) (results.State, error) {
	missing := fmt.Errorf("export %q: %w", key, fs.ErrNotExist)
	if !strings.HasPrefix(key, s.Importer.Config.Prefix) || results.IsOutput(key) || !export.IsExport(key) {
		return "", missing
	}
	if reason := s.unreadable(key); reason != "" {
		return "", fmt.Errorf("%w: %s", missing, reason)
	}
	dir := s.Importer.Dir(key)
	if err := s.Importer.Fits(dir.Names); err != nil {
		return "", fmt.Errorf("%w: %w", missing, err)
	}
	return dir.Control(ctx, a, who)
}
