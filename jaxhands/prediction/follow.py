"""The hands of one video from frame to frame: right stays right, and they are calm if asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST
from jaxhands.prediction.hands import Hands, reprojection_px
from jaxhands.prediction.identity import Identity
from jaxhands.prediction.smooth import OneEuro

_LEVER_MM = 100.0  # how far a turn moves what is turned: one filter is for lengths and rotations


class Follow:
  """Identity and smoothing of one video's hands; called with those of the next frames, one or more, in order."""

  def __init__(self, fps: float, smooth: bool, hand_model: HandModel | None = None):
    """Begins a video.

    Args:
      fps: of the frames that are used.
      smooth: whether the hands are calmed.
      hand_model: of their meshes, which are calmed, too; None = they have none.
    """
    self._identity, self._smooth, self._model = Identity(), smooth, hand_model
    self._filters = [(OneEuro(fps), OneEuro(fps)) for _ in range(2)]
    self._meshes = [OneEuro(fps) for _ in range(2)]

  def __call__(self, hands: Hands) -> tuple[Hands, Bool[np.ndarray, " n"]]:
    """The hands of the next N frames as they go on, and in which of them right and left were exchanged for that."""
    exchanged = np.array(list(map(self._identity.exchanged, hands.joints_img, hands.hand_prob, hands.present)), bool)
    hands = hands.exchanged(exchanged)
    return self._calm(hands) if self._smooth else hands, exchanged

  def _calm(self, hands: Hands) -> Hands:
    joints_img, joints_cam = hands.joints_img.copy(), hands.joints_cam.copy()
    for row in range(len(hands)):
      for hand, (img, cam) in enumerate(self._filters):
        for filter_, values, there in (
          (img, joints_img, hands.present), (cam, joints_cam, hands.joints_cam_valid),
        ):  # fmt: skip
          if there[row, hand]:
            values[row, hand] = filter_(values[row, hand])
          else:
            filter_.reset()
    raw = {**hands.raw, **self._calm_meshes(hands)}
    # What lies around the wrist goes with it; 0 of hands that are not placed.
    moved = (joints_cam - hands.joints_cam)[:, :, WRIST]
    if "root_cam" in raw:
      raw["root_cam"] = raw["root_cam"] + moved
    if "samples" in raw:
      raw["samples"] = raw["samples"] + moved[:, None, :, None]
    error = reprojection_px(joints_img, joints_cam, hands.joints_cam_valid, hands.camera_img)
    return dataclasses.replace(hands, joints_img=joints_img, joints_cam=joints_cam, reprojection_px=error, raw=raw)

  def _calm_meshes(self, hands: Hands) -> dict[str, np.ndarray]:
    """`mano` and `vertices_cam` calmed: rotations by their first two columns, which change without jumps."""
    if self._model is None or "mano" not in hands.raw:
      return {}
    mano, vertices, meshed = hands.raw["mano"].copy(), hands.raw["vertices_cam"].copy(), hands.meshed
    for row in range(len(hands)):
      for hand, filter_ in enumerate(self._meshes):
        if not meshed[row, hand]:
          filter_.reset()
          continue
        own = mano[row, hand]
        turns = rotations.matrix_from_axis_angle(own[schema.MANO_POSE].reshape(-1, 3))
        columns = rotations.rotation_6d_from_matrix(turns)
        calm = filter_(np.concatenate([_LEVER_MM * columns.ravel(), own[schema.MANO_SHAPE.start :]]))
        turns = rotations.matrix_from_6d(calm[: columns.size].reshape(columns.shape) / _LEVER_MM)
        own[schema.MANO_POSE] = rotations.axis_angle_from_matrix(turns).ravel()
        own[schema.MANO_SHAPE.start :] = calm[columns.size :]
        vertices[row, hand] = self._model.forward_mano(own, hand).vertices
    return {"mano": mano, "vertices_cam": vertices}
