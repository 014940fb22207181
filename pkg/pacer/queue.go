package pacer

import (
	"context"
	"slices"
	"sync"
)

// A Queue is a line of callers that wait for permits, such as the calls of one import. Queues with callers get permits
// in turn, one each, however many callers wait in them. Within a queue, callers get permits in the order in which they
// ask. A Queue without callers costs nothing.
type Queue struct {
	p       *Pacer
	callers []chan struct{} // guarded by turns.mu; closed when the caller's turn has come
}

// turns says whose turn it is: only one caller at a time waits for the schedule of the pacer.
type turns struct {
	mu     sync.Mutex
	turn   *Queue   // whose turn it is; nil if no caller waits
	queues []*Queue // the others with callers, in the order of their turns
}

// wait waits until it is the turn of a caller in q, who then must call pass. The error is the cause of ctx or of stop.
func (t *turns) wait(ctx, stop context.Context, q *Queue) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if stop.Err() != nil {
		return context.Cause(stop)
	}
	t.mu.Lock()
	if t.turn == nil {
		t.turn = q
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	q.callers = append(q.callers, turn)
	if len(q.callers) == 1 && q != t.turn {
		t.queues = append(t.queues, q)
	}
	t.mu.Unlock()
	var err error
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-stop.Done():
		err = context.Cause(stop)
	}
	if !t.leave(q, turn) {
		t.pass() // the turn has come meanwhile
	}
	return err
}

// leave removes a caller from its queue. It returns false if the caller's turn has come.
func (t *turns) leave(q *Queue, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := slices.Index(q.callers, turn)
	if n < 0 {
		return false
	}
	q.callers = slices.Delete(q.callers, n, n+1)
	if len(q.callers) == 0 {
		t.queues = slices.DeleteFunc(t.queues, func(other *Queue) bool { return other == q })
	}
	return true
}

// pass ends a turn. The next turn is of the queue that has waited longest. A queue with more callers goes last when its
// turn ends, and not when it begins: meanwhile the only caller of the queue before it has asked again.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.turn.callers) > 0 {
		t.queues = append(t.queues, t.turn)
	}
	t.turn = nil
	if len(t.queues) == 0 {
		return
	}
	t.turn = t.queues[0]
	t.queues = slices.Delete(t.queues, 0, 1)
	close(t.turn.callers[0])
	t.turn.callers = slices.Delete(t.turn.callers, 0, 1)
}
