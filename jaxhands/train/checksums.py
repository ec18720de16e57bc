"""Checksums of arrays: what a checkpoint's `meta` keeps of each, and which of them are no longer what was written."""

from __future__ import annotations

import concurrent.futures
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def of(tree: Any) -> dict[str, str]:
  """Path -> dtype and CRC-32 of an array's bytes; called by all processes, for some arrays lie on several hosts."""

  def sum_of(leaf: Any) -> str:
    array = np.ascontiguousarray(leaf)
    return f"{array.dtype.name} {zlib.crc32(array.reshape(-1).view(np.uint8)):08x}"  # pyright: ignore[reportArgumentType]

  leaves = jax.tree_util.tree_leaves_with_path(tree)
  names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  divided = {
    # One at a time and in one order, as all processes take part.
    name: sum_of(multihost_utils.process_allgather(leaf, tiled=True))
    for name, (_, leaf) in zip(names, leaves, strict=True)
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated)
  }
  here = {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True) if name not in divided}
  with concurrent.futures.ThreadPoolExecutor() as threads:
    return divided | dict(zip(here, threads.map(sum_of, here.values()), strict=True))


def different(found: Mapping[str, Mapping[str, str]], written: Mapping[str, Mapping[str, str]]) -> list[str]:
  """Names, as "ITEM/PATH", of the arrays whose sums, by item, are not those that were written."""
  return [
    f"{item}/{path}"
    for item, sums in found.items()
    for path, sum_ in sums.items()
    if sum_ != (expected := written.get(item, {}).get(path, "none")) and not _other_type(sum_, expected)
  ]


def _other_type(one: str, other: str) -> bool:
  """Whether two sums are of arrays of different types: what is restored as another type has other bytes."""
  return other != "none" and one.split()[0] != other.split()[0]
