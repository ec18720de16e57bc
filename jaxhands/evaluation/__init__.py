"""A system on a data set: its numbers, and what stands beside them."""
