"""Meshes of what was found, as files beside the overlays: of a picture, and of a video as a whole."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxhands import meshes
from jaxhands.hands.model import HandModel
from jaxhands.prediction.predictions_json import Found

FOLDER = "meshes"


@dataclasses.dataclass(frozen=True, eq=False)
class MeshFiles:
  """Where meshes go.

  Attributes:
    out: the folder of all that is written.
    formats: of `meshes.FORMATS`.
    model: whose parameters are found.
  """

  out: pathlib.Path
  formats: Sequence[str]
  model: HandModel

  def picture(self, name: str, found: Found) -> tuple[str, ...]:
    """Writes `meshes/NAME.*` of a picture; the paths in the folder, none where no hand has a mesh."""
    return self._written(pathlib.Path(FOLDER) / name, self.formats, [found])

  def video(self, name: str, found: Sequence[Found]) -> list[tuple[str, ...]]:
    """Writes `meshes/NAME.*` of a whole video, and of each frame `meshes/NAME/NUMBER.*` where a format holds no more.

    Returns:
      The paths in the folder that concern each frame.
    """
    whole = self._written(pathlib.Path(FOLDER) / name, [f for f in self.formats if f in meshes.MOVING], found)
    single = [form for form in self.formats if form not in meshes.MOVING]
    return [whole + self._written(pathlib.Path(FOLDER) / name / f"{each.frame:06}", single, [each]) for each in found]

  def _written(self, stem: pathlib.Path, formats: Sequence[str], found: Sequence[Found]) -> tuple[str, ...]:
    if not formats or not any(each.hands.meshed.any() for each in found):
      return ()
    clip, paths = self._clip(found), []
    for form in formats:
      # Not with_suffix, which would cut a name with a dot.
      written = meshes.write(self.out / stem.with_name(f"{stem.name}.{form}"), clip)
      paths += [path.relative_to(self.out).as_posix() for path in written]
    return tuple(paths)

  def _clip(self, found: Sequence[Found]) -> meshes.Clip:
    hands = [each.hands for each in found]
    scales = {each.scale[0] for each in hands}
    times = np.array([each.time_s or 0.0 for each in found])
    return meshes.Clip(
      self.model, np.concatenate([each.raw["mano"] for each in hands]), np.concatenate([each.meshed for each in hands]),
      _rising(times), meshes.View(hands[0].camera_img[0], found[0].picture_hw),
      scales.pop() if len(scales) == 1 else "unknown",
    )  # fmt: skip


def _rising(times_s: np.ndarray) -> np.ndarray:
  """Times at least a millisecond apart; videos hold frames of one moment now and then, or of an earlier one."""
  apart = 1e-3 * np.arange(len(times_s))
  return np.maximum.accumulate(times_s - apart) + apart
