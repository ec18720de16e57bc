"""The evaluator: independent of batches and devices, masked, honest about its baseline, and whole on the disk."""

import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from jax.sharding import AxisType

from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics import handedness, mean_pose, overlap, pose, poses, standard
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.evaluation.result import headline
from jaxhands.geometry import lift
from jaxhands.hands import bones
from jaxhands.hands.model import HandModel
from tests import replay
from tests.evaluation.conftest import COUNT
from tests.evaluation.metrics import scenes

PROTOCOL = Protocol(depth="gt")


@pytest.fixture(scope="module")
def baseline():
  return mean_pose.MeanPose.fit([scenes.truth(seed=5, count=40)])


def mesh_of(devices):
  return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])


@pytest.fixture(scope="module")
def evaluator(baseline):
  also = (Protocol(depth="gt", scale="gt"), Protocol(depth="predicted", root="none"))
  return Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL, also=also, baseline=baseline)


@pytest.fixture(scope="module")
def result(evaluator, truth, prediction):
  return evaluator(replay.variables(prediction), replay.batches(truth, 8), ("replay", "scenes", "test"), resamples=50)


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 1), (1, 21), (2, 6), (4, 4), (4, 40)])
def test_batch_size_and_devices_change_nothing(result, truth, prediction, baseline, devices, batch_size):
  evaluator = Evaluator(replay.Replay(), mesh_of(devices), protocol=PROTOCOL, baseline=baseline)
  other = evaluator(replay.variables(prediction), replay.batches(truth, batch_size), resamples=0)
  assert other.examples == result.examples == COUNT
  assert set(other.metrics) == set(result.metrics)
  for key, value in other.metrics.items():
    assert value == pytest.approx(result.metrics[key], rel=1e-6), key
  assert other.mean_pose == pytest.approx(dict(result.mean_pose), rel=1e-6)
  np.testing.assert_array_equal(other.examples_values["example_id"], 4 * np.arange(COUNT))


def test_the_keys_of_the_answer(result):
  groups = ("all", "single", "interacting", "inter")
  expected = {f"{name}/{group}" for name in ("mpjpe", "pck_auc") for group in groups}
  single = {"mrrpe", "epe2d", "confidence_ece", "bone_asymmetry", "handedness_ap", "handedness_accuracy"}
  assert set(result.metrics) == expected | single
  assert set(result.mean_pose) == expected | {"epe2d"}
  assert set(result.verdicts) == expected | {"epe2d", "mrrpe", "handedness_ap", "handedness_accuracy"}
  assert set(result.units) == set(result.metrics)
  assert result.protocol == str(PROTOCOL)


def test_numbers_are_those_of_the_metrics(result, truth, prediction):
  value, weight = pose.joint_error(PROTOCOL).fn(prediction, truth)
  value, weight = np.asarray(value, np.float64), np.asarray(weight)
  per_joint = (value * weight).sum(0) / weight.sum(0)
  assert result.metrics["mpjpe/all"] == pytest.approx(per_joint.mean(), rel=1e-6)
  np.testing.assert_allclose(result.per_joint["mpjpe/all"], per_joint, rtol=1e-5, atol=1e-6)


def test_the_baseline_is_the_mean_pose_at_the_true_wrist(result, truth, baseline):
  guess = np.asarray(baseline.predict(truth)["joints_cam"])
  error = np.linalg.norm(guess - truth["joints_cam"], axis=-1)
  valid = truth["joints_cam_valid"]
  per_joint = (error * valid).sum(0) / valid.sum(0)
  assert result.mean_pose["mpjpe/all"] == pytest.approx(per_joint.mean(), rel=1e-5)
  assert result.mean_pose["mpjpe/all"] > result.metrics["mpjpe/all"]


def test_other_protocols_are_reported_with_their_baseline(result):
  found = [(entry["method"], "scale=gt" in entry["protocol"]) for entry in result.also]
  poses = [("replay", True), ("replay", False), ("mean_pose", True), ("mean_pose", False)]
  assert found == [*poses, ("commonest hands", False), ("mean wrists", False)]
  by = {(entry["method"], entry["protocol"]): entry["metrics"]["mpjpe/all"] for entry in result.also[:4]}
  assert len(set(by.values())) == 4


def test_the_tables_name_every_scale(result):
  text = io.StringIO()
  result.print(rich.console.Console(file=text, width=160))
  assert "scale=predicted" in text.getvalue()  # of the first table
  assert "scale=gt" in text.getvalue()  # of what stands under other protocols
  alone = dataclasses.replace(result, also=())
  assert alone.protocols() is None


def test_vertices_are_compared_under_every_protocol():
  model = HandModel.default()
  rng = np.random.default_rng(0)
  mano = np.concatenate([rng.normal(0, 0.3, (4, 2, 58)), rng.uniform(300, 500, (4, 2, 3))], -1).astype(np.float32)
  posed = model.forward_mano(mano)
  truth = scenes.truth(count=4) | {
    "joints_cam": posed.keypoints, "joints_cam_valid": np.ones((4, 2, 21), bool), "hand_present": np.ones((4, 2), bool),
    "mano": mano, "mano_valid": np.ones((4, 2), bool),
  }  # fmt: skip
  larger = scenes.prediction(truth, noise=0)
  larger |= {"joints_cam": posed.keypoints * np.float32(1.2), "vertices_cam": posed.vertices * np.float32(1.2)}
  protocol = Protocol(depth="predicted", root="middle1", scale="gt")
  also = (dataclasses.replace(protocol, scale="predicted"),)
  metrics = poses(protocol, model)
  evaluator = Evaluator(replay.Replay(), mesh_of(1), metrics, protocol, also, hand_model=model)
  found = evaluator(replay.variables(larger), replay.batches(truth, 4), resamples=0)
  true, predicted = found.metrics, found.also[0]["metrics"]
  for name in ("mpvpe/all", "mpjpe/all", "placement"):
    assert true[name] == pytest.approx(0, abs=1e-2), name
    assert predicted[name] > 5, name


def test_intervals_contain_the_value_and_shrink(result, evaluator, prediction):
  for key, value in result.metrics.items():
    low, high = result.intervals[key]
    assert low <= value <= high, key
    assert low < high
  larger = scenes.truth(count=12 * COUNT)
  many = {key: np.concatenate([value] * 12) for key, value in prediction.items()}
  many |= scenes.prediction(larger)
  wide = evaluator(replay.variables(many), replay.batches(larger, 84), resamples=50).intervals["mpjpe/all"]
  assert wide[1] - wide[0] < 0.6 * (result.intervals["mpjpe/all"][1] - result.intervals["mpjpe/all"][0])


def test_pictures_of_one_scene_are_resampled_together(truth, prediction):
  """Twenty pictures of one scene are no more evidence than one: every resample then is the same."""
  evaluator = Evaluator(replay.Replay(), mesh_of(1), (pose.mpjpe(PROTOCOL),), PROTOCOL)
  one_scene = truth | {"scene_id": np.full(COUNT, 7, np.int32), "frame": np.arange(COUNT, dtype=np.int32)}
  low, high = evaluator(replay.variables(prediction), replay.batches(one_scene, 7)).intervals["mpjpe/all"]
  assert low == high


def test_intervals_are_those_of_resampled_examples(truth, prediction, baseline):
  """Sums of scenes stand for their examples: the plain bootstrap, which counts every example anew, agrees."""
  scene = np.random.default_rng(3).integers(0, 9, COUNT).astype(np.int32) * 1000
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL)
  found = evaluator(replay.variables(prediction), replay.batches(truth | {"scene_id": scene}, 8), resamples=40)
  values, rng = found.examples_values, np.random.default_rng(0)
  names = np.unique(scene)
  drawn = [names[rng.integers(0, len(names), len(names))] for _ in range(40)]
  measured = [metric for metric in standard(PROTOCOL) if metric.quantity.name in values]
  assert len(measured) > 5
  for metric in measured:
    value, weight = values[metric.quantity.name], values[f"{metric.quantity.name}_weight"]
    for key, group in metric.results().items():
      numbers = []
      for scenes_drawn in drawn:
        rows = np.concatenate([np.flatnonzero((scene == name) & values[f"group_{group}"]) for name in scenes_drawn])
        if len(rows) and weight[rows].any():
          numbers.append(metric.reduce(value[rows], weight[rows]))
      assert found.intervals[key] == pytest.approx(np.percentile(numbers, (2.5, 97.5)), rel=1e-12, abs=1e-12), key


def test_metrics_that_count_nothing_are_left_out(truth, prediction):
  alone = truth | {
    "hand_present": np.array([[True, False]] * COUNT),
    "joints_cam_valid": truth["joints_cam_valid"] & [[[True], [False]]],
  }
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL)
  found = evaluator(replay.variables(prediction), replay.batches(alone, 7))
  assert "mrrpe" not in found.metrics
  assert "mpjpe/interacting" not in found.metrics
  assert found.metrics["mpjpe/all"] == found.metrics["mpjpe/single"]
  assert found.per_joint["mpjpe/all"][1] == [None] * 21


def test_padding_that_is_garbage_cannot_leak(result, truth, prediction, evaluator):
  def poisoned():
    for batch in replay.batches(truth, 8):
      padding = batch["weight"] == 0
      yield batch | {"joints_cam": np.where(padding[:, None, None, None], np.nan, batch["joints_cam"])}

  again = evaluator(replay.variables(prediction), poisoned(), resamples=0)
  assert again.metrics == result.metrics


def test_predictions_that_are_not_finite_are_named(truth, prediction, evaluator):
  joints = prediction["joints_img"].copy()
  joints[3, 0, 5] = np.nan
  broken = prediction | {"joints_img": joints}
  with pytest.raises(ValueError, match=r"_(asymmetry|error) is not finite for 1 examples, the first of them \[12\]"):
    evaluator(replay.variables(broken), replay.batches(truth, 8))


def test_what_is_missing_is_named(truth, prediction):
  lacking = {key: value for key, value in truth.items() if key != "root_depth"}
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL)
  with pytest.raises(ValueError, match=r"'mpjpe' needs \['root_depth'\]"):
    evaluator(replay.variables(prediction), replay.batches(lacking, 7))
  with pytest.raises(ValueError, match="no batches"):
    evaluator(replay.variables(prediction), [])


def test_meshes_are_measured_where_the_system_predicts_them(truth, prediction):
  model = HandModel.default()
  mano = np.random.default_rng(0).normal(0, 0.3, (COUNT, 2, 61)).astype(np.float32)
  truth = truth | {"mano": mano, "mano_valid": truth["hand_present"]}
  evaluator = Evaluator(replay.Replay(), mesh_of(1), standard(PROTOCOL, model), PROTOCOL)
  without = evaluator(replay.variables(prediction), replay.batches(truth, 7), resamples=0)
  assert not any(key.startswith("mpvpe") for key in without.metrics)
  posed = model.forward_mano(mano)
  exact = prediction | {"vertices_cam": posed.vertices, "joints_cam": posed.keypoints}
  found = evaluator(replay.variables(exact), replay.batches(truth, 7))
  assert found.metrics["mpvpe/interacting"] == pytest.approx(0, abs=1e-3)
  mean = mean_pose.MeanPose.fit([truth], model)
  beside = Evaluator(replay.Replay(), mesh_of(1), standard(PROTOCOL, model), PROTOCOL, baseline=mean, hand_model=model)
  found = beside(replay.variables(exact), replay.batches(truth, 7))
  assert found.mean_pose["mpvpe/all"] > 1
  assert found.verdicts["mpvpe/all"]["beside"] == "mean_pose"


def test_a_system_without_poses_has_only_what_it_predicts(truth):
  """Masks, wrists or pictures alone are a prediction; what was asked for by name is an error all the same."""
  prediction = {"root_cam": truth["joints_cam"][:, :, 20]}
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL)
  found = evaluator(replay.variables(prediction), replay.batches(truth, 7))
  assert found.per_joint == {}
  assert not {"mpjpe/all", "mrrpe", "epe2d", "handedness_ap"} & set(found.metrics)
  seen = evaluator.look(replay.variables(prediction), replay.batches(truth, 7))
  assert "lifted/joints_cam" not in seen
  asked = (dataclasses.replace(pose.mpjpe(PROTOCOL), asked=True),)
  with pytest.raises(ValueError, match=r"'mpjpe' needs \['confidence', 'hand_prob', 'joints_img'"):
    Evaluator(replay.Replay(), mesh_of(1), asked)(replay.variables(prediction), replay.batches(truth, 7))


def test_needs_name_what_the_metrics_read(evaluator):
  assert {"example_id", "joints_cam", "root_depth", "hand_present_valid", "scene_id"} <= evaluator.needs
  assert "joints_visible" not in evaluator.needs
  occluded = Protocol(joints="occluded")
  assert "joints_visible" in Evaluator(replay.Replay(), mesh_of(1), poses(occluded), occluded).needs


def test_a_system_that_is_shown_one_hand_is_not_asked_which():
  class OfOneHand(replay.Replay):
    view = "hand"

  pair, hand = (
    {metric.name for part in Evaluator(system, mesh_of(1))._parts for metric in part.metrics}
    for system in (replay.Replay(), OfOneHand())
  )
  assert pair - hand == {"handedness_ap", "handedness_accuracy"}
  assert hand < pair


def test_one_compilation_for_any_variables(truth, prediction, evaluator):
  before = evaluator._predict_jit._cache_size()
  evaluator(replay.variables(scenes.prediction(truth, seed=9)), replay.batches(truth, 8), resamples=0)
  assert evaluator._predict_jit._cache_size() == before


def test_files_are_whole_and_complete(result, tmp_path):
  result.write(tmp_path)
  assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == ["examples.npz", "metrics.json"]
  content = json.loads((tmp_path / "eval" / "metrics.json").read_text())
  assert {"system", "dataset", "split", "protocol", "examples", "metrics", "mean_pose", "also"} <= set(content)
  assert (content["system"], content["dataset"], content["split"]) == ("replay", "scenes", "test")
  assert content["metrics"] == dict(result.metrics)
  with np.load(tmp_path / "eval" / "examples.npz") as values:
    assert values["joint_error"].shape == (COUNT, 2, 21)
    assert set(values) == set(result.examples_values)


def test_the_numbers_can_be_made_again_from_the_file(result, tmp_path):
  result.write(tmp_path)
  with np.load(tmp_path / "eval" / "examples.npz") as values:
    weight = values["joint_error_weight"] * values["group_interacting"][:, None, None]
    again = pose.mpjpe(PROTOCOL).reduce(values["joint_error"], weight)
    labelled, weight = values["hand_prob"], values["hand_prob_weight"]
    assert handedness.average_precision().reduce(labelled, weight) == result.metrics["handedness_ap"]
  assert again == result.metrics["mpjpe/interacting"]


def test_the_table_shows_everything(result):
  text = io.StringIO()
  result.print(rich.console.Console(file=text, width=200))
  for key in result.metrics:
    assert key in text.getvalue()
  assert f"better than the mean pose ({result.mean_pose['mpjpe/all']:.4g})" in text.getvalue()


def test_a_log_has_every_column_whole(result, capsys):
  result.print()
  shown = capsys.readouterr().out
  assert all(key in shown for key in result.metrics)
  assert "…" not in shown


def test_the_main_numbers_are_a_line(result, tmp_path):
  result.write(tmp_path)
  line = headline(json.loads((tmp_path / "eval" / "metrics.json").read_text()))
  value, mean = result.metrics["mpjpe/all"], result.mean_pose["mpjpe/all"]
  assert line.startswith(f"{result.system} on {result.dataset} {result.split}, {result.examples} examples: mpjpe/all ")
  assert f"mpjpe/all {value:.4g} mm, better than the mean pose ({mean:.4g}); " in line
  assert "handedness" not in line


def test_a_look_brings_batch_prediction_and_camera_joints_to_the_host(evaluator, truth, prediction):
  rows = np.array([3, 0, 9])
  some = {key: value[rows] for key, value in truth.items()} | {"example_id": 4 * rows.astype(np.int32)}
  seen = evaluator.look(replay.variables(prediction), replay.batches(some, 2))
  np.testing.assert_array_equal(seen["batch/example_id"], 4 * rows)
  for key, value in prediction.items():
    np.testing.assert_array_equal(seen[f"prediction/{key}"], value[rows])
  lifted = lift.lift({k: v[rows] for k, v in prediction.items()}, some, PROTOCOL.depth, PROTOCOL.left_root)
  np.testing.assert_allclose(seen["lifted/joints_cam"], lifted.joints_cam, rtol=1e-5, atol=1e-3)
  np.testing.assert_array_equal(seen["lifted/valid"], lifted.valid)


def test_a_look_places_a_left_hand_without_a_right_one_by_its_own_depth(evaluator, truth, prediction):
  valid = np.array(truth["root_depth_valid"])
  valid[:, 0], valid[:, 1] = False, True
  alone = truth | {"root_depth_valid": valid}
  assert PROTOCOL.left_root == "relative"
  seen = evaluator.look(replay.variables(prediction), replay.batches(alone, 8))
  own = lift.lift(prediction, alone, PROTOCOL.depth, "own")
  np.testing.assert_array_equal(seen["lifted/valid"], np.array([[False, True]]) & alone["camera_valid"][:, None])
  np.testing.assert_allclose(seen["lifted/joints_cam"], own.joints_cam, rtol=1e-5, atol=1e-3)


def test_a_look_places_hands_by_bones_where_the_system_gives_none_in_space(truth, prediction):
  flat = {key: value for key, value in prediction.items() if key != "joints_cam"}
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=Protocol(depth="place"))
  seen = evaluator.look(replay.variables(flat), replay.batches(truth, 8))
  lifted, own = (lift.lift(flat, truth, "place", root, bones.mean_bones()) for root in (PROTOCOL.left_root, "own"))
  assert lifted.valid.any()
  np.testing.assert_array_equal(seen["lifted/valid"], lifted.valid | own.valid)
  expected = np.where(lifted.valid[..., None, None], lifted.joints_cam, own.joints_cam)
  np.testing.assert_allclose(seen["lifted/joints_cam"], expected, rtol=1e-3, atol=0.1)


def test_examples_keep_their_overlap_and_the_mean_pose_errors(result, truth, baseline):
  values = result.examples_values
  expected = overlap.overlap(truth)
  np.testing.assert_allclose(values["overlap"], expected.overlap, rtol=1e-6)
  np.testing.assert_array_equal(values["overlap_known"], truth["hand_present"].all(1))
  assert not values["overlap_from_masks"].any()
  guess = np.asarray(baseline.predict(truth)["joints_cam"])
  error = np.where(truth["joints_cam_valid"], np.linalg.norm(guess - truth["joints_cam"], axis=-1), 0)
  np.testing.assert_allclose(values["mean_pose_joint_error"], error, rtol=1e-4, atol=1e-3)
  np.testing.assert_array_equal(values["mean_pose_joint_error_weight"], truth["joints_cam_valid"])


class Moved(replay.Replay):
  """The same with the left hands' fingers elsewhere: worse, and in pictures of right hands alone the same."""

  def predict(self, variables, batch, rng):
    found = super().predict(variables, batch, rng)
    moved = np.zeros((2, 21), np.float32)
    moved[1, :20] = 40.0
    return found | {"joints_rel_depth": found["joints_rel_depth"] + moved}


def test_methods_stand_beside_with_intervals_of_their_differences(truth, prediction, result):
  methods = {"same": replay.Replay(), "moved": Moved()}
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL, methods=methods)
  found = evaluator(replay.variables(prediction), replay.batches(truth, 8), resamples=50)
  assert found.metrics == pytest.approx(dict(result.metrics), rel=1e-6)
  same, moved = found.also[:2]
  assert (same["method"], moved["method"]) == ("same", "moved")
  assert same["metrics"] == found.metrics
  assert set(map(tuple, same["differences"].values())) == {(0.0, 0.0)}
  alone = Evaluator(Moved(), mesh_of(1), protocol=PROTOCOL)(replay.variables(prediction), replay.batches(truth, 8))
  assert moved["metrics"] == pytest.approx(dict(alone.metrics), rel=1e-6)
  low, high = moved["differences"]["mpjpe/interacting"]
  assert 0 < low <= moved["metrics"]["mpjpe/interacting"] - found.metrics["mpjpe/interacting"] <= high
  # Pairs of the same scenes: narrower than if the two had nothing to do with each other.
  width = {name: np.diff(entry.intervals["mpjpe/all"])[0] for name, entry in (("moved", alone), ("own", found))}
  assert np.diff(moved["differences"]["mpjpe/all"])[0] < np.hypot(*width.values())
  console = rich.console.Console(file=io.StringIO(), width=200)
  found.print(console)
  assert "with other fields" in console.file.getvalue()


class Broken(replay.Replay):
  """The same, but that one coordinate in the second example is no number."""

  def predict(self, variables, batch, rng):
    found = super().predict(variables, batch, rng)
    hit = (batch["example_id"] == 4)[:, None, None]
    return found | {"joints_rel_depth": jnp.where(hit, jnp.nan, found["joints_rel_depth"])}


def test_a_method_that_is_not_finite_is_named(truth, prediction):
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL, methods={"broken": Broken()})
  with pytest.raises(ValueError, match=r"of method 'broken' is not finite for 1 examples, the first of them \[4\]"):
    evaluator(replay.variables(prediction), replay.batches(truth, 8), resamples=0)
