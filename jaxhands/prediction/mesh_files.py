"""Meshes of what was found, as files beside the overlays: of a picture, and of a video as a whole."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxhands import meshes
from jaxhands.hands.model import HandModel
from jaxhands.prediction.predictions_json import PictureResult

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

  def picture(self, name: str, result: PictureResult) -> tuple[str, ...]:
    """Writes `meshes/NAME.*` of a picture; the paths in the folder, none where no hand has a mesh."""
    return self._written(pathlib.Path(FOLDER) / name, self.formats, [result])

  def video(self, name: str, results: Sequence[PictureResult]) -> list[tuple[str, ...]]:
    """Writes `meshes/NAME.*` of a whole video, and of each frame `meshes/NAME/NUMBER.*` where a format holds no more.

    Returns:
      The paths in the folder that concern each frame.
    """
    whole = self._written(pathlib.Path(FOLDER) / name, [f for f in self.formats if f in meshes.MOVING], results)
    single = [form for form in self.formats if form not in meshes.MOVING]
    return [whole + self._written(pathlib.Path(FOLDER) / name / f"{each.frame:06}", single, [each]) for each in results]

  def _written(self, stem: pathlib.Path, formats: Sequence[str], results: Sequence[PictureResult]) -> tuple[str, ...]:
    if not formats or not any(each.hands.meshed[each.row].any() for each in results):
      return ()
    clip, paths = self._clip(results), []
    for form in formats:
      # Not with_suffix, which would cut a name with a dot.
      written = meshes.write(self.out / stem.with_name(f"{stem.name}.{form}"), clip)
      paths += [path.relative_to(self.out).as_posix() for path in written]
    return tuple(paths)

  def _clip(self, results: Sequence[PictureResult]) -> meshes.Clip:
    scales = {each.hands.scale[each.row] for each in results}
    times = np.array([each.time_s or 0.0 for each in results])
    return meshes.Clip(
      self.model, np.stack([each.hands.raw["mano"][each.row] for each in results]),
      np.stack([each.hands.meshed[each.row] for each in results]), _rising(times),
      meshes.View(results[0].hands.camera_img[results[0].row], results[0].picture_hw),
      scales.pop() if len(scales) == 1 else "unknown",
    )  # fmt: skip


def _rising(times_s: np.ndarray) -> np.ndarray:
  """Times at least a millisecond apart; videos hold frames of one moment now and then, or of an earlier one."""
  apart = 1e-3 * np.arange(len(times_s))
  return np.maximum.accumulate(times_s - apart) + apart
