"""Hand-model parameters from joints: in space, in a picture of a known camera, or both; Levenberg-Marquardt, batched.

    fitted = fit(HandModel.default(), joints_cam, joints_cam_valid)     # [N, 2, 21, 3] mm, [N, 2, 21]
    fitted.mano[0, 1], fitted.residual_mm[0, 1]                         # the left hand of the first picture

Each hand is found on its own. Unknown are the global rotation (its change, so that no direction is special), 15
rotation vectors, 10 shape coefficients and the translation; minimised is

    sum_joints w rho(|x - x'|^2 / joint_mm^2) + sum_joints w rho(|u - u'|^2 / joint_px^2) + prior

with rho Geman and McClure's s / (1 + s / c^2), whose c shrinks in the first iterations, and a normal prior over fingers
(`hands.prior`) and shape. The prior decides what joints do not say: how bones are twisted, how thick fingers are.

Pictures of one person, as those of a clip, may have one shape for each hand (`one_shape`). What a picture says of it,
each shape with the pose that goes with it, is a quadratic form; the sum of all and one prior are least for one shape,
with which all are fitted again, and once more from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.geometry import camera
from jaxhands.hands.descent import VIEWS, How, Seen, Solution, solved
from jaxhands.hands.model import HandModel
from jaxhands.hands.prior import pose_prior

_CHUNKS = (8, 128)  # pictures that are computed together: two functions are compiled
LEAST_JOINTS_CAM, LEAST_JOINTS_IMG = 3, 6  # in space, in a picture
LEAST_CONFIDENCE = 1e-30  # less is none: its products with other numbers are 0
_LEAST_SPREAD_MM, _LEAST_SPREAD_PX = 5.0, 2.0
_STILL_MM = 0.1
_NOTHING = Solution(*(np.zeros((0, 2, *s), np.float32) for s in ((schema.MANO_DIM,), (21, 3), (), (10, 10), (10,))))
_SHAPE_ROUNDS = 2  # after the first, in which each picture has a shape of its own


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
  """Parameters of N pictures' hands; all finite, and 0 where `valid` is False.

  Attributes:
    hand_model: identity of the model that the parameters are of.
    mano: [N, 2, 61], the schema's layout, camera frame.
    joints_cam: [N, 2, 21, 3], mm, keypoints of the posed model.
    valid: [N, 2], joints determine the hand: three in space that are not in a line, or six in a picture.
    converged: [N, 2], one more step would move no keypoint by over 0.1 mm.
    error_mm, error_px: [N, 2, 21], distance of each keypoint from what was given; 0 where nothing was.
    residual_mm, residual_px: [N, 2], their means over the joints that were given; 0 without any.
  """

  hand_model: str
  mano: Float[np.ndarray, "n 2 61"]
  joints_cam: Float[np.ndarray, "n 2 21 3"]
  valid: Bool[np.ndarray, "n 2"]
  converged: Bool[np.ndarray, "n 2"]
  error_mm: Float[np.ndarray, "n 2 21"]
  error_px: Float[np.ndarray, "n 2 21"]
  residual_mm: Float[np.ndarray, "n 2"]
  residual_px: Float[np.ndarray, "n 2"]

  @classmethod
  def joined(cls, parts: Sequence[Fitted], order: Integer[np.ndarray, " n"] | None = None) -> Fitted:
    """Those of all pictures of several, one at least, of one hand model; in another order, as `argsort` gives it."""
    names = [field.name for field in dataclasses.fields(cls) if field.name != "hand_model"]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.arange(len(arrays["valid"])) if order is None else order
    return cls(parts[0].hand_model, **{name: array[order] for name, array in arrays.items()})


def fit(
  model: HandModel,
  joints_cam: Float[np.ndarray, " ..."] | None = None,
  joints_cam_valid: Bool[np.ndarray, " ..."] | None = None,
  joints_img: Float[np.ndarray, " ..."] | None = None,
  joints_img_valid: Bool[np.ndarray, " ..."] | None = None,
  camera_img: Float[np.ndarray, " ..."] | None = None,
  confidence: Float[np.ndarray, " ..."] | None = None,
  how: How | None = None,
  one_shape: bool = False,
) -> Fitted:
  """Fits both hands of N pictures, right hands first; see the module.

  Without joints in space the distance follows from the size of hands, which the prior takes to be an average one's, and
  eight views of the hand are tried; of two poses that look alike in the picture it may be the wrong one.

  Args:
    model: whose parameters are looked for.
    joints_cam: [N, 2, 21, 3], mm, camera frame.
    joints_cam_valid: [N, 2, 21], which of them are known; None = all.
    joints_img: [N, 2, 21, 2], pixels.
    joints_img_valid: [N, 2, 21], which of them are known; None = all.
    camera_img: [N, 3, 3], intrinsics; needed with `joints_img`.
    confidence: [N, 2, 21], weights of the joints, 0..1, less than 1e-30 as 0; None = 1.
    how: see `How`.
    one_shape: all pictures show one person: each hand has the same shape in all of them.
  Raises:
    ValueError: nothing is given, arrays of other shapes, pixels without camera, or a valid joint that is not finite.
  """
  how = how or How()
  seen, given_cam, given_img = _checked(
    joints_cam, joints_cam_valid, joints_img, joints_img_valid, camera_img, confidence
  )
  by_space, by_picture = _determined(seen)
  seen = seen._replace(in_space=by_space)
  valid = by_space | by_picture
  starts = 1 if not (valid & ~by_space).any() else VIEWS
  tips, prior = model.tips_only(), pose_prior(model)

  def all_solved(seen: Seen) -> Solution:
    parts = [_NOTHING]
    for rows, chunk in _chunks(seen):
      part = solved(tips, prior, chunk, how.beliefs, how.iterations, starts)
      parts.append(Solution(*(np.asarray(array)[: len(rows)] for array in part)))
    return Solution(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

  found = all_solved(seen)
  for _ in range(_SHAPE_ROUNDS if one_shape else 0):
    shape = _common_shape(found, valid & _finite(found) & _shape_told(found), how.shape)
    seen = seen._replace(shape=np.broadcast_to(shape, seen.shape.shape), shape_known=np.ones_like(seen.shape_known))
    found = all_solved(seen)
  valid = valid & _finite(found)
  mano, keypoints, moves = found[:3]
  keypoints = np.where(valid[..., None, None], keypoints, 0)
  error_mm = np.where(given_cam & valid[..., None], np.linalg.norm(keypoints - seen.joints_cam, axis=-1), 0)
  ahead = np.where(valid[..., None, None], keypoints, np.array([0, 0, 1], np.float32))
  shown = np.asarray(camera.project(ahead, seen.camera_img[:, None]))
  error_px = np.where(given_img & valid[..., None], np.linalg.norm(shown - seen.joints_img, axis=-1), 0)
  return Fitted(
    hand_model=model.identity,
    mano=np.where(valid[..., None], mano, 0).astype(np.float32),
    joints_cam=keypoints.astype(np.float32),
    valid=valid,
    converged=valid & (moves < _STILL_MM),
    error_mm=error_mm.astype(np.float32),
    error_px=error_px.astype(np.float32),
    residual_mm=(error_mm.sum(-1) / np.maximum(given_cam.sum(-1), 1)).astype(np.float32),
    residual_px=(error_px.sum(-1) / np.maximum(given_img.sum(-1), 1)).astype(np.float32),
  )


def _finite(found: Solution) -> Bool[np.ndarray, "n 2"]:
  return np.isfinite(found.mano).all(-1) & np.isfinite(found.keypoints).all((-1, -2))


def _shape_told(found: Solution) -> Bool[np.ndarray, "n 2"]:
  return np.isfinite(found.shape_weight).all((-1, -2)) & np.isfinite(found.shape_pull).all(-1)


def _common_shape(found: Solution, counted: np.ndarray, prior_weight: float) -> Float[np.ndarray, "2 10"]:
  """The shape of each hand that is best for all pictures that count [N, 2], with one prior."""
  weight = np.where(counted[..., None, None], found.shape_weight, 0).astype(np.float64).sum(0)
  pull = np.where(counted[..., None], found.shape_pull, 0).astype(np.float64).sum(0)
  return np.linalg.solve(weight + prior_weight * np.eye(10), pull[..., None])[..., 0].astype(np.float32)


# ---- what is given ----------------------------------------------------------------


def _checked(
  joints_cam: Any, joints_cam_valid: Any, joints_img: Any, joints_img_valid: Any, camera_img: Any, confidence: Any
) -> tuple[Seen, np.ndarray, np.ndarray]:
  """All as float32, with 0 and no weight where nothing is known; and which joints are given in space and picture."""
  if joints_cam is None and joints_img is None:
    raise ValueError("there are no joints: give joints_cam, or joints_img with camera_img")
  if joints_img is not None and camera_img is None:
    raise ValueError("joints_img needs camera_img: without a camera, pixels say nothing of millimetres")
  given: Any = joints_img if joints_cam is None else joints_cam
  count = len(given)
  hands = (count, 2, schema.NUM_JOINTS)
  weight = np.ones(hands, np.float32) if confidence is None else _array("confidence", confidence, hands)
  if not (np.isfinite(weight).all() and (weight >= 0).all()):
    raise ValueError("confidence must be finite and not negative")
  weight = np.where(weight < LEAST_CONFIDENCE, 0, weight)
  cam, given_cam = _joints("joints_cam", joints_cam, joints_cam_valid, (*hands, 3))
  img, given_img = _joints("joints_img", joints_img, joints_img_valid, (*hands, 2))
  cameras = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
  if camera_img is not None:
    used = np.asarray(given_img.any((1, 2)))
    cameras = np.where(used[:, None, None], _array("camera_img", camera_img, cameras.shape), cameras)
    broken = np.flatnonzero(~np.isfinite(cameras).all((1, 2)) | (cameras[:, [0, 1], [0, 1]] <= 0).any(1))
    if len(broken):
      found = cameras[broken[0]].tolist()
      raise ValueError(f"camera_img[{broken[0]}] is {found}; focal lengths must be positive, in pixels")
  shape, shape_known = np.zeros((*hands[:2], 10), np.float32), np.zeros(hands[:2], np.float32)
  seen = Seen(cam, weight * given_cam, img, weight * given_img, cameras, np.zeros(hands[:2], bool), shape, shape_known)
  return seen, given_cam, given_img


def _joints(name: str, joints: Any, valid: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
  if joints is None:
    return np.zeros(shape, np.float32), np.zeros(shape[:-1], bool)
  joints = _array(name, joints, shape)
  given = np.ones(shape[:-1], bool) if valid is None else _array(f"{name}_valid", valid, shape[:-1]) > 0
  broken = np.argwhere(given & ~np.isfinite(joints).all(-1))
  if len(broken):
    raise ValueError(f"{name}{broken[0].tolist()} is valid but not finite: {joints[tuple(broken[0])].tolist()}")
  return np.where(given[..., None], joints, 0).astype(np.float32), given


def _array(name: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
  found = np.asarray(array, np.float32)
  if found.shape != shape:
    raise ValueError(f"{name} has shape {found.shape}, expected {shape}")
  return found


def _determined(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
  """Whether joints in space, or in the picture, say where a hand is and how it is turned; [n, 2] each."""
  by_space = _spread(seen.joints_cam, seen.weight_cam > 0, LEAST_JOINTS_CAM) > _LEAST_SPREAD_MM
  by_picture = _spread(seen.joints_img, seen.weight_img > 0, LEAST_JOINTS_IMG) > _LEAST_SPREAD_PX
  return by_space, by_picture


def _spread(points: np.ndarray, known: np.ndarray, least: int) -> np.ndarray:
  """The second singular value of known points around their mean; 0 of fewer than `least`."""
  count = np.maximum(known.sum(-1), 1)[..., None, None]
  centred = np.where(known[..., None], points - (points * known[..., None]).sum(-2, keepdims=True) / count, 0)
  values = np.linalg.eigvalsh(np.einsum("...ia,...ib->...ab", centred.astype(np.float64), centred))
  return np.where(known.sum(-1) >= least, np.sqrt(np.maximum(values[..., -2], 0)), 0)


def _chunks(seen: Seen) -> Iterator[tuple[np.ndarray, Seen]]:
  """Rows of the pictures, and groups of one of a few sizes, filled up with copies of the last picture."""
  count = len(seen.in_space)
  size = next((chunk for chunk in _CHUNKS if count <= chunk), _CHUNKS[-1])
  for first in range(0, count, size):
    rows = np.arange(first, first + size)
    yield rows[rows < count], Seen(*(array[np.minimum(rows, count - 1)] for array in seen))
