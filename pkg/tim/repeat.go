package tim

import "context"

// A request is the request of an attempt.
type request struct {
	command     string
	body        []byte
	maxResponse int64 // limits the body of the response in bytes
}

// tries count the attempts of one call.
type tries struct {
	attempts  int // without throttled attempts and attempts with a rejected UserSig
	throttled int
	signed    bool // again, after the service rejected the UserSig
}

// repeat sends a request, which may be executed twice, until a response decides about it or its attempts are used up:
// the last attempt is accepted, rejected, inUse, ambiguous, unknown or notSent. p is the permit of the first attempt,
// nil to wait for one. The error says why there was no further attempt: the cause of ctx or the [*FatalError].
func (c *Client) repeat(ctx context.Context, l *lane, p *permit, req request, t *tries) (a attempt, err error) {
	for {
		if p == nil {
			l.enqueue()
			if p, err = c.acquire(ctx, l); err != nil {
				return a, err
			}
		}
		a = c.attempt(ctx, p, req)
		p = nil
		t.attempts++
		switch a.verdict {
		case accepted, rejected, inUse, ambiguous:
			return a, nil
		case fatal:
			return a, c.Fatal()
		case sigRejected:
			if t.signed {
				c.fail(ctx, &FatalError{Code: a.code, Reason: a.message})
				return a, c.Fatal()
			}
			t.signed = true
			t.attempts--
		case tooManyRequests:
			t.throttled++
			t.attempts--
		case unknown, notSent:
		}
		if t.attempts >= c.cfg.MaxAttempts {
			return a, nil
		}
		if err = c.pause(ctx, a.verdict, t.attempts, t.throttled); err != nil {
			return a, err
		}
	}
}
