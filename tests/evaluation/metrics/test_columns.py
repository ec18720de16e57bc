"""Columns on the disk are the arrays that they were made of."""

import numpy as np

from jaxhands.evaluation.metrics import columns


def test_what_is_joined_is_what_was_added():
  rng = np.random.default_rng(0)
  rows = [
    {"a": (rng.normal(size=(count, 2, 21)).astype(np.float32), rng.random((count, 2)) > 0.5), "b": np.arange(count)}
    for count in (3, 0, 5)
  ]
  kept = columns.Columns()
  for row in rows:
    kept.add(row)
  assert kept.count == 8
  found = kept.joined()
  for _ in range(2):
    for place in (0, 1):
      expected = np.concatenate([row["a"][place] for row in rows])
      assert found["a"][place].dtype == expected.dtype
      np.testing.assert_array_equal(found["a"][place], expected)
    np.testing.assert_array_equal(found["b"], [0, 1, 2, 0, 1, 2, 3, 4])
    columns.let_go(found)  # and is there again


def test_arrays_without_examples_or_values():
  kept = columns.Columns()
  kept.add({"none": np.zeros((2, 0), np.float32), "some": np.ones(2)})
  assert kept.joined()["none"].shape == (2, 0)
  empty = columns.Columns()
  empty.add({"some": np.ones((0, 3))})
  assert empty.joined()["some"].shape == (0, 3)


def test_memory_does_not_grow_with_the_examples():
  """Not measured, which other tests would disturb, but seen: what is joined is no array of its own."""
  kept = columns.Columns()
  kept.add({"some": np.ones((4, 3))})
  joined = kept.joined()["some"]
  assert isinstance(joined, np.memmap)
  assert not joined.flags.owndata
  assert not joined.flags.writeable
