"""The arrays of one hand, right or left, in the units of MANO's files (metres), before both are put together."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Integer

_FLIP = np.array([-1, 1, 1])  # of points, mirrored across x = 0
_FLIP_AXIS = np.array([1, -1, -1])  # of rotation vectors


@dataclasses.dataclass(frozen=True)
class HandSide:
  """One hand in metres; `posedirs` and `nail` are None where the model has none.

  Rest joints are linear in the shape: `joints_template + joints_shapedirs @ shape`.
  """

  v_template: Float[np.ndarray, "V 3"]
  shapedirs: Float[np.ndarray, "V 3 10"]
  posedirs: Float[np.ndarray, "V 3 135"] | None
  weights: Float[np.ndarray, "V 16"]
  joints_template: Float[np.ndarray, "16 3"]
  joints_shapedirs: Float[np.ndarray, "16 3 10"]
  faces: Integer[np.ndarray, "F 3"]
  hands_mean: Float[np.ndarray, " 45"]
  hands_components: Float[np.ndarray, "C 45"]
  tip_vertices: Integer[np.ndarray, " 5"]
  nail: Float[np.ndarray, " V"] | None

  def mirrored(self) -> HandSide:
    """The other hand: the exact mirror image across x = 0, with the faces' order reversed."""
    pose_flip = np.multiply.outer(_FLIP, _FLIP).ravel()
    posedirs = None if self.posedirs is None else self.posedirs * _FLIP[:, None] * np.tile(pose_flip, 15)
    flip_axes = np.tile(_FLIP_AXIS, 15)
    return dataclasses.replace(
      self,
      v_template=self.v_template * _FLIP,
      shapedirs=self.shapedirs * _FLIP[:, None],
      posedirs=posedirs,
      joints_template=self.joints_template * _FLIP,
      joints_shapedirs=self.joints_shapedirs * _FLIP[:, None],
      faces=self.faces[:, ::-1],
      hands_mean=self.hands_mean * flip_axes,
      hands_components=self.hands_components * flip_axes,
    )
