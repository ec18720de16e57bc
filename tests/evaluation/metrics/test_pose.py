"""Pose metrics against plain loops, their invariances, and values that must not count."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from jaxhands.evaluation.metrics import base, pose
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.hands import mirror, skeleton
from jaxhands.hands.model import HandModel
from tests.evaluation.metrics import scenes

PREDICTED = Protocol(depth="predicted")


def measure(metric, prediction, batch):
  value, weight = jax.jit(metric.quantity.fn)(prediction, batch)
  return np.asarray(value), np.asarray(weight)


def number(metric, prediction, batch, group="all"):
  value, weight = measure(metric, prediction, batch)
  mask = np.asarray(base.groups(batch)[group])
  return metric.reduce(value, weight * mask.reshape((-1,) + (1,) * (weight.ndim - 1)))


def errors_by_loop(prediction, batch, root=20, scaled=False):
  """{(example, hand, joint): error} with NumPy alone."""
  errors = {}
  for b, h in itertools.product(range(len(batch["joints_cam"])), (0, 1)):
    p, t, valid = prediction["joints_cam"][b, h], batch["joints_cam"][b, h], batch["joints_cam_valid"][b, h]
    if not valid[root] or (scaled and not (valid[11] and valid[20])):
      continue
    factor = np.linalg.norm(t[11] - t[20]) / np.linalg.norm(p[11] - p[20]) if scaled else 1.0
    for j in np.flatnonzero(valid):
      errors[b, h, j] = np.linalg.norm(factor * (p[j] - p[root]) - (t[j] - t[root]))
  return errors


@pytest.mark.parametrize("root", ["wrist", "middle1"])
@pytest.mark.parametrize("scale", ["predicted", "gt"])
@pytest.mark.parametrize("average", ["per_joint", "pooled"])
def test_mpjpe_is_the_plain_loop(root, scale, average):
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  protocol = Protocol(depth="predicted", root=root, scale=scale, average=average)
  errors = errors_by_loop(prediction, batch, {"wrist": 20, "middle1": 11}[root], scale == "gt")
  for group, members in (("all", range(8)), ("single", (1, 2, 5, 6)), ("interacting", (0, 3, 4, 7))):
    chosen = {key: value for key, value in errors.items() if key[0] in members}
    per_joint = [
      np.mean([value for (_, h, j), value in chosen.items() if (h, j) == place])
      for place in sorted({key[1:] for key in chosen})
    ]
    expected = np.mean(per_joint) if average == "per_joint" else np.mean(list(chosen.values()))
    assert number(pose.mpjpe(protocol), prediction, batch, group) == pytest.approx(expected, rel=1e-5)


def test_the_root_may_be_left_out():
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  with_root, without = (
    number(pose.mpjpe(Protocol(depth="predicted", count_root=c)), prediction, batch) for c in (True, False)
  )
  assert without == pytest.approx(with_root * 42 / 40, rel=1e-5)


def test_visible_and_occluded_joints_add_up():
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  weights = [
    measure(pose.mpjpe(Protocol(depth="predicted", joints=joints)), prediction, batch)[1]
    for joints in ("annotated", "visible", "occluded")
  ]
  np.testing.assert_array_equal(weights[0], weights[1] + weights[2])
  assert weights[1].any()
  assert weights[2].any()


def test_joints_of_unknown_visibility_are_not_occluded():
  batch = scenes.truth()
  batch["joints_visible"][3] = False  # what a picture of unknown visibility has
  value, weight = measure(pose.mpjpe(Protocol(depth="predicted", joints="occluded")), scenes.prediction(batch), batch)
  assert not weight[3].any()
  assert not value[3].any()
  others = np.arange(8) != 3
  np.testing.assert_array_equal(weight[others] > 0, (batch["joints_cam_valid"] & ~batch["joints_visible"])[others])


def test_hands_aligned_together_keep_their_distance():
  """A left hand displaced by 10 mm costs nothing by its own wrist, 10 mm by the right wrist; both 10 mm globally."""
  batch = scenes.truth()
  prediction = scenes.prediction(batch, noise=0)
  prediction["joints_cam"] = prediction["joints_cam"] + np.float32([[[[0, 0, 5]], [[6, 8, 5]]]])
  both = batch["hand_present"].all(-1)
  for root, expected in (("wrist", [0, 0]), ("right_wrist", [0, 10]), ("none", [5, np.sqrt(125)])):
    value, weight = measure(pose.mpjpe(Protocol(depth="predicted", root=root)), prediction, batch)
    for hand in (0, 1):
      counted = weight[both][:, hand] > 0
      np.testing.assert_allclose(value[both][:, hand][counted], expected[hand], atol=1e-3)
  # Without a right wrist nothing can be aligned to it.
  assert not measure(pose.mpjpe(Protocol(depth="predicted", root="right_wrist")), prediction, batch)[1][2].any()


@pytest.mark.parametrize("metric", [pose.mpjpe, pose.pck_auc], ids=["mpjpe", "pck_auc"])
def test_moving_a_hand_changes_nothing(metric):
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  moved = prediction | {"joints_cam": prediction["joints_cam"] + np.float32([[[[30, -20, 100]], [[-5, 8, 40]]]])}
  same = number(metric(PREDICTED), prediction, batch)
  assert number(metric(PREDICTED), moved, batch) == pytest.approx(same, rel=1e-4)
  assert number(metric(Protocol(depth="predicted", root="none")), moved, batch) != pytest.approx(same, rel=1e-2)


def test_scaling_a_hand_changes_nothing_under_true_scale():
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  scaled = prediction | {"joints_cam": prediction["joints_cam"] * np.float32(1.7)}
  true, predicted = Protocol(depth="predicted", scale="gt"), PREDICTED
  assert number(pose.mpjpe(true), scaled, batch) == pytest.approx(number(pose.mpjpe(true), prediction, batch), rel=1e-4)
  assert number(pose.mpjpe(predicted), scaled, batch) > 2 * number(pose.mpjpe(predicted), prediction, batch)


def test_a_hand_in_one_point_counts_under_true_scale():
  """As of a system that could not place it: it has no length to be scaled by."""
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  prediction["joints_cam"][0, 0] = 0
  value, weight = measure(pose.mpjpe(Protocol(depth="predicted", scale="gt")), prediction, batch)
  valid = batch["joints_cam_valid"][0, 0]
  assert valid[11]
  np.testing.assert_array_equal(weight[0, 0] > 0, valid)
  from_wrist = np.linalg.norm(batch["joints_cam"][0, 0] - batch["joints_cam"][0, 0, 20], axis=-1)
  np.testing.assert_allclose(value[0, 0], from_wrist * valid, rtol=1e-5)


@pytest.mark.parametrize("depth", ["gt", "predicted"])
def test_mirrored_scenes_have_the_same_errors(depth):
  protocol = Protocol(depth=depth, left_root="own")
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  for metric in (pose.mpjpe(protocol), pose.mrrpe(protocol), pose.epe2d(protocol)):
    mirrored = number(metric, mirror.mirror(prediction), mirror.mirror(batch))
    assert mirrored == pytest.approx(number(metric, prediction, batch), rel=1e-4), metric.name


def test_garbage_where_nothing_is_annotated_cannot_leak():
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  poisoned, spoilt = dict(batch), dict(prediction)
  poisoned["joints_cam"] = np.where(batch["joints_cam_valid"][..., None], batch["joints_cam"], np.nan)
  poisoned["joints_img"] = np.where(batch["joints_img_valid"][..., None], batch["joints_img"], np.nan)
  spoilt["joints_cam"] = np.where(batch["hand_present"][..., None, None], prediction["joints_cam"], np.nan)
  for metric in (pose.mpjpe(PREDICTED), pose.pck_auc(PREDICTED), pose.mrrpe(PREDICTED), pose.epe2d(PREDICTED)):
    assert number(metric, spoilt, poisoned) == pytest.approx(number(metric, prediction, batch), rel=1e-6), metric.name


def test_units_matter():
  """Metres instead of millimetres do not pass for a good result."""
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  in_metres = prediction | {"joints_cam": prediction["joints_cam"] / np.float32(1000)}
  assert number(pose.mpjpe(PREDICTED), in_metres, batch) > 50


def test_mrrpe_is_the_plain_loop():
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  errors = [
    np.linalg.norm(np.subtract(*prediction["joints_cam"][b, ::-1, 20]) - np.subtract(*batch["joints_cam"][b, ::-1, 20]))
    for b in range(8)
    if batch["hand_present"][b].all()
  ]
  assert number(pose.mrrpe(PREDICTED), prediction, batch) == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("scale", ["predicted", "gt"])
@pytest.mark.parametrize(("root", "joint"), [("middle1", 11), ("wrist", 20)])
def test_placement_is_the_plain_loop(scale, root, joint):
  """The left hand's place in lengths of the right hand, which a common factor does not change."""
  batch = scenes.truth()
  prediction = scenes.prediction(batch)
  metric = pose.placement(Protocol(depth="predicted", root=root, scale=scale))
  errors = []
  for p, t, valid, present in zip(
    prediction["joints_cam"], batch["joints_cam"], batch["joints_cam_valid"], batch["hand_present"], strict=True
  ):
    if present.all() and valid[:, joint].all() and (scale == "predicted" or valid[0, [11, 20]].all()):
      factor = np.linalg.norm(t[0, 11] - t[0, 20]) / np.linalg.norm(p[0, 11] - p[0, 20]) if scale == "gt" else 1.0
      errors.append(np.linalg.norm(factor * (p[1, joint] - p[0, joint]) - (t[1, joint] - t[0, joint])))
  assert len(errors) > 1
  assert number(metric, prediction, batch) == pytest.approx(np.mean(errors), rel=1e-4)
  larger = prediction | {"joints_cam": prediction["joints_cam"] * np.float32(1.5)}
  assert (number(metric, larger, batch) == pytest.approx(np.mean(errors), rel=1e-4)) == (scale == "gt")


def test_mrrpe_follows_the_relative_depth():
  batch = scenes.truth()
  exact = scenes.prediction(batch, noise=0)
  assert number(pose.mrrpe(Protocol()), exact, batch) == pytest.approx(0, abs=1e-2)
  wrong = exact | {"rel_root_depth": exact["rel_root_depth"] + np.float32(30)}
  value, weight = measure(pose.mrrpe(Protocol()), wrong, batch)
  # 30 mm along the ray of the left wrist.
  rays = batch["joints_cam"][:, 1, 20] / np.maximum(batch["joints_cam"][:, 1, 20, 2:], 1)
  np.testing.assert_allclose(value[weight > 0], 30 * np.linalg.norm(rays, axis=-1)[weight > 0], rtol=1e-3)
  assert number(pose.mrrpe(Protocol(left_root="own")), wrong, batch) == pytest.approx(0, abs=1e-2)


def test_hands_without_an_estimated_depth_are_left_out():
  """Instead of standing at a depth of 0."""
  batch = scenes.truth()
  known = batch["hand_present"].copy()
  known[0] = known[3, 1] = False
  depth = np.where(known, batch["root_depth"], 0)
  batch |= {"root_depth_estimated": depth, "root_depth_estimated_valid": known}
  exact, protocol = scenes.prediction(batch, noise=0), Protocol(depth="rootnet", left_root="own")
  one, both = known.any(-1), known.all(-1)
  for metric, expected in ((pose.mpjpe, one), (pose.pck_auc, one), (pose.mrrpe, both), (pose.bone_asymmetry, both)):
    _, weight = measure(metric(protocol), exact, batch)
    np.testing.assert_array_equal(weight.reshape(8, -1).any(-1), expected)
  value, weight = measure(pose.mpjpe(protocol), exact, batch)
  np.testing.assert_array_equal(weight > 0, batch["joints_cam_valid"] & known[..., None])
  np.testing.assert_allclose(value[weight > 0], 0, atol=1e-2)


@pytest.mark.parametrize("root", ["wrist", "middle1"])
def test_mpjpe_takes_the_left_depth_that_the_protocol_says(root):
  """A wrong relative depth scales the left hand, but only under the paper's rule, and where a right hand is found."""
  batch = scenes.truth()
  exact = scenes.prediction(batch, noise=0)
  wrong = exact | {"rel_root_depth": exact["rel_root_depth"] + np.float32(60)}
  for rule in ("own", "relative"):
    assert number(pose.mpjpe(Protocol(root=root, left_root=rule)), wrong, batch) == pytest.approx(0, abs=1e-2)
  seen = batch["hand_present"]
  wrong["hand_prob"] = seen.astype(np.float32)
  value, _ = measure(pose.mpjpe(Protocol(root=root, left_root="relative_if_seen")), wrong, batch)
  # x and y of a joint at depth z are its ray times z; the ray of the wrist is subtracted.
  joints = batch["joints_cam"][:, 1]
  at = {"wrist": 20, "middle1": 11}[root]
  rays = joints / np.maximum(joints[..., 2:], 1)
  expected = 60 * np.linalg.norm(rays - rays[:, at : at + 1], axis=-1)
  counted = seen.all(-1)[:, None] & batch["joints_cam_valid"][:, 1] & batch["joints_cam_valid"][:, 1, at, None]
  assert expected[counted].max() > 3
  np.testing.assert_allclose(value[:, 1], np.where(counted, expected, 0), rtol=1e-2, atol=1e-2)
  np.testing.assert_allclose(value[:, 0], 0, atol=1e-2)


def test_pck_and_its_area():
  """The area of every error adds up to trapezoids under the curve."""
  batch = scenes.truth(count=12)
  prediction = scenes.prediction(batch, noise=18)
  errors = errors_by_loop(prediction, batch)
  thresholds = pose.AUC_THRESHOLDS_MM
  joints = sorted({key[1:] for key in errors})
  curves = [
    [np.mean([value <= t for (_, h, j), value in errors.items() if (h, j) == place]) for t in thresholds]
    for place in joints
  ]
  expected = np.trapezoid(np.mean(curves, 0), thresholds) / 50
  assert 0.1 < expected < 0.9
  assert number(pose.pck_auc(PREDICTED), prediction, batch) == pytest.approx(expected, abs=1e-4)
  at_20 = np.mean([np.mean([v <= 20 for (_, h, j), v in errors.items() if (h, j) == place]) for place in joints])
  assert number(pose.pck(PREDICTED, 20.0), prediction, batch) == pytest.approx(at_20, abs=1e-6)


def test_area_of_none_and_of_large_errors():
  batch = scenes.truth()
  perfect = scenes.prediction(batch, noise=0)
  assert number(pose.pck_auc(PREDICTED), perfect, batch) == pytest.approx(1)
  far = perfect | {"joints_cam": perfect["joints_cam"] * np.float32([-1, -1, 1])}
  without_root = dataclasses.replace(PREDICTED, count_root=False)
  assert number(pose.pck_auc(without_root), far, batch) < 0.1


def test_epe2d_in_pixels():
  batch = scenes.truth()
  prediction = scenes.prediction(batch, noise=0)
  moved = prediction | {"joints_img": prediction["joints_img"] + np.float32([3, 4])}
  assert number(pose.epe2d(PREDICTED), moved, batch) == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize("scale", ["predicted", "gt"])
def test_mpvpe_of_moved_scaled_meshes(scale):
  model = HandModel.default()
  rng = np.random.default_rng(0)
  mano = np.concatenate([rng.normal(0, 0.3, (4, 2, 58)), rng.uniform(300, 500, (4, 2, 3))], -1).astype(np.float32)
  posed = model.forward_mano(mano)
  batch = {
    "mano": mano, "mano_valid": np.array([[True, True], [True, False], [False, True], [False, False]]),
    "joints_cam_valid": np.ones((4, 2, 21), bool), "hand_present": np.ones((4, 2), bool),
  }  # fmt: skip
  factor = np.float32(1.2)
  prediction = {"vertices_cam": posed.vertices * factor + 7, "joints_cam": posed.keypoints * factor + 7}
  metric = pose.mpvpe(Protocol(depth="predicted", scale=scale), model)
  value, weight = measure(metric, prediction, batch)
  np.testing.assert_array_equal(weight > 0, batch["mano_valid"])
  wrist = posed.keypoints[..., skeleton.WRIST :, :]
  expected = (
    0 if scale == "gt" else (np.linalg.norm(posed.vertices - wrist, axis=-1).mean(-1) * 0.2)[batch["mano_valid"]]
  )
  np.testing.assert_allclose(value[weight > 0], expected, rtol=1e-3, atol=1e-2)


def test_mpvpe_is_of_meshes_where_the_protocol_puts_the_joints():
  model = HandModel.default()
  rng = np.random.default_rng(0)
  mano = np.concatenate([rng.normal(0, 0.3, (4, 2, 58)), rng.uniform(300, 500, (4, 2, 3))], -1).astype(np.float32)
  posed = model.forward_mano(mano)
  joints = np.asarray(posed.keypoints)
  batch = scenes.truth(count=4) | {
    "mano": mano, "mano_valid": np.ones((4, 2), bool), "joints_cam": joints, "hand_present": np.ones((4, 2), bool),
    "joints_cam_valid": np.ones((4, 2, 21), bool), "root_depth": joints[:, :, 20, 2],
    "root_depth_valid": np.array([[True, True], [True, False], [False, True], [True, True]]),
  }  # fmt: skip
  prediction = scenes.prediction(batch, noise=0.0)
  away = {"joints_cam": joints + np.float32([9, 0, 100]), "vertices_cam": posed.vertices + np.float32([9, 0, 100])}
  value, weight = measure(
    pose.mpvpe(Protocol(depth="gt", root="none", left_root="own"), model), prediction | away, batch
  )
  np.testing.assert_array_equal(weight > 0, batch["root_depth_valid"])
  np.testing.assert_allclose(value, 0, atol=0.1)
  value, _ = measure(pose.mpvpe(Protocol(depth="predicted", root="none"), model), prediction | away, batch)
  np.testing.assert_allclose(value, np.hypot(9, 100), rtol=1e-3)


def test_hands_of_unknown_depth_are_placed_by_their_bones():
  """The mean hand is lifted exactly; a hand 20 % larger comes out that much too small and near."""
  model = HandModel.default()
  mano = np.zeros((2, 2, 61), np.float32)
  mano[..., 58:] = [[[40, 10, 600], [-60, 0, 700]], [[0, 0, 500], [30, 20, 550]]]
  joints = np.asarray(model.forward_mano(mano).keypoints)
  batch = scenes.truth(count=2) | {
    "joints_cam_valid": np.ones((2, 2, 21), bool), "hand_present": np.ones((2, 2), bool), "joints_cam": joints,
    "root_depth": joints[..., 20, 2], "root_depth_valid": np.ones((2, 2), bool),
  }  # fmt: skip

  def seen_of(batch):
    prediction = scenes.prediction(batch, noise=0)
    del prediction["joints_cam"]  # else these would be placed
    return prediction

  exact = seen_of(batch)
  assert number(pose.mpjpe(Protocol(depth="place")), exact, batch) == pytest.approx(0, abs=0.3)
  wrists = joints[..., 20:, :]
  larger = batch | {"joints_cam": (joints - wrists) * np.float32(1.2) + wrists}
  seen = seen_of(larger)
  assert number(pose.mpjpe(Protocol(depth="place")), seen, larger) > 2
  assert number(pose.mpjpe(Protocol(depth="gt")), seen, larger) == pytest.approx(0, abs=0.1)


def test_groups():
  batch = {
    "hand_present": np.array([[True, True], [True, True], [True, False], [False, False]]),
    "joints_cam_valid": np.stack([np.arange(42) < n for n in (31, 30, 42, 0)]).reshape(4, 2, 21),
  }
  groups = {name: np.asarray(mask).tolist() for name, mask in base.groups(batch).items()}
  assert groups == {
    "all": [True] * 4,
    "single": [False, False, True, False],
    "interacting": [True, True, False, False],
    "inter": [True, False, False, False],
  }


def test_all_is_pooled_by_joint_not_the_mean_of_single_and_interacting():
  values = np.zeros((3, 2, 21))
  values[0], values[1:] = 10, 40
  assert base.mean_per_joint(values, np.ones_like(values)) == pytest.approx(30)


def test_a_joint_that_never_counts_does_not_spoil_the_mean():
  values, weights = np.full((2, 3), 4.0), np.array([[1.0, 0, 1], [1, 0, 0]])
  assert base.mean_per_joint(values, weights) == 4
  assert np.isnan(base.mean_per_joint(values, 0 * weights))
  assert np.isnan(base.pooled_mean(values, 0 * weights))


def test_float32_values_are_summed_in_double():
  values = np.full((200_000, 1), 0.1, np.float32)
  values[0] = 1e6
  expected = (1e6 + 199_999 * float(np.float32(0.1))) / 200_000
  assert base.pooled_mean(values, np.ones_like(values)) == pytest.approx(expected, rel=1e-12)


def test_the_protocol_names_every_choice():
  text = str(Protocol(depth="rootnet", scale="gt"))
  for field in dataclasses.fields(Protocol):
    assert f"{field.name}=" in text
  assert "depth=rootnet" in text
  assert "scale=gt" in text
