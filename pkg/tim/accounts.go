package tim

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
)

const (
	// maxAccounts limits the accounts a call of account_check (cloud.tencent.com/document/product/269/38417, 2025-12) and
	// of multiaccount_import (269/4919, 2024-07).
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
			maps.Copy(exist, found)
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

// gatherAccounts asks a gatherer for accounts. An account that is absent from the result is not known, for the reason
// of the error, if there is one.
func (c *Client) gatherAccounts(ctx context.Context, g *gatherer[bool], ids []string) (map[string]bool, error) {
	batches := make([]*batch[bool], len(ids))
	for i, id := range ids {
		batches[i] = g.join(ctx, id)
	}
	var err error
	said := make(map[string]bool, len(ids))
	for i, id := range ids { // also after an error: each batch that was joined must be waited for
		found, batchErr := g.wait(ctx, batches[i], c.drain(ctx))
		if ok, known := found[id]; known {
			said[id] = ok
		}
		if batchErr != nil {
			err = batchErr
		}
	}
	return said, err
}

// ensureAccount creates an account that does not exist. The error is the cause of ctx, the [*FatalError], or says why
// the account may be missing.
func (c *Client) ensureAccount(ctx context.Context, id string) error {
	if c.known.has(id) {
		return nil
	}
	exist, err := c.gatherAccounts(ctx, &c.checks, []string{id})
	if ok, known := exist[id]; known && !ok {
		exist, err = c.gatherAccounts(ctx, &c.imports, []string{id})
	}
	switch {
	case exist[id]:
		c.known.add(id)
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("account %q does not exist, and multiaccount_import did not create it", excerpt(id))
	}
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

// importAccounts creates at most maxAccounts accounts, with retries: an account that exists stays as it is. The result
// says of each whether the service accepted it.
func (c *Client) importAccounts(ctx context.Context, ids []string) (map[string]bool, error) {
	type account struct {
		UserID string `json:"UserID"`
	}
	accounts := make([]account, len(ids))
	for i, id := range ids {
		accounts[i].UserID = id
		c.imported.add(id) // before it is created: others learn from account_check that it exists
	}
	body, err := json.Marshal(struct { // before 2024-07 the list was one of strings, Accounts (269/4919)
		AccountList []account `json:"AccountList"`
	}{accounts})
	if err != nil {
		return nil, err
	}
	a, err := c.repeat(ctx, c.lanes[accountLane], nil, request{accountImport, body, maxAccountResponse}, new(tries))
	switch {
	case err != nil:
		return nil, err
	case a.verdict == accepted:
		return readImported(a.body, ids)
	case a.verdict == rejected && len(ids) > 1 && (a.code == codeDeleted || a.code == codeAccountParameter):
		half := len(ids) / 2 // one of them is the reason
		said, err := c.importAccounts(ctx, ids[:half])
		if err == nil {
			var rest map[string]bool
			rest, err = c.importAccounts(ctx, ids[half:])
			maps.Copy(said, rest)
		}
		return said, err
	case a.verdict == rejected && (a.code == codeDeleted || a.code == codeAccountParameter):
		return map[string]bool{ids[0]: false}, nil
	default:
		return nil, errors.New(accountImport + ": " + a.message)
	}
}

// Codes of multiaccount_import that may be about one of several accounts.
const (
	codeDeleted          = 70399
	codeAccountParameter = 70402
)

// readImported reads from a response of multiaccount_import which of ids were accepted.
func readImported(body []byte, ids []string) (map[string]bool, error) {
	var re struct {
		FailAccounts []string `json:"FailAccounts"`
	}
	if err := json.Unmarshal(body, &re, lenient); err != nil {
		return nil, errors.New(accountImport + ": unreadable response")
	}
	said := make(map[string]bool, len(ids))
	for _, id := range ids {
		said[id] = !slices.Contains(re.FailAccounts, id)
	}
	return said, nil
}

// An accountSet remembers the latest accounts that were added to it, as hashes: two different accounts share one with a
// chance of 1 in 10^8 among a million.
type accountSet struct {
	seed maphash.Seed

	mu            sync.Mutex
	newer, before map[uint64]struct{}
}

// maxKnown limits each of the two generations of an accountSet, about 2 MB.
const maxKnown = 50_000

func (s *accountSet) has(id string) bool {
	hash := maphash.String(s.seed, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.newer[hash]
	if !ok {
		_, ok = s.before[hash]
	}
	return ok
}

func (s *accountSet) add(id string) {
	hash := maphash.String(s.seed, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newer == nil || len(s.newer) == maxKnown {
		s.before, s.newer = s.newer, make(map[uint64]struct{})
	}
	s.newer[hash] = struct{}{}
}
