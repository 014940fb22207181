package tim

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json"
)

const (
	// maxAccounts limits the accounts a call of account_check (cloud.tencent.com/document/product/269/38417, 2025-12).
	maxAccounts = 100

	// Calls of account_check that one [Client.CheckAccounts] has in flight.
	maxChecks = 8

	// maxAccountResponse limits a response in bytes: an entry has an account of 32 bytes, escaped up to 192, and texts.
	maxAccountResponse = 64 << 10
)

// CheckAccounts returns those of ids for which no account exists, in the order of ids and each once. The error says why
// that is not known for all of them: the cause of ctx, a [*FatalError], or a response without them. Nothing is changed.
// IDs must be accounts that the service could have: it refuses all of a request for one that is too long.
func (c *Client) CheckAccounts(ctx context.Context, ids []string) (missing []string, err error) {
	var calls sync.WaitGroup
	var mu sync.Mutex
	exist := make(map[string]bool, len(ids))
	unique := make([]string, 0, len(ids))
	for _, id := range ids {
		if _, ok := exist[id]; !ok {
			exist[id] = true
			unique = append(unique, id)
		}
	}
	clear(exist)
	slots := make(chan struct{}, maxChecks)
	for from := 0; from < len(unique); from += maxAccounts {
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			found, callErr := c.checkAccounts(ctx, unique[from:min(from+maxAccounts, len(unique))])
			mu.Lock()
			defer mu.Unlock()
			for id, ok := range found {
				exist[id] = ok
			}
			if err == nil {
				err = callErr
			}
		})
	}
	calls.Wait()
	for _, id := range unique {
		switch ok, known := exist[id]; {
		case !known && err == nil:
			err = fmt.Errorf("account_check: the response does not say whether account %q exists", excerpt(id))
		case known && !ok:
			missing = append(missing, id)
		}
	}
	return missing, err
}

// accountsExist reports which of the accounts exist. Concurrent callers share requests. An account that is absent from
// the result is not known, for the reason of the error.
func (c *Client) accountsExist(ctx context.Context, ids []string) (map[string]bool, error) {
	batches := make([]*batch[bool], len(ids))
	for i, id := range ids {
		batches[i] = c.checks.join(ctx, id)
	}
	var err error
	exist := make(map[string]bool, len(ids))
	for i, id := range ids { // also after an error: each batch that was joined must be waited for
		found, batchErr := c.checks.wait(ctx, batches[i], c.share(ctx).drain())
		if ok, known := found[id]; known {
			exist[id] = ok
		}
		if batchErr != nil {
			err = batchErr
		}
	}
	return exist, err
}

// checkAccounts asks which of at most maxAccounts accounts exist, with retries. The result may lack accounts.
func (c *Client) checkAccounts(ctx context.Context, ids []string) (map[string]bool, error) {
	type item struct {
		UserID string `json:"UserID"`
	}
	items := make([]item, len(ids))
	for i, id := range ids {
		items[i].UserID = id
	}
	body, err := json.Marshal(struct {
		CheckItem []item `json:"CheckItem"`
	}{items})
	if err != nil {
		return nil, err
	}
	a, err := c.repeat(ctx, c.lanes[checkLane], nil, request{accountCheck, body, maxAccountResponse}, new(tries))
	switch {
	case err != nil:
		return nil, err
	case a.verdict == accepted:
		return readAccounts(a.body, ids)
	default:
		return nil, errors.New(accountCheck + ": " + a.message)
	}
}

// readAccounts reads which of ids exist from a response of account_check. It takes no word for accounts that were not
// asked for, and none that is contradicted by another of the response.
func readAccounts(body []byte, ids []string) (map[string]bool, error) {
	var re struct {
		ResultItem []struct {
			UserID        string `json:"UserID"`
			ResultCode    int    `json:"ResultCode"`
			AccountStatus string `json:"AccountStatus"`
		} `json:"ResultItem"`
	}
	if err := json.Unmarshal(body, &re, lenient); err != nil {
		return nil, errors.New(accountCheck + ": unreadable response")
	}
	said := make(map[string]string, len(re.ResultItem))
	for _, item := range re.ResultItem {
		status := item.AccountStatus
		if item.ResultCode != 0 {
			status = ""
		}
		if before, ok := said[item.UserID]; ok && before != status {
			status = ""
		}
		said[item.UserID] = status
	}
	exist := make(map[string]bool, len(ids))
	for _, id := range ids {
		switch said[id] {
		case "Imported":
			exist[id] = true
		case "NotImported":
			exist[id] = false
		}
	}
	return exist, nil
}
