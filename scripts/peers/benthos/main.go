// Command benthos is Redpanda's Benthos with the components that scripts/bench needs and no other: files, HTTP and
// rate limits. It is a module of its own, so that the program's does not know of it.
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"   // files and HTTP
	_ "github.com/redpanda-data/benthos/v4/public/components/pure" // rate limits and mappings
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() { service.RunCLI(context.Background()) }
