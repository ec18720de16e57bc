"""How long bones are: in a pose, and where nothing in a picture says it."""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry.arrays import Array, namespace
from jaxhands.geometry.lift import Bones
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel


@functools.cache
def mean_bones() -> Bones:
  """Bones of the embedded hand model's mean shape, mm; its two hands are mirror images."""
  joints = HandModel.default().forward_mano(np.zeros(schema.MANO_DIM, np.float32), schema.RIGHT).keypoints
  ends = np.asarray(joints)[skeleton.BONES]
  return Bones(skeleton.BONES, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1))


def lengths(joints: Float[Array, "*b 21 3"]) -> Float[Array, "*b 20"]:
  """Length of each of `skeleton.BONES`, in the joints' unit."""
  child, parent = skeleton.BONES.T
  vectors = joints[..., child, :] - joints[..., parent, :]
  return namespace(joints).sqrt((vectors * vectors).sum(-1))


def asymmetry(joints: Float[Array, "*b 2 21 3"]) -> Float[Array, "*b 20"]:
  """How much the same bone of right and left hand differ in length (DIGIT, 3.2)."""
  found = lengths(joints)
  return abs(found[..., schema.RIGHT, :] - found[..., schema.LEFT, :])
