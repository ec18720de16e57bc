"""Which records of a source get annotations, and how its fingers bend: read once and kept beside what is built."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable

import numpy as np

from data_builders.built import Built
from data_builders.multihands import perturb
from data_builders.multihands.config import SPLITS, MultiHandsConfig
from data_builders.shards import BuildError, read_survey

Say = Callable[[str, int, int], None]
_KEYS = ("hand_present", "mano", "mano_valid", "camera_valid", "hand_model")
_POSES = 20_000  # that likelihood is about, of all splits, those of train first
_FEWEST = 20


def survey(folder: pathlib.Path, config: MultiHandsConfig, source: Built, hand_model: str, say: Say) -> dict[str, int]:
  """Makes the tables in `folder`, or finds them.

  Returns:
    Split -> number of records that are taken, of all splits that the source has.
  Raises:
    BuildError: the source has no such fits, or those of another hand model.
  """
  return read_survey(folder, lambda: _make(folder, config, source, hand_model, say), ("counts",))["counts"]


def _make(folder: pathlib.Path, config: MultiHandsConfig, source: Built, hand_model: str, say: Say) -> None:
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  counts, poses = {}, []
  available = source.splits()
  for split in (split for split in SPLITS if split in available):
    limit, rows = getattr(config, split), []
    for row in range(available[split]):
      if limit is not None and len(rows) >= limit:
        break
      record = source.read(split, row, _KEYS)
      if not (record["hand_present"].all() and record["mano_valid"].all() and record["camera_valid"]):
        continue
      if record["hand_model"] != hand_model:
        raise BuildError(
          f"{source.folder} has fits of hand model {record['hand_model']!r}, not of {hand_model!r}; "
          + ("give the MANO files that they belong to" if record["hand_model"] else "build it with --mano")
        )
      rows.append(row)
      if len(poses) < _POSES:
        poses.append(record["mano"][:, 3:48])
      if row % 100 == 0:
        say(f"reading fits of {split}", row, available[split])
    np.save(folder / f"rows-{split}.npy", np.array(rows, np.int32))
    counts[split] = len(rows)
  if len(poses) < _FEWEST:
    raise BuildError(
      f"{source.folder} has {len(poses)} records with fits of both hands and a camera; likelihood needs {_FEWEST}"
    )
  np.savez(folder / "likely.npz", **perturb.likely_of(np.stack(poses).astype(np.float64))._asdict())
  (folder / "survey.json").write_text(json.dumps({"counts": counts}) + "\n")
