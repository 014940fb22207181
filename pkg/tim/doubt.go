package tim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// harmlessID is what is looked up to find out whether the service takes any request at all.
	harmlessID = "groupimport"

	// maxDoubts is how many records in a row may be refused in a way that is fatal if it concerns all. A look-up
	// alone does not tell: a firewall may refuse nothing but import_group.
	maxDoubts = 20

	// maxRetryAfter bounds what a Retry-After may ask for. The service sends none, so that it is a proxy's word, and a
	// date in it is only as good as two clocks.
	maxRetryAfter = time.Minute
)

// A doubt is an answer that is either about one record or about all requests.
type doubt struct {
	end  End   // of the record, if it is about that
	stop *Stop // if it is about all requests
}

func (d *doubt) Error() string { return getGroupInfo + ": " + d.stop.Reason }

// doubtStatus is the attempt that ended with a status of 300 to 499. It is not the service's own word, which
// answers 200, but that of a proxy, of a firewall or of a wrong address.
func doubtStatus(resp response) attempt {
	message := fmt.Sprintf("HTTP %d instead of an answer of the service", resp.status)
	d := &doubt{end: Failed, stop: &Stop{Reason: message + ": check TIM_ENDPOINT"}}
	switch resp.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		if resp.header.Get("Retry-After") == "" { // with one the refusal is temporary (RFC 9110, 15.5.14)
			d.end = Rejected
		}
	}
	return attempt{verdict: doubtful, message: message + ": a proxy or firewall refuses this record", doubt: d}
}

// settle ends a call with a doubtful attempt. lost says that an earlier attempt may have made the group.
func (c *Client) settle(ctx context.Context, r Result, a attempt, lost bool) Result {
	err := c.accepts(ctx, a.since)
	switch {
	case err == nil && r.Code != codeNoPermission && c.doubts.Add(1) >= maxDoubts:
		s := a.doubt.stop
		s = &Stop{Code: s.Code, Reason: fmt.Sprintf("%s (%d records in a row were refused)", s.Reason, maxDoubts)}
		c.stopWith(ctx, s)
		r.Message = s.Reason // Undone
	case err == nil && lost:
		r.End = Failed
	case err == nil:
		r.End = a.doubt.end
	case ctx.Err() != nil || c.Stopped() != nil:
		r.Message = err.Error() // Undone
	default:
		r.End = Failed
		r.Message += "; whether others are accepted is not known: " + err.Error()
	}
	return r
}

// accepts returns nil if the service takes requests: it has accepted one since accepted was since, or it accepts a
// harmless look-up now. If it refuses that too, the client stops.
func (c *Client) accepts(ctx context.Context, since int64) error {
	if c.accepted.Load() != since {
		return nil
	}
	_, err := c.lookUp(ctx, []string{harmlessID})
	if c.accepted.Load() != since {
		return nil
	}
	if d, ok := errors.AsType[*doubt](err); ok {
		c.stopWith(ctx, d.stop)
		return d.stop
	}
	return err
}

// retryAfter makes all attempts wait as long as a response asks for, at most maxRetryAfter.
func (c *Client) retryAfter(ctx context.Context, resp response) {
	switch status := resp.status; {
	case status == http.StatusRequestTimeout, status == http.StatusRequestEntityTooLarge,
		status == http.StatusTooManyRequests, status >= 500:
	default:
		return
	}
	if wait := parseRetryAfter(resp.header.Get("Retry-After"), time.Now()); wait > 0 {
		c.cfg.Pacer.Pause(wait)
		c.log.WarnContext(ctx, "told to retry later, all calls wait", "status", resp.status, "wait", wait)
	}
}

// parseRetryAfter returns the wait that a Retry-After asks for, in seconds or as a date, from 0 to maxRetryAfter.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(at.Sub(now), maxRetryAfter))
}
