package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// version says which source the program was built from, as far as the go command recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := cmp.Or(info.Main.Version, "(devel)")
	if revision := settings["vcs.revision"]; revision != "" {
		text += fmt.Sprintf(", revision %s of %s", revision[:min(len(revision), 12)], settings["vcs.time"])
	}
	if settings["vcs.modified"] == "true" {
		text += ", with local changes"
	}
	return fmt.Sprintf("%s, %s %s/%s", text, info.GoVersion, settings["GOOS"], settings["GOARCH"])
}
