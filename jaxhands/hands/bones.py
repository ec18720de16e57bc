"""How long bones are taken to be where nothing in a picture says it."""

from __future__ import annotations

import functools

import numpy as np

from jaxhands import schema
from jaxhands.geometry.lift import Bones
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel


@functools.cache
def mean_bones() -> Bones:
  """Bones of the embedded hand model's mean shape, mm; its two hands are mirror images."""
  joints = HandModel.default().forward_mano(np.zeros(schema.MANO_DIM, np.float32), schema.RIGHT).keypoints
  ends = np.asarray(joints)[skeleton.BONES]
  return Bones(skeleton.BONES, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1))
