package tim

import (
	"context"
	"errors"
	"io"
)

// errGate is wrapped by the error of an attempt that its gate did not let through.
var errGate = errors.New("not sent")

type gateKey struct{}

// WithGate returns a context for calls that may be sent only while gate returns nil. The client asks right before it
// writes the body of a request, so a process that was frozen, or took long to connect, sends nothing that the service
// could execute. Such an attempt ends like one without a connection; whoever closes the gate should end ctx too. Gates
// add up.
func WithGate(ctx context.Context, gate func() error) context.Context {
	outer := gateOf(ctx)
	return context.WithValue(ctx, gateKey{}, func() error { return errors.Join(outer(), gate()) })
}

// gateOf returns the gate of a context.
func gateOf(ctx context.Context) func() error {
	if gate, ok := ctx.Value(gateKey{}).(func() error); ok {
		return gate
	}
	return func() error { return nil }
}

// A gatedBody is the body of a request that its gate may stop.
type gatedBody struct {
	io.Reader

	gate func() error
}

func (b gatedBody) Read(p []byte) (int, error) {
	if err := b.gate(); err != nil {
		return 0, errors.Join(errGate, err)
	}
	return b.Reader.Read(p)
}

func (gatedBody) Close() error { return nil }
