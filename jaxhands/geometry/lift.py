"""From a prediction to joints in the camera frame: evaluator and predictor both go through here."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.geometry import camera, place
from jaxhands.geometry.arrays import Array, namespace

DepthSource = Literal["rootnet", "gt", "place", "normalised", "predicted"]
LeftRoot = Literal["own", "relative", "relative_if_seen"]
_WRIST = schema.NUM_JOINTS - 1
SEEN = 0.5  # probability from which on a hand counts as seen

# Batch keys that a source reads.
NEEDS: dict[str, frozenset[str]] = {
  "rootnet": frozenset({"root_depth_estimated", "root_depth_estimated_valid", "camera_img", "camera_valid"}),
  "gt": frozenset({"root_depth", "root_depth_valid", "camera_img", "camera_valid"}),
  "place": frozenset({"camera_img", "camera_valid"}),
  "normalised": frozenset({"picture_hw"}),
  "predicted": frozenset(),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Bones:
  """Pairs of joints [K, 2] and the lengths (mm) that a hand of unknown scale is assumed to have."""

  pairs: np.ndarray
  lengths_mm: np.ndarray


class Lifted(NamedTuple):
  """Joints [B, 2, 21, 3] (mm, camera frame; 0 where unknown) and whether each hand has them [B, 2]."""

  joints_cam: Any
  valid: Any


def normalised_camera(picture_hw: Integer[Array, "*b 2"]) -> Float[Array, "*b 3 3"]:
  """Intrinsics to assume of an unknown camera: focal length = the picture's diagonal, principal point in its middle.

  That is the "normal" lens of 43 mm on 35 mm film. The 24 to 28 mm of telephones are shorter: there, hands come out
  half as far again, or more.
  """
  xp = namespace(picture_hw)
  size = picture_hw.astype(np.float32)
  focal = xp.sqrt((size * size).sum(-1, keepdims=True)) * np.ones(2, np.float32)
  return camera.intrinsics(focal, (size[..., ::-1] - 1) / 2)


def any_camera(batch: schema.Batch) -> Float[Array, "b 3 3"]:
  """The camera of each example, or where it is not known a normal lens, mirrored as the scene is (`hands.mirror`).

  Args:
    batch: `camera_img`, `camera_valid`, `picture_hw`, and `crop_from_img`, which holds the mirror.
  """
  xp = namespace(batch["camera_img"])
  linear = batch["crop_from_img"][..., :2]
  mirrored = linear[..., 0, 0] * linear[..., 1, 1] < linear[..., 0, 1] * linear[..., 1, 0]
  sign = xp.where(mirrored[..., None], np.array([-1, 1, 1], np.float32), np.float32(1))
  assumed = normalised_camera(batch["picture_hw"]) * sign[..., None, :]
  return xp.where(batch["camera_valid"][..., None, None], batch["camera_img"], assumed)


def lift(
  prediction: schema.Prediction,
  batch: schema.Batch,
  depth_source: DepthSource,
  left_root: LeftRoot = "own",
  bones: Bones | None = None,
) -> Lifted:
  """Camera joints of a prediction.

  The wrist's depth comes from `depth_source`; every joint then lies on its pixel's ray at that depth plus its own
  relative depth, the wrist's included (InterNet's released behaviour).

  Args:
    prediction: of a system.
    batch: it was made from, of the same view.
    depth_source: "rootnet" and "gt" read `root_depth_estimated` and `root_depth`. "place" finds the depth from the
      hand's size: of `joints_cam` if the system predicts them, then only moved as a whole, else of `bones`. Both hands
      are moved as one body where `hands_together` says so and both are seen, with probability over 0.5.
      "normalised" is "place" under `normalised_camera`. "predicted" takes `joints_cam` as they are.
    left_root: the left wrist's depth is its "own", or "relative": the right one's plus `rel_root_depth`; or so only
      where the right hand is seen, with probability over 0.5 (InterNet's paper).
    bones: lengths to assume where "place" needs them.
  Raises:
    ValueError: a key, or `bones`, that the source needs is missing.
  """
  missing = sorted(NEEDS[depth_source] - set(batch))
  if missing:
    raise ValueError(f"depth_source={depth_source!r} needs {missing}, which the batch does not have")
  if depth_source == "predicted":
    if "joints_cam" not in prediction:
      raise ValueError("depth_source='predicted' needs a system that predicts joints_cam; take 'gt' or 'rootnet'")
    joints_cam = prediction["joints_cam"]
    return Lifted(joints_cam, namespace(joints_cam).ones(joints_cam.shape[:2], bool))
  if depth_source == "normalised":
    intrinsics = normalised_camera(batch["picture_hw"])[:, None]
    known = namespace(intrinsics).ones(intrinsics.shape[0], bool)
  else:
    intrinsics, known = batch["camera_img"][:, None], batch["camera_valid"]
  xp = namespace(prediction["joints_img"], intrinsics)
  # An unknown camera is stored as 0; any other keeps the arithmetic finite.
  intrinsics = xp.where(known[:, None, None, None], intrinsics, np.eye(3, dtype=np.float32))

  if depth_source in ("place", "normalised") and "joints_cam" in prediction:
    return _placed(prediction, intrinsics, known)
  depth, valid = _root_depths(prediction, batch, depth_source, intrinsics, bones)
  depth, valid = _with_left(prediction, depth, valid & known[:, None], left_root)
  depths = depth[..., None] + prediction["joints_rel_depth"]
  joints_cam = camera.back_project(prediction["joints_img"], depths, intrinsics)
  return Lifted(xp.where(valid[..., None, None], joints_cam, 0), valid)


def keep_shape(prediction: schema.Prediction, lifted: Lifted) -> Lifted:
  """The predicted `joints_cam`, each hand moved as a whole so that its wrist is where the lifted one is.

  What is lifted to a depth from elsewhere lies on its pixels there, and so gets another size than meshes, which
  `move_meshes` only moves. Where the system says how both hands lie to each other, the left one goes with the right.

  Args:
    prediction: with `joints_cam` and `hand_prob`; perhaps `hands_together`.
    lifted: of it.
  """
  joints_cam = prediction["joints_cam"]
  by = lifted.joints_cam[..., _WRIST:, :] - joints_cam[..., _WRIST:, :]
  xp = namespace(by)
  if "hands_together" in prediction:
    whole = prediction["hands_together"] & (lifted.valid & (prediction["hand_prob"] > SEEN)).all(-1)
    by = xp.where(whole[:, None, None, None], by[:, schema.RIGHT, None], by)
  return Lifted(xp.where(lifted.valid[..., None, None], joints_cam + by, 0), lifted.valid)


def move_meshes(prediction: schema.Prediction, lifted: Lifted) -> dict[str, Any]:
  """What lies around the wrists as it goes along with lifted ones; 0 of hands that could not be lifted.

  Args:
    prediction: with `joints_cam`.
    lifted: of it.
  Returns:
    Those of `vertices_cam`, `mano`, `samples` and `root_cam` that the prediction has.
  """
  joints_cam, valid = lifted.joints_cam, lifted.valid[..., None]
  xp = namespace(joints_cam)
  by = joints_cam[..., _WRIST, :] - prediction["joints_cam"][..., _WRIST, :]
  moved: dict[str, Any] = {}
  if "vertices_cam" in prediction:
    moved["vertices_cam"] = xp.where(valid[..., None], prediction["vertices_cam"] + by[..., None, :], 0)
  if "mano" in prediction:
    parameters, start = prediction["mano"], schema.MANO_TRANSLATION.start
    moved["mano"] = xp.where(valid, xp.concatenate([parameters[..., :start], parameters[..., start:] + by], -1), 0)
  if "samples" in prediction:
    moved["samples"] = xp.where(valid[:, None, :, None], prediction["samples"] + by[:, None, :, None, :], 0)
  if "root_cam" in prediction:
    moved["root_cam"] = xp.where(valid, prediction["root_cam"] + by, 0)
  return moved


def _placed(prediction: schema.Prediction, intrinsics: Any, known: Any) -> Lifted:
  joints_cam = prediction["joints_cam"]
  xp = namespace(joints_cam, intrinsics)
  joints_rel = joints_cam - joints_cam[..., _WRIST:, :]
  root, valid = place.place(joints_rel, prediction["joints_img"], intrinsics, prediction["confidence"])
  moved = joints_rel + root[..., None, :]
  if "hands_together" in prediction:
    body, placed = _placed_together(prediction, intrinsics)
    moved, valid = xp.where(placed[:, None, None, None], body, moved), xp.where(placed[:, None], True, valid)
  valid = valid & known[:, None]
  return Lifted(xp.where(valid[..., None, None], moved, 0), valid)


def _placed_together(prediction: schema.Prediction, intrinsics: Any) -> tuple[Any, Any]:
  """Both hands [B, 2, 21, 3], moved as one body onto their pixels; and where [B] both are seen and determine it."""
  joints_cam, sure = prediction["joints_cam"], prediction["confidence"]
  joints_rel = joints_cam - joints_cam[:, schema.RIGHT, None, _WRIST:, :]
  both_hands = [
    values.reshape(len(values), -1, *values.shape[3:]) for values in (joints_rel, prediction["joints_img"], sure)
  ]
  root, valid = place.place(both_hands[0], both_hands[1], intrinsics[:, 0], both_hands[2])
  seen = ((prediction["hand_prob"] > SEEN) & (sure > 0).any(-1)).all(-1)
  return joints_rel + root[:, None, None, :], valid & seen & prediction["hands_together"]


def _root_depths(
  prediction: schema.Prediction, batch: schema.Batch, depth_source: str, intrinsics: Any, bones: Bones | None
) -> tuple[Float[Array, "b 2"], Bool[Array, "b 2"]]:
  if depth_source == "rootnet":
    return batch["root_depth_estimated"], batch["root_depth_estimated_valid"]
  if depth_source == "gt":
    return batch["root_depth"], batch["root_depth_valid"]
  if bones is None:
    raise ValueError(f"depth_source={depth_source!r} needs joints_cam from the system, or lengths of bones")
  return place.root_depth_from_bones(
    prediction["joints_img"],
    prediction["joints_rel_depth"],
    intrinsics,
    bones.pairs,
    bones.lengths_mm.reshape(1, 1, -1),
    prediction["confidence"],
  )


def _with_left(
  prediction: schema.Prediction, depth: Any, valid: Any, left_root: LeftRoot
) -> tuple[Float[Array, "b 2"], Bool[Array, "b 2"]]:
  if left_root == "own":
    return depth, valid
  xp = namespace(depth, prediction["rel_root_depth"])
  right, left = schema.RIGHT, schema.LEFT
  relative, relative_valid = depth[:, right] + prediction["rel_root_depth"], valid[:, right]
  if left_root == "relative_if_seen":
    right_known = valid[:, right] & (prediction["hand_prob"][:, right] > SEEN)
    relative = xp.where(right_known, relative, depth[:, left])
    relative_valid = xp.where(right_known, True, valid[:, left])
  return xp.stack([depth[:, right], relative], axis=-1), xp.stack([valid[:, right], relative_valid], axis=-1)
