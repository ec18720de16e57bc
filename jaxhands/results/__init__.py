"""Results of finished experiments: a record of each, and RESULTS.md, which sets them beside the papers' numbers."""
