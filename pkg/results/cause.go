package results

// A Cause says why a run ended before its import did, or why an import is not running. Runs of version 1 have no Cause:
// only their text gives the reason.
type Cause string

// The causes.
const (
	CauseTimeUp      Cause = "time-up"     // the working time ended; the next run resumes
	CauseInterrupted Cause = "interrupted" // a signal, or the caller's context
	CauseUndone      Cause = "undone"      // a record could not be completed
	CauseEdited      Cause = "edited"      // the dead-letter file changed during a round of retries
	CauseReplaced    Cause = "replaced"    // a new version of the export was written while the run read it
	CauseRemoved     Cause = "removed"     // the export was deleted while the run read it
	CauseService     Cause = "service"     // the service accepts nothing, see Run.Code
	CauseRefused     Cause = "refused"     // the service rejected more than STOP_SHARE of the calls
	CauseReordered   Cause = "reordered"   // a new version does not match the earlier one
	CauseError       Cause = "error"       // the store, or the format of the export
	CauseNotBegun    Cause = "not-begun"   // no run has begun the import
	CauseNewVersion  Cause = "new-version" // no run has begun the import of the new version
	CauseDied        Cause = "died"        // the last run ended without writing how; the next one resumes
	CauseDiedOften   Cause = "died-often"  // several runs in a row died before their first outcome
	CausePaused      Cause = "paused"      // an operator paused the import, see [Control]
	CauseCancelled   Cause = "cancelled"   // an operator cancelled the import
	CauseResumed     Cause = "resumed"     // an operator resumed the import; the next run begins
	CauseWriting     Cause = "writing"     // all records have outcomes; the next run writes the rest of the results
)

// Causes returns all causes.
func Causes() []Cause {
	return []Cause{
		CauseTimeUp, CauseInterrupted, CauseUndone, CauseEdited, CauseReplaced, CauseRemoved, CauseService, CauseRefused,
		CauseReordered, CauseError, CauseNotBegun, CauseNewVersion, CauseDied, CauseDiedOften, CausePaused, CauseCancelled,
		CauseResumed, CauseWriting,
	}
}
