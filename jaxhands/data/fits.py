"""Parameters that `jaxhands fit` found for the records of a data set, read where these have none of their own."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.hands.fit import LEAST_JOINTS_CAM
from jaxhands.paths import expanded
from jaxhands.runs import folder as files

LARGEST_MM = 15.0  # mean distance of a hand's joints from the model's, from which on parameters teach the wrong hand
LARGEST_SHAPE = 8.0  # deviations; small children's hands have up to 7, joints in centimetres 16 and more


@dataclasses.dataclass(frozen=True, eq=False)
class Fits:
  """What training takes of a `fits.npz`.

  Attributes:
    path: of the file.
    hand_model: identity of the model whose parameters these are.
    record_id, record_hash: of each record; the latter says which picture and box it shows, see `schema.record_hash`.
    mano: the schema's layout.
    valid: the hand was fitted to joints in space, three at least, the search came to an end, the joints lie near
      enough, and its shape is one that hands have.
  """

  path: pathlib.Path
  hand_model: str
  record_id: Integer[np.ndarray, " N"]
  record_hash: Integer[np.ndarray, " N"]
  mano: Float[np.ndarray, "N 2 61"]
  valid: Bool[np.ndarray, "N 2"]

  @classmethod
  def read(cls, path: str | pathlib.Path) -> Fits:
    """Reads a file.

    Raises:
      FileNotFoundError: there is none.
      DamagedFile: it holds something else, as the fits of a predictions.json do.
    """
    path = expanded(path)
    names = ("hand_model", "record_id", "record_hash", "mano", "valid", "converged", "residual_mm", "error_mm")
    arrays = files.read_arrays(path, "fit the data set again: python -m jaxhands fit NAME:SPLIT", names)
    in_space = (arrays["error_mm"] > 0).sum(-1) >= LEAST_JOINTS_CAM  # else fitted to pixels above all
    near = arrays["residual_mm"] <= LARGEST_MM
    usual = np.abs(arrays["mano"][..., schema.MANO_SHAPE]).max(-1) <= LARGEST_SHAPE
    valid = arrays["valid"] & arrays["converged"] & in_space & near & usual
    mano = np.where(valid[..., None], arrays["mano"], 0).astype(np.float32)
    return cls(path, str(arrays["hand_model"]), arrays["record_id"], arrays["record_hash"], mano, valid)

  def filled(self, record: dict[str, Any]) -> dict[str, Any]:
    """The record with the parameters of its hands that have none.

    Raises:
      ValueError: it has a hand without parameters, and the file does not know the record.
    """
    missing = record["hand_present"] & ~record["mano_valid"]
    if not missing.any():
      return record
    identity = int(schema.record_hash(record["source"], record["box_img"]))
    row = self._rows.get((int(record["record_id"]), identity))
    if row is None:
      raise ValueError(f"{self.path} has no fit of record {int(record['record_id'])}; fit this data set and split")
    new = missing & self.valid[row]
    mano = np.where(new[:, None], self.mano[row], record["mano"])
    return record | {"mano": mano, "mano_valid": record["mano_valid"] | new}

  @functools.cached_property
  def _rows(self) -> dict[tuple[int, int], int]:
    keys = zip(self.record_id.tolist(), self.record_hash.tolist(), strict=True)
    return {key: row for row, key in enumerate(keys)}
