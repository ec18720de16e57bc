"""Metrics of samples and of several annotations, against NumPy in float64 that does them picture by picture."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jaxhands.evaluation import metrics
from jaxhands.evaluation.metrics import base, distribution, mmd, plausible, pose, spread
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.hands.model import HandModel
from jaxhands.train import distributed

PREDICTED = Protocol(depth="predicted")
MODEL = HandModel.default()
COUNT, SAMPLES, ANNOTATIONS = 6, 7, 5


@functools.cache
def _scene(count=COUNT):
  """(prediction, batch): pictures of two hands, of a right and of a left one; some annotations and joints lack."""
  rng = np.random.default_rng(0)
  mano = rng.normal(0, 0.2, (count, ANNOTATIONS, 2, 61)).astype(np.float32)
  mano[..., 58:] = [[-70, 0, 500], [60, 10, 520]] + rng.normal(0, 15, (count, ANNOTATIONS, 2, 3))
  present = np.array([[True, True], [True, True], [True, False], [False, True]])[np.arange(count) % 4]
  valid = rng.random((count, ANNOTATIONS)) < 0.7
  valid[0] = True
  valid[1] = False  # of one picture there are no annotations
  joints = MODEL.forward_mano(mano[:, 0]).keypoints * present[..., None, None]
  prediction = {
    "samples": (joints[:, None] + rng.normal(0, 20, (count, SAMPLES, 2, 21, 3))).astype(np.float32),
    "joints_cam": (joints + rng.normal(0, 10, joints.shape)).astype(np.float32),
    "annotations_log_prob": rng.normal(size=(count, ANNOTATIONS)).astype(np.float32),
  }
  batch = {
    "annotations_mano": mano * valid[..., None, None],
    "annotations_valid": valid,
    "hand_present": present,
    "joints_cam": joints.astype(np.float32),
    "joints_cam_valid": present[..., None] & ((rng.random((count, 2, 21)) < 0.9) | (np.arange(21) == 20)),
    "joints_visible": rng.random((count, 2, 21)) < 0.6,
  }
  camera_img = np.repeat(np.float32([[[800, 0, 320], [0, 790, 240], [0, 0, 1]]]), count, 0)
  batch |= {
    "joints_img": rng.uniform(0, 400, (count, 2, 21, 2)).astype(np.float32),
    "joints_img_valid": batch["joints_cam_valid"],
    "box_img": np.repeat(np.float32([[100, 100, 200, 150]]), count, 0),
    "camera_img": camera_img,
    "camera_valid": np.ones(count, bool),
  }
  return prediction, batch


def _moved(joints, alignment):
  joints = np.asarray(joints, np.float64)
  if alignment == "rr":
    return joints - joints[..., 20:, :]
  return joints - joints[..., :1, 20:, :] if alignment == "rrr" else joints


def _hands(present, alignment):
  """Of one picture, the hands that count."""
  return present & (present[0] or alignment != "rrr")


def _annotated(batch, alignment):
  return _moved(MODEL.forward_mano(batch["annotations_mano"]).keypoints, alignment)


def _measured(metric, prediction=None, batch=None):
  scene = _scene()
  value, weight = jax.jit(metric.quantity.fn)(prediction or scene[0], batch or scene[1])
  return np.asarray(value), np.asarray(weight)


def _mmd_twin(samples, others, hands):
  """Of one picture, joints [S, 2, 21, 3] and [A, 2, 21, 3]: kernel after kernel, pair after pair."""
  x, y = samples[:, hands].reshape(len(samples), -1, 3), others[:, hands].reshape(len(others), -1, 3)

  def mean_kernel(a, b, scale):
    squares = np.array([[np.mean(np.sum((p - q) ** 2, -1)) for q in b] for p in a])
    return np.mean(np.exp(-squares / (2 * scale**2)))

  roots = []
  for scale in (10, 20, 50, 100, 200, 500):
    squared = mean_kernel(x, x, scale) + mean_kernel(y, y, scale) - 2 * mean_kernel(x, y, scale)
    roots.append(np.sqrt(max(squared, 0)))
  return np.mean(roots)


@pytest.mark.parametrize("alignment", distribution.ALIGNMENTS)
@pytest.mark.parametrize("sampled", [True, False], ids=["samples", "delta"])
def test_mmd_is_its_twin(alignment, sampled):
  prediction, batch = _scene()
  if not sampled:
    prediction = {key: value for key, value in prediction.items() if key != "samples"}
  value, weight = _measured(mmd.mmd(PREDICTED, MODEL, alignment), prediction)
  everything = prediction["samples"] if sampled else prediction["joints_cam"][:, None]
  samples, others = _moved(everything, alignment), _annotated(batch, alignment)
  for b in range(COUNT):
    hands, valid = _hands(batch["hand_present"][b], alignment), batch["annotations_valid"][b]
    assert weight[b] == (hands.any() and valid.any())
    if weight[b]:
      assert value[b] == pytest.approx(_mmd_twin(samples[b], others[b][valid], hands), rel=1e-4)
  assert weight.sum() == 5 - (alignment == "rrr")


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 1.0, 1000.0]))
def test_discrepancy_of_a_set_with_itself_is_0_and_far_from_another_its_largest(seed, spread_mm):
  rng = np.random.default_rng(seed)
  poses = rng.normal(0, spread_mm, (1, 4, 2, 21, 3)).astype(np.float32) + np.float32([300, -200, 900])
  all_of = functools.partial(mmd.discrepancy, hands=np.ones((1, 2), bool), valid=np.ones((1, 4), bool))
  assert float(all_of(poses, poses)[0]) < 2e-3  # the root of float32's rounding
  assert float(all_of(poses, poses[:, [2, 0, 3, 1]])[0]) < 2e-3
  far = float(all_of(poses[:, :1].repeat(4, 1), poses[:, :1].repeat(4, 1) + np.float32(1e4))[0])
  assert far == pytest.approx(np.sqrt(2), rel=1e-4)


def test_hundred_equal_samples_are_one():
  prediction, _ = _scene()
  one = prediction["samples"][:, :1]
  for alignment in distribution.ALIGNMENTS:
    metric = mmd.mmd(PREDICTED, MODEL, alignment)
    once, _ = _measured(metric, {"samples": one, "joints_cam": one[:, 0]})
    often, _ = _measured(metric, {"samples": one.repeat(100, 1), "joints_cam": one[:, 0]})
    np.testing.assert_allclose(once, often, rtol=1e-3)


@pytest.mark.parametrize("alignment", distribution.ALIGNMENTS)
@pytest.mark.parametrize("occluded", [False, True])
def test_closest_and_farthest_annotation(alignment, occluded):
  prediction, batch = _scene()
  own, others = _moved(prediction["joints_cam"], alignment), _annotated(batch, alignment)
  for which, choose in (("closest", min), ("farthest", max)):
    metric = plausible.mpjpe_of_annotation(PREDICTED, MODEL, which, alignment, occluded)
    value, weight = _measured(metric)
    for b in range(COUNT):
      hands, valid = _hands(batch["hand_present"][b], alignment), np.flatnonzero(batch["annotations_valid"][b])
      joints = np.repeat(hands[:, None], 21, 1) & ~(batch["joints_visible"][b] & occluded)
      assert weight[b] == (joints.any() and len(valid) > 0)
      if weight[b]:
        errors = [np.linalg.norm(own[b] - others[b][a], axis=-1)[joints].mean() for a in valid]
        assert value[b] == pytest.approx(choose(errors), rel=1e-5)


def test_pictures_of_unknown_visibility_have_no_hidden_joints():
  prediction, batch = _scene()
  visible = batch["joints_visible"].copy()
  visible[0] = False
  metric = plausible.mpjpe_of_annotation(PREDICTED, MODEL, "closest", "rr", occluded=True)
  _, known = _measured(metric)
  _, weight = _measured(metric, prediction, batch | {"joints_visible": visible})
  assert known[0] == 1
  np.testing.assert_array_equal(weight, known * (np.arange(COUNT) > 0))


@pytest.mark.parametrize("joints", ["annotated", "occluded"])
@pytest.mark.parametrize("alignment", distribution.ALIGNMENTS)
def test_mpjpe_has_the_same_alignments(alignment, joints):
  """The evaluator's protocols: `root` "none" is Global, "right_wrist" RRR, "wrist" RR."""
  prediction, batch = _scene()
  root = {"global": "none", "rrr": "right_wrist", "rr": "wrist"}[alignment]
  value, weight = _measured(pose.mpjpe(Protocol(depth="predicted", root=root, joints=joints)))
  own, truth = _moved(prediction["joints_cam"], alignment), _moved(batch["joints_cam"], alignment)
  for b in range(COUNT):
    counted = batch["joints_cam_valid"][b] & _hands(batch["hand_present"][b], alignment)[:, None]
    counted &= ~(batch["joints_visible"][b] & (joints == "occluded"))
    np.testing.assert_array_equal(weight[b], counted)
    np.testing.assert_allclose(value[b][counted], np.linalg.norm(own[b] - truth[b], axis=-1)[counted], rtol=1e-5)


def test_nll_is_the_mean_over_annotations_that_exist():
  prediction, batch = _scene()
  value, weight = _measured(plausible.nll())
  for b in range(COUNT):
    valid = batch["annotations_valid"][b]
    assert weight[b] == valid.any()
    if valid.any():
      assert value[b] == pytest.approx(-prediction["annotations_log_prob"][b][valid].mean(), rel=1e-5)


@pytest.mark.parametrize("alignment", distribution.ALIGNMENTS)
def test_best_sample_and_deviation(alignment):
  prediction, batch = _scene()
  samples, truth = _moved(prediction["samples"], alignment), _moved(batch["joints_cam"], alignment)
  best, best_weight = _measured(spread.best_of_samples(alignment))
  deviation, deviation_weight = _measured(spread.deviation(alignment))
  both, both_weight = _measured(spread.deviation_error(alignment))
  for b in range(COUNT):
    hands = _hands(batch["hand_present"][b], alignment)
    joints = hands[:, None] & batch["joints_cam_valid"][b]
    assert best_weight[b] == joints.any()
    if joints.any():
      errors = [np.linalg.norm(sample - truth[b], axis=-1)[joints].mean() for sample in samples[b]]
      assert best[b] == pytest.approx(min(errors), rel=1e-5)
    fixed = {"global": [], "rrr": [(0, 20)], "rr": [(0, 20), (1, 20)]}[alignment]
    for h, j in itertools.product((0, 1), range(21)):
      loose = (h, j) not in fixed
      assert deviation_weight[b, h, j] == (hands[h] and loose)
      assert both_weight[b, h, j] == (joints[h, j] and loose)
      if not joints[h, j] or not loose:
        continue
      points = samples[b, :, h, j]
      expected = np.sqrt(np.var(points, axis=0).sum())
      assert deviation[b, h, j] == pytest.approx(expected, rel=1e-4)
      assert both[b, h, j, 0] == pytest.approx(expected, rel=1e-4)
      assert both[b, h, j, 1] == pytest.approx(np.linalg.norm(points.mean(0) - truth[b, h, j]), rel=1e-4)


def test_levels_are_those_of_an_ellipsoid():
  rng = np.random.default_rng(0)
  samples = (rng.normal(size=(2, 50, 3, 3)) * [1, 5, 30]).astype(np.float32)
  truth = (rng.normal(size=(2, 3, 3)) * [1, 5, 30]).astype(np.float32)
  found = np.asarray(spread.levels(jnp.asarray(samples), jnp.asarray(truth)))
  for b, j in itertools.product(range(2), range(3)):
    points = samples[b, :, j].astype(np.float64)
    inverse = np.linalg.inv(np.cov(points.T, bias=True) + 0.01 * np.eye(3))
    distances = [np.sqrt(d @ inverse @ d) for d in [*(points - points.mean(0)), truth[b, j] - points.mean(0)]]
    assert found[b, j] == pytest.approx(np.mean(np.array(distances[:-1]) < distances[-1]), abs=1e-6)


def test_samples_of_the_truth_are_honest():
  """Truth and samples of one distribution, wide along z: coverage is what it says, deviations are the errors."""
  rng = np.random.default_rng(0)
  count = 60
  wide = rng.uniform(1, 40, (count, 1, 2, 21, 1)) * [1, 1, 3]
  centre = rng.normal(0, 100, (count, 1, 2, 21, 3)) + [0, 0, 600]
  samples = (centre + wide * rng.normal(size=(count, 200, 2, 21, 3))).astype(np.float32)
  batch = {
    "joints_cam": (centre + wide * rng.normal(size=centre.shape))[:, 0].astype(np.float32),
    "joints_cam_valid": np.ones((count, 2, 21), bool),
    "hand_present": np.ones((count, 2), bool),
  }

  def number(metric, scale=1.0):
    mean = samples.mean(1, keepdims=True)
    return metric.reduce(*_measured(metric, {"samples": (mean + scale * (samples - mean)).astype(np.float32)}, batch))

  for percent in (50, 90):
    assert number(spread.coverage("global", percent)) == pytest.approx(percent / 100, abs=0.03)
    assert number(spread.coverage("global", percent), 0.3) < 0.6 * percent / 100
  assert number(spread.deviation_error("global")) < 0.1
  assert number(spread.deviation_error("global"), 0.5) == pytest.approx(1, abs=0.1)
  assert number(spread.deviation_correlation("global")) > 0.4


@given(st.integers(0, 10**6))
def test_deviation_numbers_count_by_weight(seed):
  """A joint of weight 2 is two joints, and one of weight 0 none: what resampling scenes builds on."""
  rng = np.random.default_rng(seed)
  value = rng.gamma(2, 10, (12, 2))
  weight = rng.integers(0, 3, 12).astype(np.float64)
  weight[:3] = 1
  repeated = np.repeat(value, weight.astype(int), 0)
  for metric in (spread.deviation_error("rr"), spread.deviation_correlation("rr")):
    assert metric.reduce(value, weight) == pytest.approx(metric.reduce(repeated, np.ones(len(repeated))), rel=1e-9)
  found = spread.deviation_correlation("rr").reduce(value, weight)
  assert found == pytest.approx(np.corrcoef(repeated.T)[0, 1], rel=1e-9)


def test_four_devices_say_what_one_says():
  prediction, batch = _scene(8)
  mesh = distributed.make_mesh(4)
  place = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
  quantities = {metric.quantity.name: metric.quantity for metric in metrics.distributions(PREDICTED, MODEL)}

  @jax.jit
  def measure(prediction, batch):
    return {name: quantity.fn(prediction, batch) for name, quantity in quantities.items()}

  one, four = measure(prediction, batch), measure(*jax.device_put((prediction, batch), place))
  assert len(four["mmd_global"][0].sharding.device_set) == 4
  for name, (value, weight) in one.items():
    np.testing.assert_array_equal(four[name][1], weight, err_msg=name)
    np.testing.assert_allclose(four[name][0], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_list_is_that_of_the_paper_with_a_key_each():
  found = metrics.distributions(PREDICTED, MODEL)
  keys = [key for metric in found for key in metric.results()]
  assert len(keys) == len(set(keys))
  assert {"mmd/global", "mmd/rrr", "mmd/rr", "mpjpe_closest/rr_occluded", "nll", "coverage_50/rr"} <= set(keys)
  assert all(isinstance(metric, base.Metric) and metric.optional for metric in found)
