"""Errors of joints and vertices: MPJPE, MPVPE, PCK and its area, MRRPE, 2D end point error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import AVERAGES, GROUPS, Metric, Protocol, Quantity, mean_per_joint
from jaxhands.geometry import lift
from jaxhands.geometry.arrays import Array
from jaxhands.hands import bones, skeleton
from jaxhands.hands.model import HandModel

EPE2D = "epe2d"
AUC_THRESHOLDS_MM = np.linspace(0, 50, 200)  # Intershape's
_MIDDLE1 = skeleton.MCPS[2]
_ROOT_JOINT = {"wrist": skeleton.WRIST, "middle1": _MIDDLE1}


def mpjpe(protocol: Protocol) -> Metric:
  """Mean per joint position error in mm."""
  return Metric("mpjpe", "mm", joint_error(protocol), AVERAGES[protocol.average], GROUPS, baseline=True)


def pck(protocol: Protocol, threshold_mm: float) -> Metric:
  """Share of joints within a distance (inclusive) of the truth, of each joint, then mean over the joints."""
  quantity = _of_joint_error(protocol, f"within_{threshold_mm:g}", lambda error: error <= threshold_mm)
  return Metric(f"pck_{threshold_mm:g}", "share", quantity, mean_per_joint, GROUPS, baseline=True, better="higher")


def pck_auc(protocol: Protocol) -> Metric:
  """Area under the curve of correct joints from 0 to 50 mm, of each joint, then mean over the joints (Intershape's).

  The area by trapezoids over 200 thresholds is linear in the curve: each error contributes the area that it leaves.
  """
  steps = np.zeros_like(AUC_THRESHOLDS_MM)
  steps[:-1] += np.diff(AUC_THRESHOLDS_MM) / 2
  steps[1:] += np.diff(AUC_THRESHOLDS_MM) / 2
  area_beyond = np.append(np.cumsum(steps[::-1])[::-1], 0) / np.ptp(AUC_THRESHOLDS_MM)  # by first threshold reached

  def area(error: Any) -> Any:
    return jnp.asarray(area_beyond, jnp.float32)[jnp.searchsorted(jnp.asarray(AUC_THRESHOLDS_MM, jnp.float32), error)]

  quantity = _of_joint_error(protocol, "area", area)
  return Metric("pck_auc", "0..1", quantity, mean_per_joint, GROUPS, baseline=True, better="higher")


def mpvpe(protocol: Protocol, model: HandModel) -> Metric:
  """Mean per vertex position error in mm, moved and scaled as the joints are, over hands with true parameters."""
  return Metric("mpvpe", "mm", vertex_error(protocol, model), AVERAGES["pooled"], GROUPS, optional=True, baseline=True)


def mrrpe(protocol: Protocol) -> Metric:
  """Mean relative-root position error in mm: left wrist from right wrist, in interacting pictures."""
  return Metric("mrrpe", "mm", root_error(protocol), AVERAGES["pooled"])


def placement(protocol: Protocol) -> Metric:
  """Mean relative placement error in mm: the left hand's root from the right one's, in interacting pictures.

  With scale="gt", the predicted offset is multiplied by the right hand's true length from wrist to middle1 over its
  predicted one, the unit of Intershape's equation 2. MRRPE has wrists and no scale.
  """
  return Metric("placement", "mm", placement_error(protocol), AVERAGES["pooled"])


def placed(protocol: Protocol) -> Metric:
  """Share of annotated hands whose depth could be found; the other ones count in no metric of camera joints."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    lifted = _lift(protocol, prediction, batch, _left_root(protocol))
    return _masked(lifted.valid.astype(jnp.float32), batch["joints_cam_valid"].any(-1))

  quantity = Quantity("placed", fn, frozenset({"joints_cam_valid"}) | lift.NEEDS[protocol.depth], _predicts(protocol))
  return Metric("placed", "share", quantity, AVERAGES["pooled"], ("all", "single", "interacting"), better="higher")


def epe2d(protocol: Protocol) -> Metric:
  """Mean 2D end point error in pixels of the original picture."""
  needs = frozenset({"joints_img", "joints_img_valid"})
  quantity = Quantity("pixel_error", _pixel_error, needs, frozenset({"joints_img"}))
  return Metric(EPE2D, "px", quantity, AVERAGES[protocol.average])


def bone_asymmetry(protocol: Protocol) -> Metric:
  """Mean difference in length between the same bone of right and left hand in mm, in pictures of two hands (DIGIT).

  It is about predictions alone: no truth is read but that there are two hands.
  """

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    lifted = _lift(protocol, prediction, batch, protocol.left_root)
    difference = bones.asymmetry(lifted.joints_cam)
    both = (batch["hand_present"] & lifted.valid).all(-1, keepdims=True)
    return _masked(difference, jnp.broadcast_to(both, difference.shape))

  needs = frozenset({"hand_present"}) | lift.NEEDS[protocol.depth]
  quantity = Quantity("bone_asymmetry", fn, needs, _predicts(protocol))
  return Metric("bone_asymmetry", "mm", quantity, AVERAGES["pooled"])


def hidden(visible: Bool[Array, "b 2 21"]) -> Bool[Array, "b 2 21"]:
  """Joints that are not visible, of pictures whose joints' visibility is known: where some joint is visible."""
  return ~visible & visible.any((1, 2), keepdims=True)


def joint_error(protocol: Protocol) -> Quantity:
  """Distance of each joint from the truth, [B, 2, 21] in mm, as `protocol` compares them."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    lifted = _lift(protocol, prediction, batch, _left_root(protocol))
    truth, valid = batch["joints_cam"], batch["joints_cam_valid"]
    scale, scalable = _scale(protocol, lifted.joints_cam, truth, valid)
    root, true_root, rooted = _roots(protocol, lifted, truth, valid)
    error = _distance(scale[..., None, None] * (lifted.joints_cam - root), truth - true_root)
    counted = valid & lifted.valid[..., None] & (rooted & scalable)[..., None]
    if protocol.joints != "annotated":
      visible = batch["joints_visible"]
      counted &= visible if protocol.joints == "visible" else hidden(visible)
    if not protocol.count_root and protocol.root in _ROOT_JOINT:
      counted &= np.arange(skeleton.NUM_JOINTS) != _ROOT_JOINT[protocol.root]
    return _masked(error, counted)

  needs = {"joints_cam", "joints_cam_valid"} | lift.NEEDS[protocol.depth]
  needs |= set() if protocol.joints == "annotated" else {"joints_visible"}
  return Quantity("joint_error", fn, frozenset(needs), _predicts(protocol))


def vertex_error(protocol: Protocol, model: HandModel) -> Quantity:
  """Distance of each vertex from the truth, averaged over a hand's vertices, [B, 2] in mm."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    posed = model.forward_mano(batch["mano"])
    valid = batch["joints_cam_valid"] & batch["mano_valid"][..., None]
    lifted = _lift(protocol, prediction, batch, _left_root(protocol))
    # The truth's own joints: annotated ones are not exactly those of the fitted model.
    scale, scalable = _scale(protocol, lifted.joints_cam, posed.keypoints, valid)
    root, true_root, rooted = _roots(protocol, lifted, posed.keypoints, valid)
    moved = scale[..., None, None] * (lift.move_meshes(prediction, lifted)["vertices_cam"] - root)
    error = _distance(moved, posed.vertices - true_root).mean(-1)
    return _masked(error, batch["mano_valid"] & lifted.valid & rooted & scalable)

  needs = frozenset({"mano", "mano_valid", "joints_cam_valid"}) | lift.NEEDS[protocol.depth]
  return Quantity("vertex_error", fn, needs, frozenset({"vertices_cam", "joints_cam"}) | _predicts(protocol))


def root_error(protocol: Protocol) -> Quantity:
  """Error of the vector from the right to the left wrist, [B] in mm."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    lifted = _lift(protocol, prediction, batch, protocol.left_root)
    wrists, true_wrists = lifted.joints_cam[..., skeleton.WRIST, :], batch["joints_cam"][..., skeleton.WRIST, :]
    error = _distance(wrists[:, 1] - wrists[:, 0], true_wrists[:, 1] - true_wrists[:, 0])
    both = batch["hand_present"] & batch["joints_cam_valid"][..., skeleton.WRIST] & lifted.valid
    return _masked(error, both.all(-1))

  needs = {"joints_cam", "joints_cam_valid", "hand_present"} | lift.NEEDS[protocol.depth]
  return Quantity("root_error", fn, frozenset(needs), _predicts(protocol))


def placement_error(protocol: Protocol) -> Quantity:
  """Error of the vector from the right to the left hand's root, [B] in mm, at the scale of `protocol`."""
  joint = _ROOT_JOINT.get(protocol.root, skeleton.WRIST)

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    lifted = _lift(protocol, prediction, batch, protocol.left_root)
    truth, valid = batch["joints_cam"], batch["joints_cam_valid"]
    scale, scalable = _scale(protocol, lifted.joints_cam, truth, valid)
    roots, true_roots = lifted.joints_cam[..., joint, :], truth[..., joint, :]
    offset, true_offset = (points[:, schema.LEFT] - points[:, schema.RIGHT] for points in (roots, true_roots))
    error = _distance(scale[:, schema.RIGHT, None] * offset, true_offset)
    both = (batch["hand_present"] & valid[..., joint] & lifted.valid).all(-1)
    return _masked(error, both & scalable[:, schema.RIGHT])

  needs = {"joints_cam", "joints_cam_valid", "hand_present"} | lift.NEEDS[protocol.depth]
  return Quantity("placement_error", fn, frozenset(needs), _predicts(protocol))


def _of_joint_error(protocol: Protocol, name: str, fn: Callable[[Any], Any]) -> Quantity:
  errors = joint_error(protocol)

  def of_error(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    error, weight = errors.fn(prediction, batch)
    return fn(error).astype(jnp.float32), weight

  return Quantity(name, of_error, errors.needs, errors.predicts)


def _pixel_error(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  return _masked(_distance(prediction["joints_img"], batch["joints_img"]), batch["joints_img_valid"])


def _left_root(protocol: Protocol) -> lift.LeftRoot:
  """As the protocol says; but "relative", which is InterNet's release, is for hands that share a frame alone."""
  return "own" if protocol.root in _ROOT_JOINT and protocol.left_root == "relative" else protocol.left_root


def _lift(
  protocol: Protocol, prediction: schema.Prediction, batch: schema.Batch, left_root: lift.LeftRoot
) -> lift.Lifted:
  return lift.lift(prediction, batch, protocol.depth, left_root, bones.mean_bones())


def _predicts(protocol: Protocol) -> frozenset[str]:
  """What `lift` reads; camera joints as they are need no pose in the picture."""
  return frozenset({"joints_cam"}) if protocol.depth == "predicted" else schema.POSE


def _scale(
  protocol: Protocol, predicted: Any, truth: Any, valid: Any
) -> tuple[Float[Array, "b 2"], Bool[Array, "b 2"]]:
  """Factor of each predicted hand, and whether it is known."""
  if protocol.scale == "predicted":
    return jnp.ones(truth.shape[:2]), jnp.ones(truth.shape[:2], bool)
  length, true_length = (_distance(x[..., _MIDDLE1, :], x[..., skeleton.WRIST, :]) for x in (predicted, truth))
  known = valid[..., _MIDDLE1] & valid[..., skeleton.WRIST]
  scalable = known & (length > 0)  # a hand in one point, as of a system that could not place it, is as wrong as it is
  return jnp.where(scalable, true_length / jnp.where(scalable, length, 1), 1), known


def _roots(
  protocol: Protocol, lifted: lift.Lifted, truth: Any, valid: Any
) -> tuple[Float[Array, "b _ _ 3"], Float[Array, "b _ _ 3"], Bool[Array, "b 2"]]:
  """Points that predicted and true joints are relative to, and for which hands both are known."""
  if protocol.root == "none":
    zero = jnp.zeros((truth.shape[0], 1, 1, 3))
    return zero, zero, jnp.ones(truth.shape[:2], bool)
  if protocol.root == "right_wrist":
    joint, hands = skeleton.WRIST, slice(schema.RIGHT, schema.RIGHT + 1)
  else:
    joint, hands = _ROOT_JOINT[protocol.root], slice(None)
  root, true_root = (x[:, hands, joint : joint + 1] for x in (lifted.joints_cam, truth))
  known = valid[:, hands, joint] & lifted.valid[:, hands]
  return root, true_root, jnp.broadcast_to(known, truth.shape[:2])


def _distance(a: Any, b: Any) -> Any:
  return jnp.sqrt(((a - b) ** 2).sum(-1))


def _masked(error: Any, counted: Any) -> tuple[Any, Any]:
  """What does not count is 0, so that garbage there cannot turn a sum into NaN."""
  return jnp.where(counted, error, 0), counted.astype(jnp.float32)
