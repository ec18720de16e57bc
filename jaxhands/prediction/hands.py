"""What is found in pictures: both hands of each, in its pixels and in one camera frame."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from jaxhands import meshes, schema
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel

Scale = Literal["metric", "assumed", "unknown"]


@dataclasses.dataclass(frozen=True, eq=False)
class Hands:
  """What was found in N pictures; right hands first. All arrays are finite; where a flag is False, values are 0.

  Attributes:
    hand_prob: [N, 2], probability that the hand is in the picture.
    present: [N, 2], `hand_prob` > 0.5.
    joints_img: [N, 2, 21, 2], pixels of the picture as it was given; integers are pixel centres.
    confidence: [N, 2, 21], 0..1; of a run that was evaluated, the probability that the joint is nearer to its true
      place in the picture than a tenth of the hand's size there (`evaluation.metrics.confidence`).
    joints_cam: [N, 2, 21, 3], mm, both hands in one camera frame.
    joints_cam_valid: [N, 2], the hand could be placed there, with all joints in front of the camera.
    reprojection_px: [N, 2, 21], distance of the projected `joints_cam` from `joints_img`.
    camera_img: [N, 3, 3], intrinsics that `joints_cam` belongs to.
    scale: N words: "metric"; "assumed", the camera is known and the hands' size is a mean hand's, or that of a shape
      that nobody measured; "unknown", as the camera is not known and a normal lens was assumed: shapes and directions
      hold, distances do not.
    box_img: [N, 2, 4], the box of each hand that was given or found, else the whole picture: x, y, width, height in
      pixels. Systems that see both hands look at the smallest box around both of those that are there.
    crop_from_img: [N, 2, 2, 3], affine to the frame of `raw`'s maps, for each hand.
    raw: further keys of `schema.PREDICTION` that the system gives: meshes, parameters, samples, masks. `vertices_cam`,
      `mano` and `samples` lie where `joints_cam` do, and are 0 of hands that have none, see `meshed`.
  """

  hand_prob: Float[np.ndarray, "n 2"]
  present: Bool[np.ndarray, "n 2"]
  joints_img: Float[np.ndarray, "n 2 21 2"]
  confidence: Float[np.ndarray, "n 2 21"]
  joints_cam: Float[np.ndarray, "n 2 21 3"]
  joints_cam_valid: Bool[np.ndarray, "n 2"]
  reprojection_px: Float[np.ndarray, "n 2 21"]
  camera_img: Float[np.ndarray, "n 3 3"]
  scale: tuple[Scale, ...]
  box_img: Float[np.ndarray, "n 2 4"]
  crop_from_img: Float[np.ndarray, "n 2 2 3"]
  raw: Mapping[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.hand_prob)

  def one(self, index: int) -> Hands:
    """Those of one picture, N = 1."""
    rows = slice(index, index + 1)
    return self._changed(lambda name, value: value[rows])

  @classmethod
  def joined(cls, some: Sequence[Hands]) -> Hands:
    """Those of all pictures of several, which have the same keys in `raw`."""
    values = {
      field.name: np.concatenate([getattr(one, field.name) for one in some])
      for field in dataclasses.fields(cls)
      if field.name not in ("scale", "raw")
    }
    raw = {key: np.concatenate([one.raw[key] for one in some]) for key in some[0].raw}
    return cls(**values, scale=tuple(scale for one in some for scale in one.scale), raw=raw)

  @property
  def meshed(self) -> Bool[np.ndarray, "n 2"]:
    """The hand has `mano` and `vertices_cam`, and stands in the camera's frame."""
    if not {"mano", "vertices_cam"} <= set(self.raw):
      return np.zeros_like(self.joints_cam_valid)
    return self.joints_cam_valid & self.raw["mano"].any(-1)

  def save(
    self,
    path: str | pathlib.Path,
    hand_model: HandModel,
    time_s: Float[np.ndarray, " n"] | None = None,
    view: meshes.View | None = None,
  ) -> list[pathlib.Path]:
    """Writes the meshes as a file of other tools, see `jaxhands.meshes.write`.

    Args:
      path: .glb, .bvh, .obj or .ply.
      hand_model: the model's, whose parameters these are: `model.hand_model`.
      time_s: seconds of each picture, where these are frames of a clip.
      view: the camera, to go into a .glb.
    Returns:
      The files.
    Raises:
      ValueError: there is no mesh; or what `meshes.write` refuses.
    """
    if not self.meshed.any():
      raise ValueError(f"{path}: no hand has a mesh, which comes from systems that predict `mano` and `vertices_cam`")
    if time_s is None and len(self) > 1:
      raise ValueError(f"{path}: of {len(self)} pictures, say when each was taken (time_s), or save one: hands.one(0)")
    times = np.zeros(1) if time_s is None else np.asarray(time_s, np.float64)
    scale = self.scale[0] if len(set(self.scale)) == 1 else "unknown"
    return meshes.write(pathlib.Path(path), meshes.Clip(hand_model, self.raw["mano"], self.meshed, times, view, scale))

  def exchanged(self, rows: Bool[np.ndarray, " n"] | None = None) -> Hands:
    """The same with each hand in the other's place, of all pictures or of `rows`.

    There they have no meshes, which are of the other side's model.
    """
    rows = np.ones(len(self), bool) if rows is None else rows

    def change(name: str, value: Any) -> Any:
      if name in ("camera_img", "scale"):
        return value
      axis = schema.PREDICTION[name].hand_axis if name in schema.PREDICTION else 1
      if axis is None:
        return value
      other = np.zeros_like(value) if name in ("mano", "vertices_cam") else np.flip(value, axis)
      return np.where(rows.reshape(-1, *(1,) * (value.ndim - 1)), other, value)

    return self._changed(change) if rows.any() else self

  def _changed(self, change: Callable[[str, Any], Any]) -> Hands:
    values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    raw = {key: change(key, value) for key, value in values.pop("raw").items()}
    return Hands(**{name: change(name, value) for name, value in values.items()}, raw=raw)


def reprojection_px(
  joints_img: Float[np.ndarray, "n 2 21 2"],
  joints_cam: Float[np.ndarray, "n 2 21 3"],
  joints_cam_valid: Bool[np.ndarray, "n 2"],
  camera_img: Float[np.ndarray, "n 3 3"],
) -> Float[np.ndarray, "n 2 21"]:
  """The field of that name of `Hands`, from the others; 0 of hands that could not be placed."""
  ahead = np.where(joints_cam_valid[..., None, None], joints_cam, np.array([0, 0, 1], np.float32))
  projected = np.asarray(camera.project(ahead, camera_img[:, None]))
  error = np.where(joints_cam_valid[..., None], np.linalg.norm(projected - joints_img, axis=-1), 0)
  return error.astype(np.float32)
