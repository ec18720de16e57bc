"""Gaussian proxies: a hand as 57 spheres that move with its joints (Mueller et al. 2019; HandFlow, section 4).

Three spheres lie along each of the 15 bones of the fingers, four along each of three lines from the wrist to the base
of index, middle and little finger. A Gaussian's deviation is half the mean distance of the skin to its bone at rest, so
that two deviations reach the skin: spheres of one deviation tell collisions, those of two what hides what.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.geometry.arrays import Array, einsum, namespace
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel

_ON_FINGER, _ON_PALM = (1 / 6, 1 / 2, 5 / 6), (1 / 8, 3 / 8, 5 / 8, 7 / 8)
_PALM_ENDS = tuple(skeleton.MCPS[finger] for finger in (1, 2, 4))  # index, middle, little
_FINGER_BONES = [(int(joint), int(parent)) for joint, parent in skeleton.BONES if parent != skeleton.WRIST]
_BONES = np.array(_FINGER_BONES + [(joint, skeleton.WRIST) for joint in _PALM_ENDS])
_OF_BONE = np.repeat(np.arange(len(_BONES)), [len(_ON_FINGER)] * len(_FINGER_BONES) + [len(_ON_PALM)] * 3)
_SHARE = np.array([*_ON_FINGER] * len(_FINGER_BONES) + [*_ON_PALM] * 3, np.float32)  # of the way to the outer joint
COUNT = len(_SHARE)


def _bone_of_joint() -> np.ndarray:
  """Of each of MANO's joints the finger's bone that it turns; of the wrist the palm, which comes after them."""
  found = np.full(len(skeleton.MANO_PARENTS), len(_FINGER_BONES))
  for bone, (_, inner) in enumerate(_FINGER_BONES):
    found[skeleton.INTERHAND_FROM_MANO21[inner]] = bone
  return found


_BONE_OF_JOINT = _bone_of_joint()
SKIN = 2.0  # deviations from a proxy's centre to the skin


def centres(keypoints: Float[Array, "*b 2 21 3"]) -> Float[Array, "*b 2 57 3"]:
  """Where the proxies of posed hands are, in the keypoints' unit and frame."""
  outer, inner = (keypoints[..., _BONES[_OF_BONE, end], :] for end in (0, 1))
  return inner + _SHARE[:, None] * (outer - inner)


def deviations_mm(model: HandModel, shape: Float[np.ndarray, "2 10"]) -> Float[np.ndarray, "2 57"]:
  """Deviations of the proxies of both hands of a shape, by their skin at rest (NumPy)."""
  rest = model.forward(np.zeros((2, 16, 3), np.float32), np.asarray(shape), np.zeros((2, 3), np.float32))
  found = np.zeros((2, COUNT))
  for hand in range(2):
    vertices, keypoints = np.asarray(rest.vertices[hand]), np.asarray(rest.keypoints[hand])
    distance = np.stack([_to_bone(vertices, *keypoints[bone]) for bone in _BONES])
    owner = _BONE_OF_JOINT[np.asarray(model.weights[hand]).argmax(1)]
    of_bones = [distance[bone, owner == bone].mean() for bone in range(len(_FINGER_BONES))]
    palm = distance[len(_FINGER_BONES) :, owner == len(_FINGER_BONES)].min(0).mean()
    found[hand] = np.array([*of_bones, palm, palm, palm])[_OF_BONE] / SKIN
  return found.astype(np.float32)


def overlap_mm(centres_mm: Float[Array, "*b 2 57 3"], deviations: Float[Array, "2 57"]) -> Float[Array, "*b 57 57"]:
  """By how much the one-deviation spheres of the right hand go into those of the left; negative where apart."""
  xp = namespace(centres_mm, deviations)
  right, left = centres_mm[..., schema.RIGHT, :, :], centres_mm[..., schema.LEFT, :, :]
  # As products, which keep what is near apart: hands lie near their own middle.
  middle = (right.mean(-2, keepdims=True) + left.mean(-2, keepdims=True)) / 2
  right, left = right - middle, left - middle
  squares = (right * right).sum(-1)[..., :, None] + (left * left).sum(-1)[..., None, :]
  squares = squares - 2 * einsum("...ic,...jc->...ij", right, left)
  reach = deviations[schema.RIGHT][:, None] + deviations[schema.LEFT][None]
  return reach - xp.sqrt(xp.maximum(squares, 0))


def hidden(
  points_cam: Float[Array, "*b n 3"],
  centres_cam: Float[Array, "*b 2 57 3"],
  deviations: Float[Array, "2 57"],
  within_mm: float,
) -> Bool[Array, "*b n"]:
  """Which points the hands hide from the camera at the origin: a proxy's skin lies more than so much in front.

  Args:
    points_cam: such as joints; their own proxies count as well, as the skin above them does in a z-buffer.
    centres_cam: proxies of both hands, camera frame.
    deviations: of them, mm.
    within_mm: depth of a point below the first surface at which it still counts as seen.
  """
  xp = namespace(points_cam, centres_cam)
  rays = points_cam / xp.maximum(xp.sqrt((points_cam * points_cam).sum(-1, keepdims=True)), 1e-6)
  spheres = centres_cam.reshape(centres_cam.shape[:-3] + (2 * COUNT, 3))
  radius = SKIN * deviations.reshape(-1)
  along = einsum("...nc,...sc->...ns", rays, spheres)
  away = (spheres * spheres).sum(-1)[..., None, :] - along * along
  inside = radius * radius - away
  entry = (along - xp.sqrt(xp.maximum(inside, 0))) * rays[..., 2:]  # depth at which the ray meets the sphere
  return xp.asarray(((inside > 0) & (entry > 0) & (entry < points_cam[..., 2:] - within_mm)).any(-1))


def _to_bone(points: np.ndarray, outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
  """Distance of points [n, 3] from a bone."""
  along = np.clip((points - inner) @ (outer - inner) / ((outer - inner) @ (outer - inner)), 0, 1)
  return np.linalg.norm(points - inner - along[:, None] * (outer - inner), axis=-1)
