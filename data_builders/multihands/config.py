"""What a MultiHands data set is made of. Imports nothing heavy, so that a configuration costs nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

# Of how annotations are made; raised by changes, so that old records are not mixed with new ones.
VERSION = 2
SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class MultiHandsConfig:
  """Arguments of a MultiHands data set; equal arguments, and an equal source, give equal files.

  The paper's own numbers are in a supplement that nobody can get; these are ours.

  Attributes:
    source: the data set whose pictures get further annotations, a folder or NAME[/VARIANT]; of its records, those with
      fits of both hands and a known camera.
    mano: folder of the user's MANO files, to which the fits belong; "" = the embedded hands.
    train, val, test: the first so many of each split; None = all.
    seed: of everything drawn.
    annotations: of each picture; where fewer poses keep it, these and the fit.
    population: poses that are changed at once.
    rounds: of changing, testing, keeping.
    pixels: by which a visible joint may move, in a crop of 224 px.
    finger_share: largest change of a finger, in deviations of the source's own poses.
    turn_rad: deviation of the largest change of a hand's global rotation.
    depth_mm: deviation of the largest change of the hands' distance from the camera.
  """

  source: str
  mano: str = ""
  train: int | None = None
  val: int | None = None
  test: int | None = None
  seed: int = 0
  annotations: int = 100
  population: int = 200
  rounds: int = 20
  pixels: float = 5.0
  finger_share: float = 1.0
  turn_rad: float = 0.1
  depth_mm: float = 40.0

  def __post_init__(self) -> None:
    if not self.source:
      raise ValueError("source is empty: name the data set whose pictures get annotations")
    for name in ("annotations", "population", "rounds"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
    if self.population < self.annotations:
      raise ValueError(f"population is {self.population}, expected at least the {self.annotations} annotations")
    for name in ("pixels", "finger_share", "turn_rad", "depth_mm"):
      if getattr(self, name) <= 0:
        raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
    for split in SPLITS:
      limit = getattr(self, split)
      if limit is not None and limit < 0:
        raise ValueError(f"{split} is {limit} records, expected 0 or more")
    if self.seed < 0:
      raise ValueError(f"seed is {self.seed}, expected 0 or more")

  def arguments(self, source: dict[str, Any], hand_model: str) -> dict[str, Any]:
    """What decides the records, under the names of the command line's flags.

    Args:
      source: identity of the source.
      hand_model: identity of the hand model.
    """
    own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    named = {name.replace("_", "-"): value for name, value in own.items()}
    return named | {"source": source, "mano": hand_model, "version": VERSION}
