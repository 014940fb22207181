package tim

import (
	"context"
	"errors"
)

// probes are the commands of [Client.Probe], with the lanes that share their rates.
var probes = map[string]laneID{
	getGroupInfo: groupLane, importGroup: groupLane, importGroupMember: memberLane, accountCheck: checkLane,
}

// Probe sends one request of a command and returns the code of the service, 0 if the service accepts the request. The
// body must be one that changes nothing: what the service rejects for its content shows that the caller may send the
// command. The error says that there was no readable response, or no permit.
func (c *Client) Probe(ctx context.Context, command string, body []byte) (code int, err error) {
	id, ok := probes[command]
	if !ok {
		return 0, errors.New("unknown command " + command)
	}
	l := c.lanes[id]
	l.enqueue()
	p, err := c.acquire(ctx, l)
	if err != nil {
		return 0, err
	}
	a := c.attempt(ctx, p, request{command, body, maxImportResponse})
	if a.code == 0 && a.verdict != accepted {
		return 0, errors.New(command + ": " + a.message)
	}
	return a.code, nil
}
