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
	// harmlessID is looked up to find out whether the service accepts any request.
	harmlessID = "groupimport"

	// maxAmbiguous is how many records in a row may be rejected ambiguously while look-ups are accepted. A look-up alone
	// does not suffice: a firewall may reject nothing but import_group.
	maxAmbiguous = 20

	// maxRetryAfter limits the wait of a Retry-After. The service sends none, so that it comes from a proxy, and a date
	// in it depends on two clocks.
	maxRetryAfter = time.Minute
)

// A rejection is ambiguous: it is about one record or about all requests.
type rejection struct {
	end   End         // of the record, if the rejection is about the record
	fatal *FatalError // if the rejection is about all requests
}

func (r *rejection) Error() string { return getGroupInfo + ": " + r.fatal.Reason }

// rejectedByStatus returns the attempt for a status of 300 to 499. It comes from a proxy, a firewall or a wrong
// address: the service itself responds with 200.
func rejectedByStatus(resp response) attempt {
	message := fmt.Sprintf("HTTP %d instead of a response of the service", resp.status)
	r := &rejection{Failed, &FatalError{Reason: message + ": check TIM_ENDPOINT"}}
	switch resp.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		if resp.header.Get("Retry-After") == "" { // with a Retry-After the rejection is temporary (RFC 9110, 15.5.14)
			r.end = Rejected
		}
	}
	return attempt{verdict: ambiguous, message: message + ": a proxy or firewall rejects this record", rejection: r}
}

// resolve ends a call with an ambiguous attempt. lost is true if an earlier attempt may have created the group.
func (c *Client) resolve(ctx context.Context, l *lane, r Result, a attempt, lost bool) Result {
	err := c.checkAccepted(ctx, a.since)
	switch {
	case err == nil && r.Code != codeNoPermission && l.ambiguous.Add(1) >= maxAmbiguous:
		e := a.rejection.fatal
		e = &FatalError{e.Code, fmt.Sprintf("%s (%d records in a row were rejected)", e.Reason, maxAmbiguous)}
		c.fail(ctx, e)
		r.Message = e.Reason // Incomplete
	case err == nil && lost:
		r.End = Failed
	case err == nil:
		r.End = a.rejection.end
	case ctx.Err() != nil || c.Fatal() != nil:
		r.Message = err.Error() // Incomplete
	default:
		r.End = Failed
		r.Message += "; it is not known whether the service accepts other requests: " + err.Error()
	}
	return r
}

// checkAccepted returns nil if the service accepts requests: it has accepted one since c.accepted was since, or it
// accepts a harmless look-up now. If it rejects the look-up too, the error is fatal.
func (c *Client) checkAccepted(ctx context.Context, since int64) error {
	if c.accepted.Load() != since {
		return nil
	}
	_, err := c.lookUp(ctx, []string{harmlessID})
	if c.accepted.Load() != since {
		return nil
	}
	if r, ok := errors.AsType[*rejection](err); ok {
		c.fail(ctx, r.fatal)
		return r.fatal
	}
	return err
}

// retryAfter makes all attempts wait as long as a response's Retry-After asks for, at most maxRetryAfter.
func (c *Client) retryAfter(ctx context.Context, resp response) {
	switch status := resp.status; {
	case status == http.StatusRequestTimeout, status == http.StatusRequestEntityTooLarge,
		status == http.StatusTooManyRequests, status >= 500:
	default:
		return
	}
	if wait := parseRetryAfter(resp.header.Get("Retry-After"), time.Now()); wait > 0 {
		for _, l := range c.lanes {
			l.pacer.Pause(wait)
		}
		c.log.WarnContext(ctx, "told to retry later, all calls wait", "status", resp.status, "wait", wait)
	}
}

// parseRetryAfter returns the wait of a Retry-After, in seconds or as a date, from 0 to maxRetryAfter.
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
