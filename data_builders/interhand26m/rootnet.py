"""RootNet's result files as tables that training and evaluation read: `root_depths-SPLIT.npz`."""

from __future__ import annotations

import pathlib

import numpy as np

from data_builders.interhand26m import json_stream
from data_builders.interhand26m.layout import SplitFiles
from data_builders.interhand26m.survey import source_name
from data_builders.interhand26m.tables import Split
from data_builders.problems import Problems
from jaxhands import schema

_NEAREST_MM = 20.0  # a wrist nearer to the camera is none, or in metres


def write_root_depths(files: SplitFiles, split: Split, path: pathlib.Path, problems: Problems) -> pathlib.Path | None:
  """Converts the result file that has depths for most of the split's records; those without are reported.

  The table is one of `jaxhands.data.records.RootDepths`, with a row for each record: `example_id` [N], `record_hash`
  [N], `depth_mm` [N, 2] (right, left), `valid` [N, 2], False of hands without a depth or with one that is not finite
  or nearer than 20 mm, which evaluation leaves out.
  As in the reference, depths count for both hands whatever the file's `root_valid` says. Its boxes are not used: they
  are the annotated ones made square and enlarged, as every reader does itself, but clipped to the picture before.

  Args:
    files: with the candidates.
    split: records whose depths are wanted.
    path: of the table, written only where there are depths.
    problems: gets broken files, and records without depths or with such that cannot be.
  Returns:
    The result file that was used; None where there is none.
  """
  rows = split.rows
  by_id = np.argsort(rows["annotation_id"])
  ids = rows["annotation_id"][by_id]
  best, used = np.full((len(rows), 2), np.nan, np.float32), None
  for candidate in files.rootnet:
    try:
      depths = _read(candidate, ids)[np.argsort(by_id)]
    except json_stream.JsonError as error:
      problems.add("broken RootNet file", files.split, str(error))
      continue
    if used is None or _can_be(depths).all(-1).sum() > _can_be(best).all(-1).sum():
      best, used = depths, candidate
  valid, missing = _can_be(best), np.isnan(best)
  if used is None or not len(rows):
    return None
  for row in rows[missing.any(-1)]:
    problems.add("missing RootNet depth", files.split, split.name(row), used.name)
  for place in np.flatnonzero((~valid & ~missing).any(-1)):
    detail = f"{used.name}: {best[place].tolist()} mm"
    problems.add("RootNet depth that cannot be", files.split, split.name(rows[place]), detail)
  if not valid.any():
    return None
  with path.open("wb") as file:
    np.savez(
      file,
      example_id=schema.example_id(rows["record_id"], "pair"),
      record_hash=[schema.record_hash(source_name(files.split, split.name(row)), row["box"]) for row in rows],
      depth_mm=np.where(valid, best, 0),
      valid=valid,
    )
  return used


def _read(path: pathlib.Path, ids: np.ndarray) -> np.ndarray:
  """Depths [N, 2] of sorted annotation ids, as they are stored; NaN where the file has none."""
  depths = np.full((len(ids), 2), np.nan, np.float32)
  for at, value in json_stream.values(path, 1):
    try:
      wanted, pair = int(value["annot_id"]), np.asarray(value["abs_depth"], np.float64).reshape(2)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
      raise json_stream.JsonError(f"{path}: {json_stream.format_path(at)} is no RootNet result ({error})") from None
    place = np.searchsorted(ids, wanted)
    if place < len(ids) and ids[place] == wanted:
      with np.errstate(over="ignore"):
        depths[place] = pair
  return depths


def _can_be(depths_mm: np.ndarray) -> np.ndarray:
  return np.isfinite(depths_mm) & (depths_mm >= _NEAREST_MM)
