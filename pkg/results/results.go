// Package results reads and writes the objects beside an export: outcomes, parts, checkpoints, progress, manifest,
// the results file and the dead-letter file.
//
//	exports/acme.jsonl                              the export; never written
//	exports/acme.jsonl.results.ndjson               the outcome of every record, in order
//	exports/acme.jsonl.failures.ndjson              the dead-letter file: outcome and record of everything not imported
//	exports/acme.jsonl.import/lease/000001          the owner of a run; the number is the fencing token
//	exports/acme.jsonl.import/parts/000001-000001   a part of the outcomes: fencing token, number of the part
//	exports/acme.jsonl.import/parts/000001-ahead    out-of-order outcomes
//	exports/acme.jsonl.import/checkpoint/000001     the last checkpoint of a run
//	exports/acme.jsonl.import/progress              the progress, for readers
//	exports/acme.jsonl.import/manifest              the summary of the import; written last
//
// The writer writes a part before the checkpoint that counts it. A part without a checkpoint is ignored. Every run
// writes only to names with its own fencing token, so a previous run that is still alive cannot overwrite the objects
// of its successor.
package results
