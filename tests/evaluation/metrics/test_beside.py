"""A system beside plain methods, through the evaluator: the constants by hand, the best of them, its interval."""

import jax
import numpy as np
import pytest

from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics import beside, constant, masks, mean_pose, pose, poses, summary
from jaxhands.evaluation.metrics.base import Metric, Protocol, pooled_mean
from jaxhands.geometry import camera
from tests import replay
from tests.evaluation.metrics import scenes

COUNT = 60


def evaluate(truth, prediction, baseline=None, resamples=30):
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
  evaluator = Evaluator(replay.Replay(), mesh, protocol=Protocol(depth="gt"), baseline=baseline)
  return evaluator(replay.variables(prediction), replay.batches(truth, 16), ("re", "scenes", "test"), resamples)


@pytest.fixture(scope="module")
def truth():
  found = scenes.truth(count=COUNT)
  found["joints_img_valid"] = found["joints_cam_valid"]
  return found


@pytest.fixture(scope="module")
def mean():
  return mean_pose.MeanPose.fit([scenes.truth(seed=5, count=40)])


@pytest.fixture(scope="module")
def result(truth, mean):
  prediction = scenes.prediction(truth)
  prediction["root_cam"] = prediction["joints_cam"][:, :, 20]
  prediction["hand_prob"] = np.ones((COUNT, 2), np.float32)  # as if both hands were always there
  return evaluate(truth, prediction, mean)


def of_method(result, name):
  return next(entry["metrics"] for entry in result.also if entry["method"] == name)


def test_the_commonest_hands_are_counted(result, truth):
  known = truth["hand_present_valid"]
  kinds, counts = np.unique(truth["hand_present"][known], axis=0, return_counts=True)
  expected = counts.max() / known.sum()
  found = of_method(result, constant.HANDS)
  assert found["handedness_accuracy"] == pytest.approx(expected)
  assert found["handedness_ap"] == pytest.approx(truth["hand_present"][known].mean(0).mean(), rel=1e-6)
  # Whoever always says the commonest kind is no better than it.
  assert kinds[counts.argmax()].all()
  verdict = result.verdicts["handedness_accuracy"]
  assert (verdict["beside"], verdict["kind"]) == (constant.HANDS, "no better")
  assert verdict["baseline"] == result.metrics["handedness_accuracy"]
  assert verdict["more"] == (0.0, 0.0)


def test_the_commonest_hands_say_nothing_where_all_pictures_have_the_same(truth, mean):
  both = truth | {"hand_present": np.ones_like(truth["hand_present"])}
  prediction = scenes.prediction(both) | {"hand_prob": np.full((COUNT, 2), 0.9, np.float32)}
  result = evaluate(both, prediction, mean)
  assert result.metrics["handedness_accuracy"] == 1
  assert "handedness_accuracy" not in result.verdicts
  assert constant.HANDS not in {entry["method"] for entry in result.also}


def test_the_mean_wrists_are_those_of_the_truth(result, truth):
  wrists, present = truth["joints_cam"][:, :, 20].astype(np.float64), truth["hand_present"]
  both = present.all(1)
  offset = (wrists[:, 1] - wrists[:, 0])[both]
  found = of_method(result, constant.WRISTS)
  assert found["mrrpe"] == pytest.approx(np.linalg.norm(offset - offset.mean(0), axis=1).mean(), rel=1e-5)
  centres = [wrists[present[:, hand], hand].mean(0) for hand in range(2)]
  away = np.concatenate([wrists[present[:, hand], hand] - centres[hand] for hand in range(2)])
  assert found["mrpe/all"] == pytest.approx(np.linalg.norm(away, axis=1).mean(), rel=1e-5)
  assert found["root_depth/all"] == pytest.approx(np.abs(away[:, 2]).mean(), rel=1e-5)
  assert found["root_depth/left"] == pytest.approx(np.abs(wrists[present[:, 1], 1, 2] - centres[1][2]).mean(), rel=1e-5)
  assert result.verdicts["mrrpe"]["kind"] == "better"


def test_the_mean_pose_is_seen_by_the_camera(result, truth, mean):
  guess = np.asarray(mean.predict(truth)["joints_cam"])
  error = np.linalg.norm(camera.project(guess, truth["camera_img"][:, None]) - truth["joints_img"], axis=-1)
  valid = truth["joints_img_valid"]
  per_joint = (error * valid).sum(0) / valid.sum(0)
  assert result.mean_pose["epe2d"] == pytest.approx(per_joint.mean(), rel=1e-4)


def test_pictures_of_an_unknown_camera_do_not_count_in_the_mean_poses_2d_error(truth, mean):
  known = np.arange(COUNT) % 2 == 0
  half = truth | {"camera_valid": known, "camera_img": truth["camera_img"] * known[:, None, None]}
  found = evaluate(half, scenes.prediction(truth), mean, resamples=0).mean_pose["epe2d"]
  guess = np.asarray(mean.predict(truth)["joints_cam"])
  error = np.linalg.norm(camera.project(guess, truth["camera_img"][:, None]) - truth["joints_img"], axis=-1)
  valid = truth["joints_img_valid"] & known[:, None, None]
  assert found == pytest.approx(((error * valid).sum(0) / valid.sum(0)).mean(), rel=1e-4)


def test_hands_of_an_unknown_wrist_do_not_count_in_the_mean_poses_2d_error(truth, mean):
  prediction = {"joints_cam": np.asarray(mean.predict(truth)["joints_cam"])}
  batch = truth | {"joints_cam_valid": truth["joints_cam_valid"].copy(), "joints_cam": truth["joints_cam"].copy()}
  batch["joints_cam_valid"][0, 0, 20], batch["joints_cam"][0, 0, 20] = False, 0
  quantity = mean_pose.in_picture(pose.epe2d(Protocol())).quantity
  assert "joints_cam_valid" in quantity.needs
  value, weight = (np.asarray(found) for found in quantity.fn(prediction, batch))
  expected = truth["joints_img_valid"].copy()
  assert expected[0, 0].any()
  expected[0, 0] = False
  np.testing.assert_array_equal(weight > 0, expected)
  assert not value[0, 0].any()


def test_verdicts_are_of_paired_scenes(result, truth, mean):
  """By hand: the same scenes are drawn for both, and the difference of the two means is taken."""
  values = result.examples_values
  rng, scene = np.random.default_rng(0), values["scene_id"]
  drawn = []
  for _ in range(30):
    rows = rng.integers(0, COUNT, COUNT)
    assert (scene == np.arange(COUNT)).all()
    each = []
    for prefix in ("", "mean_pose_"):
      weight = values[f"{prefix}joint_error_weight"][rows]
      each.append(((values[f"{prefix}joint_error"][rows] * weight).sum(0) / weight.sum(0)).mean())
    drawn.append(each[0] - each[1])
  found = result.verdicts["mpjpe/all"]
  assert found["more"] == pytest.approx(np.percentile(drawn, (2.5, 97.5)), rel=1e-5)
  assert (found["beside"], found["kind"]) == ("mean_pose", "better")
  assert found["baseline"] == result.mean_pose["mpjpe/all"]


def test_nothing_is_judged_without_intervals_or_of_few_scenes(truth, mean):
  prediction = scenes.prediction(truth)
  assert evaluate(truth, prediction, mean, resamples=0).verdicts == {}
  few = truth | {"scene_id": (np.arange(COUNT) % 3).astype(np.int32)}
  assert evaluate(few, prediction, mean).verdicts["mpjpe/all"]["kind"] == "few"


def test_masks_stand_beside_the_best_of_what_is_plain():
  rng = np.random.default_rng(0)
  truth = scenes.truth(count=COUNT)
  box = np.zeros((COUNT, 2, 2, 20, 20), np.uint8)
  for example, hand in zip(*np.nonzero(truth["hand_present"]), strict=True):
    x, y, w, h = rng.integers([1, 1, 5, 5], [8, 8, 11, 11])
    box[example, hand, :, y : y + h, x : x + w] = 1
  truth |= {"masks": box, "masks_valid": np.ones((COUNT, 2, 2), bool)}
  result = evaluate(truth, {"masks": np.roll(box, 4, -1).astype(np.float32)})
  found = of_method(result, "ellipse in the true box")
  # A pixel is in the ellipse whose axes are as many pixels as the box has.
  both, either = 0, 0
  for mask in box[:, :, 0].reshape(-1, 20, 20):
    rows, columns = np.nonzero(mask)
    if len(rows):
      centre = np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2
      size = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
      inside = ((2 * (np.argwhere(mask) - centre) / size) ** 2).sum(1) <= 1
      both, either = both + inside.sum(), either + len(inside)
  assert found["iou/amodal"] == found["iou/visible"] == pytest.approx(both / either, rel=1e-6)
  verdict = result.verdicts["iou/amodal"]
  assert verdict["beside"] == "ellipse in the true box"
  assert verdict["kind"] == "worse"
  # What is told the true masks is no measure of having learnt.
  told = {entry["method"] for entry in result.also if entry["method"].endswith("true")}
  assert told == {"visible as amodal, true", "convex hull, true"}
  assert not told & {entry["beside"] for entry in result.verdicts.values()}
  assert {b.name for b in masks.baselines() if not b.plain} == told


def test_what_should_be_neither_low_nor_high_is_not_judged(result, truth):
  values, groups = result.examples_values, {"all": np.ones(COUNT, bool)}
  quantity = pose.root_error(Protocol(depth="gt"))
  found = {quantity.name: (values["root_error"], values["root_error_weight"])}
  worse = {quantity.name: (values["root_error"] + 1, values["root_error_weight"])}
  for better, judged in (("lower", ["made"]), ("higher", ["made"]), ("neither", [])):
    metrics = (Metric("made", "mm", quantity, pooled_mean, better=better),)
    drawn = summary.resampled(metrics, found, groups, values["scene_id"], 5)
    methods = {"a": beside.Method(metrics, worse), "b": beside.Method(metrics, found)}
    answer = beside.verdicts(metrics, found, groups, values["scene_id"], drawn, methods)
    assert list(answer) == judged
    if judged:
      assert answer["made"]["beside"] == {"lower": "b", "higher": "a"}[better]


def test_hands_that_cannot_be_placed_count_for_neither(truth, mean):
  """The half that a depth is missing of is the hard one for the mean pose, and must not make the system look better."""
  protocol = Protocol(depth="rootnet")
  known = truth["root_depth_valid"] & (np.arange(COUNT) % 2 == 0)[:, None]
  batch = truth | {"root_depth_estimated": truth["root_depth"], "root_depth_estimated_valid": known}
  hard = (np.arange(COUNT) % 2 == 1)[:, None, None, None] & truth["joints_cam_valid"][..., None]
  wrist = batch["joints_cam"][:, :, 20:]
  batch["joints_cam"] = (wrist + (batch["joints_cam"] - wrist) * np.where(hard, 3, 1)).astype(np.float32)
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
  evaluator = Evaluator(replay.Replay(), mesh, protocol=protocol, baseline=mean)
  prediction = scenes.prediction(truth)
  found = evaluator(replay.variables(prediction), replay.batches(batch, 16), resamples=20)
  values = found.examples_values
  counted = truth["joints_cam_valid"] & known[..., None]
  np.testing.assert_array_equal(values["joint_error_weight"], counted)
  np.testing.assert_array_equal(values["mean_pose_joint_error_weight"], counted)
  error = np.linalg.norm(np.asarray(mean.predict(batch)["joints_cam"]) - batch["joints_cam"], axis=-1)
  expected = ((error * counted).sum(0) / counted.sum(0)).mean()
  assert found.mean_pose["mpjpe/all"] == found.verdicts["mpjpe/all"]["baseline"] == pytest.approx(expected, rel=1e-5)
  hands = truth["joints_cam_valid"].any(-1)
  assert found.metrics["placed/all"] == pytest.approx(known[hands].mean())
  assert found.units["placed/all"] == "share"
  assert not any(key.startswith("placed") for key in (*found.mean_pose, *found.verdicts))
  whole = {metric.name for depth in ("gt", "predicted") for metric in poses(Protocol(depth=depth))}
  assert "placed" not in whole


def test_a_verdict_is_of_what_the_plain_method_counts_too(truth, mean):
  """2D errors of pictures of an unknown camera stay in the system's number, but not in what it is more."""
  known = np.arange(COUNT) % 2 == 0
  half = truth | {"camera_valid": known, "camera_img": truth["camera_img"] * known[:, None, None]}
  prediction = scenes.prediction(truth)
  off = np.where(known, 0, 500)[:, None, None, None].astype(np.float32)
  prediction["joints_img"] = prediction["joints_img"] + off  # so that it is bad where nothing is beside it
  result = evaluate(half, prediction, mean)
  valid = truth["joints_img_valid"]
  error = np.linalg.norm(prediction["joints_img"] - truth["joints_img"], axis=-1)
  assert result.metrics["epe2d"] == pytest.approx(((error * valid).sum(0) / valid.sum(0)).mean(), rel=1e-4)
  assert result.metrics["epe2d"] > result.mean_pose["epe2d"]
  low, high = result.verdicts["epe2d"]["more"]
  valid = valid & known[:, None, None]
  more = ((error * valid).sum(0) / valid.sum(0)).mean() - result.mean_pose["epe2d"]
  assert low < more < high < 0
  assert result.verdicts["epe2d"]["kind"] == "better"
