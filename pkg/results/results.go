// Package results knows all that is written beside an export: outcomes, parts, checkpoint, lease,
// progress, manifest, and the files for people.
//
//	exports/acme.jsonl                          the export, never touched
//	exports/acme.jsonl.results.ndjson           every record's outcome, in order
//	exports/acme.jsonl.failures.ndjson          those that are not in, each with its record as it came
//	exports/acme.jsonl.import/lease/000001      who worked on the import, and until when; one a run
//	exports/acme.jsonl.import/parts/000001-000001   outcomes, a piece: the lease's number, then the part's
//	exports/acme.jsonl.import/parts/000001-ahead    outcomes behind a record that has none yet
//	exports/acme.jsonl.import/checkpoint/000001 how far the parts reach, as that run left it
//	exports/acme.jsonl.import/progress          how the import is doing, for whoever looks
//	exports/acme.jsonl.import/manifest          what it came to; written last
//
// A part is written first and the checkpoint that counts it afterwards, so a run that dies in between
// leaves a part that counts for nothing. Every run writes to names that carry its lease's number and
// to no other's, so one that has been given up for dead and goes on cannot spoil what its successor
// writes.
package results
