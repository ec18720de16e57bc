"""Arrays over all examples of an evaluation, which lie on the disk, so that more examples take no more memory."""

from __future__ import annotations

import math
import mmap
import tempfile
from typing import Any

import jax
import numpy as np


class Columns:
  """Collects trees of arrays over the examples of a batch, and joins them to one over all examples.

  Each array has a file of its own in the folder for temporary files (`$TMPDIR`), which nothing else sees and which is
  gone with the last array that reads it.
  """

  def __init__(self) -> None:
    self.count = 0
    self._structure: Any = None
    self._files: list[Any] = []
    self._kinds: list[tuple[tuple[int, ...], np.dtype]] = []  # shape of an example, dtype

  def add(self, tree: Any) -> None:
    """Adds the examples of a batch; the tree, and the arrays but for their first axis, are the same each time.

    Raises:
      OSError: they cannot be written, as the disk is full.
    """
    leaves, structure = jax.tree.flatten(tree)
    if not self._files:
      self._structure = structure
      self._files = [tempfile.TemporaryFile() for _ in leaves]  # noqa: SIM115, closed by `joined`
      self._kinds = [(leaf.shape[1:], leaf.dtype) for leaf in leaves]
    for file, leaf in zip(self._files, leaves, strict=True):
      file.write(leaf.tobytes())
    self.count += len(leaves[0])

  def joined(self) -> Any:
    """The tree over all examples, read from the disk where it is looked at; nothing can be added any more."""
    arrays = []
    for file, (shape, dtype) in zip(self._files, self._kinds, strict=True):
      shape = (self.count, *shape)
      file.flush()
      arrays.append(np.memmap(file, dtype, "r", shape=shape) if math.prod(shape) else np.zeros(shape, dtype))
      file.close()
    self._files = []
    return jax.tree.unflatten(self._structure, arrays)


def let_go(tree: Any) -> None:
  """Frees the memory of joined arrays that were looked at; whoever looks again reads them from their file again."""
  for leaf in jax.tree.leaves(tree):
    mapped = getattr(leaf, "_mmap", None)
    if isinstance(mapped, mmap.mmap) and hasattr(mapped, "madvise"):
      mapped.madvise(mmap.MADV_DONTNEED)
