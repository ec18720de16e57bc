"""The hands of one video from frame to frame: right stays right, and they are calm if asked for."""

from __future__ import annotations

import dataclasses

from jaxhands.photo.identity import Identity
from jaxhands.photo.smooth import OneEuro
from jaxhands.predict import Hands


class Follow:
  """Identity and smoothing of one video's hands; called with each frame's in order."""

  def __init__(self, fps: float, smooth: bool):
    self._identity, self._smooth = Identity(), smooth
    self._filters = [(OneEuro(fps), OneEuro(fps)) for _ in range(2)]

  def __call__(self, hands: Hands) -> tuple[Hands, bool]:
    """The frame's hands (N = 1) as they go on, and whether right and left were exchanged for that."""
    exchanged = self._identity.exchanged(hands.joints_img[0], hands.hand_prob[0], hands.present[0])
    hands = hands.exchanged() if exchanged else hands
    if self._smooth:
      joints_img, joints_cam = hands.joints_img.copy(), hands.joints_cam.copy()
      for hand, (img, cam) in enumerate(self._filters):
        for filter_, values, there in (
          (img, joints_img, hands.present), (cam, joints_cam, hands.joints_cam_valid),
        ):  # fmt: skip
          if there[0, hand]:
            values[0, hand] = filter_(values[0, hand])
          else:
            filter_.reset()
      hands = dataclasses.replace(hands, joints_img=joints_img, joints_cam=joints_cam)
    return hands, exchanged
