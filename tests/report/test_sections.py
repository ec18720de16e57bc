"""What sections make of the values of all examples."""

import re

import numpy as np
import pytest

from jaxhands.report import ablations, pictures, sections
from jaxhands.report.files import RunFiles


def run(values, **result):
  empty = {"per_joint": {}, "metrics": {}, "mean_pose": {}}
  return RunFiles(config={}, lines={}, result=empty | result, values=values, shown={})


def errors(count=40, seed=0):
  rng = np.random.default_rng(seed)
  error = rng.gamma(2, 8, (count, 2, 21)).astype(np.float32)
  weight = (rng.random((count, 2, 21)) < 0.7).astype(np.float32)
  weight[:, 1, 3] = 0
  return error, weight


def test_shares_are_those_of_counting():
  error, weight = errors()
  error[0, 0, 0], weight[0, 0, 0] = 7.0, 1.0  # exactly at a distance counts
  found = sections._shares_within(error, weight)
  for threshold in (0, 1, 7, 23, 50):
    per_joint = ((error <= threshold) * weight).sum(0) / np.maximum(weight.sum(0), 1)
    np.testing.assert_allclose(found[threshold], per_joint[weight.any(0)].mean(), rtol=1e-6)
  assert len(found) == 51


def test_correct_joints_are_counted_by_groups_beside_the_mean_pose():
  error, weight = errors()
  single = np.arange(40) % 3 == 0
  values = {
    "joint_error": error, "joint_error_weight": weight, "mean_pose_joint_error": 2 * error,
    "mean_pose_joint_error_weight": weight, "group_single": single, "group_interacting": ~single,
  }  # fmt: skip
  areas = {"pck_auc/all": 0.61, "pck_auc/interacting": 0.52}
  text = sections.closeness(run(values, metrics=areas, mean_pose={"pck_auc/all": 0.25}))
  ends = dict(re.findall(r"<title>([^<]+?) ([\d.]+) at mm from the truth 50</title>", text))
  assert list(ends) == ["all", "one hand", "two hands", "mean pose"]
  for name, chosen, factor in (("one hand", single, 1), ("two hands", ~single, 1), ("mean pose", single | True, 2)):
    counted = weight * chosen[:, None, None]
    shares = ((factor * error <= 50) * counted).sum(0) / np.maximum(counted.sum(0), 1)
    assert float(ends[name]) == pytest.approx(shares[counted.any(0)].mean(), rel=5e-3), name
  assert "Area under the curve: all 0.610 (mean pose 0.250), two hands 0.520." in text
  # Where all pictures are of two hands, one curve says it.
  values |= {"group_single": ~single & single, "group_interacting": single | True}
  assert re.findall(r"<title>([^<]+?) [\d.]+ at mm from the truth 50<", sections.closeness(run(values))) == [
    "all", "mean pose",
  ]  # fmt: skip


def overlap_text(amount, known, single):
  values = {
    "joint_error": np.arange(1.0, len(amount) + 1)[:, None, None] * np.ones((1, 2, 21)),
    "joint_error_weight": np.ones((len(amount), 2, 21)),
    "overlap": np.array(amount, np.float32),
    "overlap_known": np.array(known),
    "overlap_from_masks": np.array(known),
    "group_single": np.array(single),
  }
  text = sections.overlap(run(values))
  return text and re.findall(r"<text[^>]*>([^<]*)</text>", text)


def test_every_picture_is_in_one_bin_of_overlap():
  amount = [0.0, 0.0, 0.0, 0.05, 1 / 6, 0.4, 0.9, 1.0]
  known = [False, False, True, True, True, True, True, True]
  single = [True, True, False, False, False, False, False, False]
  found = overlap_text(amount, known, single)
  rows = [tuple(found[at : at + 3]) for at in range(2, len(found), 3)]
  assert rows == [
    ("one hand", "1.50", "2"),
    ("no overlap", "3.00", "1"),
    ("0 – 17 %", "4.50", "2"),
    ("33 – 50 %", "6.00", "1"),
    ("67 – 100 %", "7.50", "2"),
  ]


def test_without_pairs_there_is_no_overlap_to_tell():
  assert overlap_text([0.0] * 3, [False] * 3, [True] * 3) is None
  assert sections.overlap(run({})) is None


def test_sections_are_none_without_their_data():
  assert sections.closeness(run({})) is None
  assert sections.joints(run({}, per_joint={"mpjpe/all": [[None] * 21] * 2})) is None
  assert sections.training(run({})) is None
  assert sections.configuration(run({})) is None
  assert pictures.at_random(run({})) is None
  assert pictures.worst(run({})) is None


def test_stages_are_drawn_beside_their_own_mean_pose():
  lines = [{"step": step, "eval/mpjpe/all": 20.0 - step} for step in (4.0, 8.0)]

  def result(mean):
    return {"metrics": {"mpjpe/all": 12.0}, "mean_pose": {"mpjpe/all": mean}, "units": {"mpjpe/all": "mm"}}

  files = RunFiles(
    config={"stages": ["first", "second", "last"]}, lines=dict.fromkeys(("first", "second", "last"), lines),
    result=result(17.5), values={}, shown={}, parts={"first": result(33.25)},
  )  # fmt: skip
  charts = sections.training(files).split("<h3>")[1:]
  dashed = [re.findall(r"<title>mean pose ([\d.]+) at", chart) for chart in charts]
  assert [set(found) for found in dashed] == [{"33.2"}, set(), {"17.5"}]


def test_parts_show_what_is_asked_for_first_of_each_stage():
  def stage(metrics, mean_pose=()):
    return {
      "metrics": metrics, "mean_pose": dict(mean_pose), "units": dict.fromkeys(metrics, "mm"), "dataset": "some",
      "split": "val",
      "intervals": {key: (value - 1, value + 1) for key, value in metrics.items()},
      "verdicts": {
        key: {"kind": "worse", "beside": "mean_pose", "baseline": value, "more": (-3, -2)}
        for key, value in dict(mean_pose).items()
      },
    }  # fmt: skip

  parts = {
    "masks": stage({"other": 9.0, "iou/invisible": 3.0, "iou/visible": 2.0, "box_iou/all": 4.0, "iou/amodal": 5.0}),
    "pose_net": stage({"mpjpe/all": 7.0}, {"mpjpe/all": 6.5}),
  }
  text = ablations.parts(RunFiles(config={}, lines={}, result={}, values={}, shown={}, parts=parts))
  body = text[text.index("<tbody>") : text.index("</tbody>")]
  rows = [re.sub("<[^>]*>", " ", row).split() for row in body.split("</tr>")[:-1]]
  assert [row[0] for row in rows] == ["masks", "IoU", "IoU", "pose"]
  assert [[float(word) for word in row if word[0].isdigit()] for row in rows] == [
    [5, 4, 6], [2, 1, 3], [3, 2, 4], [7, 6, 8],
  ]  # fmt: skip
  assert [" ".join(row[-6:]) for row in rows][-1] == "worse than the mean pose (6.50)"
  assert ablations.parts(RunFiles(config={}, lines={}, result={}, values={}, shown={})) is None
