"""Paired comparison of runs: arithmetic, chance, what is refused, and how it reads."""

import dataclasses
import json

import numpy as np
import pytest

from jaxhands import cli
from jaxhands.evaluation import compare
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.runs.folder import DamagedFile

COUNT, SCENES = 240, 40


def run_of(folder, shift=0.0, noise=4.0, seed=1, count=COUNT, scenes=SCENES, protocol=None, **changes):
  """A made-up evaluation: errors of truth and system are noise of pictures and of scenes; `shift` is added to all."""
  rng, own = np.random.default_rng(0), np.random.default_rng(seed)
  scene = np.arange(count) % scenes
  present = np.array([[True, True], [True, False], [False, True]])[np.arange(count) % 3]
  weight = np.repeat(present[..., None], 21, -1).astype(np.float32)
  error = 20 + rng.normal(0, 3, scenes)[scene][:, None, None] + rng.normal(0, 3, (count, 2, 21))
  error = error + own.normal(0, noise, scenes)[scene][:, None, None] + own.normal(0, 1, (count, 2, 21)) + shift
  both = present.all(-1)
  values = {
    "example_id": 4 * np.arange(count, dtype=np.int32),
    "record_hash": np.arange(count, dtype=np.int32) * 7919,
    "scene_id": scene.astype(np.int32),
    "group_all": np.ones(count, bool),
    "group_single": ~both,
    "group_interacting": both,
    "group_inter": both,
    "joint_error": error.astype(np.float32),
    "joint_error_weight": weight,
    "root_error": np.abs(error[:, 0, 20]).astype(np.float32),
    "root_error_weight": both.astype(np.float32),
    "hand_prob": np.stack([np.clip(0.5 + 0.3 * (present - 0.5) + own.normal(0, 0.2, (count, 2)), 0, 1), present], -1),
    "hand_prob_weight": np.ones((count, 2), np.float32),
  } | changes
  result = {"protocol": str(protocol or Protocol()), "dataset": "made-up", "split": "val", "system": "toy"}
  (folder / "eval").mkdir(parents=True)
  np.savez(folder / "eval" / "examples.npz", **values)
  (folder / "eval" / "metrics.json").write_text(json.dumps(result))
  return folder


def both(tmp_path, a=None, b=None):
  return tuple(
    compare.Evaluated.read(run_of(tmp_path / name, **(options or {}))) for name, options in (("a", a), ("b", b))
  )


def by_key(found):
  return {row.key: row for row in found}


def test_values_and_differences_are_those_of_the_runs(tmp_path):
  a, b = both(tmp_path, {"seed": 1}, {"seed": 2, "shift": 1.5})
  found = by_key(compare.compare(a, b, resamples=200))
  assert {"mpjpe/all", "mpjpe/single", "mpjpe/interacting", "mrrpe", "handedness_ap"} <= set(found)
  for run, side in ((a, "a"), (b, "b")):
    error, weight = run.values["joint_error"], run.values["joint_error_weight"]
    per_joint = (error * weight).sum(0, dtype=np.float64) / weight.sum(0)
    assert getattr(found["mpjpe/all"], side) == pytest.approx(per_joint.mean(), rel=1e-6)
  for row in found.values():
    assert row.difference == pytest.approx(row.a - row.b)
    assert row.interval[0] <= row.difference <= row.interval[1]
    assert 0 < row.p <= 1
  assert (found["mrrpe"].scenes, found["mrrpe"].examples) == (SCENES, COUNT // 3)


def test_metrics_of_recovered_pictures_are_compared(tmp_path):
  hidden = (np.arange(2 * COUNT).reshape(COUNT, 2) % 4 == 0).astype(np.float32)
  values = {"psnr": 20 + hidden, "ssim": 0.5 * hidden, "perceptual": 2 * hidden}
  stored = values | {f"{name}_weight": hidden for name in values}
  a, b = both(tmp_path, stored, stored | {"psnr": values["psnr"] + 1.5})
  found = by_key(compare.compare(a, b, list(values), resamples=100))
  assert {key: (row.a, row.better) for key, row in found.items()} == {
    "psnr": (21, "higher"), "ssim": (0.5, "higher"), "perceptual": (2, "lower"),
  }  # fmt: skip
  assert [row.difference for row in found.values()] == [-1.5, 0, 0]
  assert found["psnr"].interval == (-1.5, -1.5)
  assert {row.examples for row in found.values()} == {COUNT // 2}


def test_the_order_of_the_examples_does_not_matter(tmp_path):
  a, b = both(tmp_path, {"seed": 1}, {"seed": 2})
  turned = np.random.default_rng(5).permutation(COUNT)
  mixed = dataclasses.replace(b, values={key: value[turned] for key, value in b.values.items()})
  plain, other = (compare.compare(a, run, ["mpjpe"], resamples=100) for run in (b, mixed))
  for first, second in zip(plain, other, strict=True):
    assert first.difference == pytest.approx(second.difference, rel=1e-12)
    assert first.p == second.p
    assert first.interval == pytest.approx(second.interval, rel=1e-9)


def test_a_run_equals_itself(tmp_path):
  a, _ = both(tmp_path)
  for row in compare.compare(a, a, resamples=200):
    assert (row.difference, row.interval, row.p) == (0, (0, 0), 1)


def test_sums_of_scenes_are_the_plain_bootstrap_and_exchange(tmp_path):
  """The quick way for means agrees with recomputing everything from the examples."""
  a, b = both(tmp_path, {"seed": 1, "count": 60, "scenes": 12}, {"seed": 2, "count": 60, "scenes": 12})
  scenes = a.values["scene_id"]
  metric = compare.metrics.standard(a.protocol())[0]
  sides = [(run.values["joint_error"].astype(float), run.values["joint_error_weight"].astype(float)) for run in (a, b)]
  quick = compare._of_means(metric, sides, scenes, 12)
  plain = compare._OfExamples(metric, sides, scenes)
  rng = np.random.default_rng(0)
  counts = compare._counts(rng, 20, 12)
  assert (counts.sum(1) == 12).all()
  np.testing.assert_allclose(quick.resampled(counts), plain.resampled(counts), rtol=1e-9)
  swapped = rng.random((20, 12)) < 0.5
  np.testing.assert_allclose(quick.exchanged(swapped), plain.exchanged(swapped), rtol=1e-9, atol=1e-12)
  assert plain.exchanged(np.ones((1, 12), bool))[0] == pytest.approx(-plain.exchanged(np.zeros((1, 12), bool))[0])


def test_p_is_uniform_where_the_runs_are_equally_good(tmp_path):
  """Of many pairs without a difference, a share of about p has at most p; a real difference is found."""
  found = []
  for number in range(60):
    a, b = both(tmp_path / str(number), {"seed": 2 * number + 10}, {"seed": 2 * number + 11})
    found.append(by_key(compare.compare(a, b, ["mpjpe/all"], resamples=199))["mpjpe/all"])
  p = np.array([row.p for row in found])
  assert abs((p < 0.5).mean() - 0.5) < 0.2
  assert (p < 0.05).mean() < 0.15
  covered = np.mean([row.interval[0] <= 0 <= row.interval[1] for row in found])
  assert covered > 0.8
  a, b = both(tmp_path / "better", {"seed": 3, "shift": -4}, {"seed": 4})
  row = by_key(compare.compare(a, b, ["mpjpe/all"], resamples=999))["mpjpe/all"]
  assert row.p < 0.01
  assert row.interval[1] < 0


def test_pictures_of_one_scene_are_one_piece_of_evidence(tmp_path):
  """The same pictures in fewer scenes: the interval widens, and with four scenes p cannot be small."""
  pairs = {}
  for scenes in (4, 240):
    options = {"scenes": scenes, "noise": 0.0}
    pairs[scenes] = both(tmp_path / str(scenes), {"seed": 1, **options}, {"seed": 2, "shift": 1.0, **options})
  few, many = (by_key(compare.compare(*pairs[scenes], ["mpjpe/all"]))["mpjpe/all"] for scenes in (4, 240))
  assert few.p == pytest.approx(
    2 / 2**4
  )  # all 16 exchanges were tried; the observed one and its mirror are the largest
  assert many.p < 0.001


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      {"count": 230},
      r"examples differ, .*a on made-up val and .*b on made-up val: 10 only in the first, 0 only in the",
    ),
    ({"record_hash": np.arange(COUNT, dtype=np.int32)}, "239 have the same id, but are of other pictures or boxes"),
    ({"protocol": Protocol(depth="rootnet")}, "other protocols: depth gt and rootnet"),
    ({"example_id": np.zeros(COUNT, np.int32), "record_hash": np.zeros(COUNT, np.int32)}, "239 examples twice"),
  ],
)
def test_runs_that_do_not_compare_are_refused_with_the_reason(tmp_path, change, message):
  a, b = both(tmp_path, {}, change)
  with pytest.raises(ValueError, match=message):
    compare.compare(a, b)


def test_what_cannot_be_read_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="evaluate the run first"):
    compare.Evaluated.read(tmp_path)
  run_of(tmp_path / "a")
  with np.load(tmp_path / "a" / "eval" / "examples.npz") as file:
    old = {key: file[key] for key in file.files if key != "record_hash"}
  np.savez(tmp_path / "a" / "eval" / "examples.npz", **old)
  with pytest.raises(ValueError, match=r"has no \['record_hash'\]; evaluate the run again"):
    compare.Evaluated.read(tmp_path / "a")


def test_the_command_prints_a_table_and_writes_it(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")
  run_of(tmp_path / "a", seed=1)
  run_of(tmp_path / "b", seed=2, shift=5)
  arguments = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--resamples", "200"]
  assert cli.main([*arguments, "--json", str(tmp_path / "found.json"), "--metrics", "mpjpe", "mrrpe"]) == 0
  printed = capsys.readouterr().out
  assert "mpjpe/interacting" in printed
  assert "depth=gt" in printed
  content = json.loads((tmp_path / "found.json").read_text())
  assert {row["key"].split("/")[0] for row in content["differences"]} == {"mpjpe", "mrrpe"}
  assert cli.main([*arguments, "--metrics", "mpjpee"]) == 1
  assert "neither run has the metric 'mpjpee'" in capsys.readouterr().err
  assert cli.main([*arguments[:-1], "0"]) == 1
  assert "--resamples is 0" in capsys.readouterr().err


def test_what_one_run_leaves_out_is_left_out_of_the_other(tmp_path):
  """A run that counts easy pictures alone is not better for it, and it is said how many are missing."""
  hard = np.arange(COUNT) % SCENES >= 20
  error = 20 + np.random.default_rng(0).normal(0, 2, (COUNT, 2, 21)) + 20 * hard[:, None, None]
  weight = np.ones((COUNT, 2, 21), np.float32)
  easy = weight * ~hard[:, None, None]
  a, b = both(
    tmp_path,
    {"joint_error": error.astype(np.float32), "joint_error_weight": weight},
    {"joint_error": ((error + 3) * easy).astype(np.float32), "joint_error_weight": easy},
  )
  (row,) = compare.compare(a, b, ["mpjpe/all"], resamples=200)
  assert row.a == pytest.approx(error[~hard].mean(), rel=1e-6)
  assert row.difference == pytest.approx(-3, abs=1e-4)
  assert row.interval == pytest.approx((-3, -3), abs=1e-4)
  assert (row.examples, row.left_out, row.scenes) == (COUNT // 2, COUNT // 2, SCENES // 2)
  assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--resamples", "50"]) == 0


def test_metrics_are_named_by_family_metric_or_result(tmp_path):
  extra = {f"mmd_{name}{end}": np.ones(COUNT, np.float32) for name in ("rr", "global") for end in ("", "_weight")}
  a, b = both(tmp_path, extra, extra)
  for names, expected in (
    (["mmd"], {"mmd/global", "mmd/rr"}), (["mmd/rr"], {"mmd/rr"}),
    (["mrrpe", "mmd"], {"mrrpe", "mmd/global", "mmd/rr"}),
  ):  # fmt: skip
    assert {row.key for row in compare.compare(a, b, names, resamples=20)} == expected


def test_no_run_is_called_better_of_few_scenes(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")
  for scenes in (3, 12):
    folder = tmp_path / str(scenes)
    a, b = both(folder, {"scenes": scenes, "noise": 0.0}, {"scenes": scenes, "noise": 0.0, "seed": 2, "shift": -5})
    found = compare.compare(a, b, ["mpjpe/all"], resamples=100)
    assert found[0].interval[0] > 0
    better = list(compare.table(a, b, found).columns[6].cells)
    assert better == (["B"] if scenes == 12 else [""])
  folders = (str(tmp_path / "3" / name) for name in "ab")
  assert cli.main(["compare", *folders, "--resamples", "50", "--metrics", "mpjpe/all"]) == 0
  assert "Only 3 scenes: of fewer than 10, no run is called better" in capsys.readouterr().out


@pytest.mark.parametrize("change", [
  {"protocol": 3}, {"protocol": [1]}, {"dataset": None}, {"split": 1}, {"protocol": "a=b"},
  {"protocol": str(Protocol()).replace("per_joint", "median")},
])  # fmt: skip
def test_damaged_answers_are_one_line(tmp_path, capsys, change):
  run_of(tmp_path / "a")
  run_of(tmp_path / "b")
  for name in "ab":
    path = tmp_path / name / "eval" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
  assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
  said = capsys.readouterr().err
  assert str(tmp_path / "a") in said
  assert "evaluate" in said


@pytest.mark.parametrize("change", [
  {"group_all": None}, {"group_single": np.ones(COUNT, np.float32)}, {"joint_error": np.zeros((3, 2, 21), np.float32)},
  {"example_id": np.array(["a"] * COUNT)}, {"example_id": np.arange(3)}, {"example_id": np.float32(1)},
  {"scene_id": np.zeros((COUNT, 1), np.int32)}, {"joint_error": np.zeros((COUNT, 2, 20), np.float32)},
  {"joint_error_weight": np.array([["a"] * 2] * COUNT)},
], ids=lambda change: "{}-{}".format(*next((k, getattr(v, "shape", "none")) for k, v in change.items())))  # fmt: skip
def test_damaged_values_are_named(tmp_path, change):
  run_of(tmp_path / "a")
  path = tmp_path / "a" / "eval" / "examples.npz"
  with np.load(path) as file:
    values = dict(file) | change
  np.savez(path, **{key: value for key, value in values.items() if value is not None})
  with pytest.raises(DamagedFile, match=r"examples\.npz is damaged.*; evaluate the run again, with --mode=eval"):
    compare.Evaluated.read(tmp_path / "a").check()


def test_values_of_other_shapes_are_named(tmp_path):
  other = {
    "joint_error": np.zeros((COUNT, 2, 20), np.float32),
    "joint_error_weight": np.ones((COUNT, 2, 20), np.float32),
  }
  with pytest.raises(ValueError, match=r"joint_error of an example has shape \(2, 21\) in .*a and \(2, 20\) in .*b"):
    compare.compare(*both(tmp_path, {}, other))
