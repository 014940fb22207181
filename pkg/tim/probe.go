package tim

import (
	"context"
	"errors"
	"slices"
)

// Probes are the commands of [Client.Probe].
var Probes = []string{getGroupInfo, importGroup}

// Probe sends one request of a command and returns the code of the service, 0 if it accepts the request. The body must
// be one that changes nothing: what the service rejects for its content shows that the caller may send the command. The
// error says that there was no readable response, or no permit.
func (c *Client) Probe(ctx context.Context, command string, body []byte) (code int, err error) {
	if !slices.Contains(Probes, command) {
		return 0, errors.New("unknown command " + command)
	}
	c.enqueue()
	p, err := c.acquire(ctx)
	if err != nil {
		return 0, err
	}
	a := c.attempt(ctx, p, command, body)
	if a.code == 0 && a.verdict != accepted {
		return 0, errors.New(command + ": " + a.message)
	}
	return a.code, nil
}
