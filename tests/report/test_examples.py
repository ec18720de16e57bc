"""Which examples are shown: random ones whatever was predicted, and the worst."""

import numpy as np

from jaxhands.report import examples


def values(count=30, seed=0):
  rng = np.random.default_rng(seed)
  error = rng.gamma(2, 5, (count, 2, 21)).astype(np.float32)
  weight = (rng.random((count, 2, 21)) < 0.8).astype(np.float32)
  return {
    "example_id": 4 * np.arange(count, dtype=np.int32),
    "joint_error": error * weight,
    "joint_error_weight": weight,
  }


def test_random_ones_do_not_depend_on_the_predictions():
  one, other = (examples.choose(values(seed=seed)) for seed in (0, 1))
  assert one.positions[~one.worst].tolist() == other.positions[~other.worst].tolist()
  assert one.positions[one.worst].tolist() != other.positions[other.worst].tolist()
  assert len(set(one.positions[~one.worst].tolist())) == examples.RANDOM
  assert examples.choose(values(), seed=1).positions.tolist() != one.positions.tolist()


def test_the_worst_come_first():
  found = values()
  chosen = examples.choose(found, random=0, worst=5)
  mean = [
    error[weight > 0].mean() for error, weight in zip(found["joint_error"], found["joint_error_weight"], strict=True)
  ]
  np.testing.assert_array_equal(chosen.positions, np.argsort(mean)[::-1][:5])
  assert chosen.worst.all()


def test_examples_without_an_error_are_never_the_worst():
  found = values(count=4)
  found["joint_error_weight"][2] = 0
  chosen = examples.choose(found, random=0)
  assert sorted(chosen.positions[chosen.worst].tolist()) == [0, 1, 3]
  assert examples.choose(found).positions.tolist() == [0, 1, 2, 3]


def test_no_record_is_shown_twice():
  found = values(count=40)
  found["example_id"] = 4 * (np.arange(40, dtype=np.int32) // 2) + 1 + np.arange(40, dtype=np.int32) % 2  # both hands
  chosen = examples.choose(found, random=8, worst=6)
  records = (found["example_id"][chosen.positions] // 4).tolist()
  assert len(records) == len(set(records)) == 14
  error = examples.example_errors(found)[0]
  others = ~np.isin(found["example_id"] // 4, records[:8])
  assert error[chosen.positions[8]] == error[others].max()


def test_other_errors_serve_where_joints_have_none():
  found = {
    "example_id": np.arange(3),
    "pixel_error": np.ones((3, 2, 21)) * [[[1]], [[5]], [[3]]],
    "pixel_error_weight": np.ones((3, 2, 21)),
  }
  errors, unit = examples.example_errors(found)
  assert (errors.tolist(), unit) == ([1, 5, 3], "px")
  nothing = examples.choose({"example_id": np.arange(3)})
  assert not nothing.worst.any()


def test_what_is_least_like_the_truth_is_the_worst_where_there_is_no_error():
  found = {
    "example_id": 4 * np.arange(4),
    "psnr": np.array([[30.0, 0], [12, 0], [20, 0], [5, 0]]),
    "psnr_weight": np.array([[1.0, 0], [1, 0], [1, 0], [0, 0]]),
  }
  chosen = examples.choose(found, random=0)
  np.testing.assert_array_equal(chosen.positions, [1, 2, 0])
  assert np.isnan(examples.example_errors(found)[0]).all()


def test_saved_whole(tmp_path):
  chosen = examples.choose(values())
  seen = {"batch/image": np.zeros((12, 4, 4, 3), np.uint8)}
  examples.save(tmp_path / "shown.npz", chosen, seen)
  with np.load(tmp_path / "shown.npz") as file:
    np.testing.assert_array_equal(file["position"], chosen.positions)
    np.testing.assert_array_equal(file["batch/image"], seen["batch/image"])
  assert [path.name for path in tmp_path.iterdir()] == ["shown.npz"]
