"""The finder's targets, losses and boxes against what they mean; where it looks in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import finder as config_of
from jaxhands.geometry import boxes, crop
from jaxhands.schema import LEFT, RIGHT
from jaxhands.systems import construct
from jaxhands.systems.finder import Finder, Whole, Windows
from tests.contract import records

SYSTEM = Finder(crop_hw=(64, 96), width=4, features=8)
CELL = 8


def _batch(*places):
  """Hands whose joints fill boxes (x, y, w, h) exactly, (right, left) of each example; the crop is the picture."""
  joints, valid = np.zeros((len(places), 2, 21, 2), np.float32), np.zeros((len(places), 2, 21), bool)
  rng = np.random.default_rng(0)
  for row, hands in enumerate(places):
    for side, place in enumerate(hands):
      if place is not None:
        x, y, w, h = place
        joints[row, side] = rng.uniform((x, y), (x + w, y + h), (21, 2))
        joints[row, side, :2] = (x, y), (x + w, y + h)
        valid[row, side] = True
  affine = np.repeat(np.eye(2, 3, dtype=np.float32)[None], len(places), 0)
  return {"joints_img": joints, "joints_img_valid": valid, "crop_from_img": affine}


def _grown(place):
  x, y, w, h = place
  return np.array([x - 0.1 * w, y - 0.1 * h, 1.2 * w, 1.2 * h])


def test_targets_stand_at_the_middle_of_each_hand():
  right, left = (8, 16, 20, 16), (48, 24, 28, 30)
  found = jax.device_get(SYSTEM.targets(_batch((right, left), (None, None))))
  assert found["hand"].shape == (2, *SYSTEM.grid_hw) == (2, 8, 12)
  for side, (x, y, w, h) in enumerate((right, left)):
    column, row = int((x + w / 2 + 0.5) // CELL), int((y + h / 2 + 0.5) // CELL)
    assert found["hand"][0, row, column] == 1
    assert found["right"][0, row, column] == (side == RIGHT)
    np.testing.assert_allclose(found["boxes"][0, row, column], _grown((x, y, w, h)), rtol=1e-5)
  assert (found["hand"][0] == 1).sum() == 2
  assert not found["hand"][1].any()
  assert found["asked"].all()


def test_nothing_is_asked_of_hands_that_are_small_or_only_partly_there():
  tiny, cut, beyond = (20, 20, 5, 6), (80, 20, 50, 30), (200, 200, 30, 30)
  found = jax.device_get(SYSTEM.targets(_batch((tiny, None), (None, cut), (beyond, None))))
  assert not found["hand"].any()
  rows, columns = np.nonzero(~found["asked"][0])
  assert len(rows)
  assert (np.abs(rows * CELL + 3.5 - 23) <= 3.6 + CELL).all()
  assert (np.abs(columns * CELL + 3.5 - 22.5) <= 3 + CELL).all()
  assert not found["asked"][1, 4, -1]
  assert found["asked"][1, :, :6].all()
  assert found["asked"][2].all()


def test_boxes_come_from_the_distances_of_their_sides():
  sides = np.log(np.array([1.0, 0.5, 2.0, 1.5], np.float32)) * np.ones((1, 8, 12, 1), np.float32)
  found = np.asarray(SYSTEM.boxes(sides))
  np.testing.assert_allclose(found[0, 2, 3], [3 * CELL + 3.5 - 8, 2 * CELL + 3.5 - 4, 24, 16], rtol=1e-5)


def _answer(targets, sure=8.0):
  """Scores that are the targets."""
  rows, columns = np.mgrid[: SYSTEM.grid_hw[0], : SYSTEM.grid_hw[1]] * CELL + 3.5
  x, y, w, h = np.moveaxis(np.asarray(targets["boxes"]), -1, 0)
  distances = np.stack([columns - x, rows - y, x + w - columns, y + h - rows], -1)
  return {
    "hand": jnp.asarray(np.where(targets["hand"] == 1, sure, -sure)),
    "right": jnp.asarray(np.where(targets["right"], sure, -sure)),
    "sides": jnp.asarray(np.log(np.maximum(distances, 1e-3) / CELL)),
  }


def test_losses_are_small_for_the_truth_alone():
  targets = jax.device_get(SYSTEM.targets(_batch(((8, 16, 20, 16), (48, 24, 28, 30)), (None, None))))
  right = _answer(targets)
  best = {name: np.asarray(value) for name, value in SYSTEM.loss_values(right, targets).items()}
  # A cell beyond the edge of a flat box cannot be right.
  assert all((value < 1e-2).all() for value in best.values())
  nothing = SYSTEM.loss_values(right | {"hand": right["hand"] * 0 - 8}, targets)
  assert nothing["centre"][0] > 5
  assert nothing["centre"][1] < 1e-3
  everywhere = SYSTEM.loss_values(right | {"hand": right["hand"] * 0 + 8}, targets)
  assert (everywhere["centre"] > 100).all()
  other = SYSTEM.loss_values(right | {"right": -right["right"]}, targets)
  assert other["side"][0] == pytest.approx(0.5 * 8, rel=0.01)
  assert other["side"][1] == 0
  half = SYSTEM.loss_values(right | {"sides": right["sides"] - np.log(2)}, targets)
  assert half["box"][0] == pytest.approx(0.75, abs=0.01)  # a quarter of the area


def test_predictions_are_the_highest_cells(monkeypatch):
  places = ((8, 16, 20, 16), (48, 24, 28, 30))
  targets = jax.device_get(SYSTEM.targets(_batch(places, (None, None))))
  scores = _answer(targets)

  class Known:
    def apply(self, variables, image, train):
      return scores

  monkeypatch.setattr(Finder, "network", Known())
  found = jax.device_get(SYSTEM.predict({}, {"image": np.zeros((2, 64, 96, 3), np.float32)}, jax.random.key(0)))
  assert found["boxes"].shape == (2, SYSTEM.candidates, 4)
  assert found["boxes_prob"].shape == (2, SYSTEM.candidates, 2)
  first = found["boxes"][0, :2]
  for side, place in enumerate(places):
    row = int(boxes.iou(first, _grown(place)).argmax())
    np.testing.assert_allclose(first[row], _grown(place), atol=1e-3)
    assert found["boxes_prob"][0, row, side] > 0.99
    assert found["boxes_prob"][0, row, 1 - side] < 0.01
  assert (found["boxes_prob"][0, 2:] < 0.01).all()
  assert (found["boxes_prob"][1] < 0.01).all()


def test_training_looks_at_whole_pictures_at_hands_and_anywhere():
  record = {**records.record(0), "view": "pair"}
  ops = SYSTEM.host_ops(True)
  example = record
  for op in ops[:2]:
    example = op(example, np.random.default_rng(0))
  assert isinstance(ops[2], Whole)
  whole = ops[2](example, np.random.default_rng(0))
  height, width = records.PICTURE_HW
  np.testing.assert_array_equal(whole["box_img"], [-0.5, -0.5, width, height])
  untold = example | {"joints_img_valid": np.zeros((2, 21), bool)}
  np.testing.assert_array_equal(ops[2](untold, np.random.default_rng(0))["box_img"], example["box_img"])
  own = np.asarray(crop.box_around(example["joints_img"], example["joints_img_valid"]))
  kinds = []
  for seed in range(300):
    box = Windows()(whole, np.random.default_rng(seed))["box_img"]
    middle = box[:2] + box[2:] / 2
    assert (middle >= -1e-3).all()
    assert (middle <= np.array([width, height]) + 1e-3).all()
    near = [side for side in (RIGHT, LEFT) if 1.05 < box[2] / own[side, 2:].max() < 4.6]
    kinds.append("whole" if np.array_equal(box, whole["box_img"]) else "near" if near else "else")
  assert 80 < kinds.count("whole") < 160
  assert kinds.count("near") > 90


def test_a_hand_of_which_one_joint_is_known_has_no_window():
  record = {**records.record(0), "view": "pair"}
  example = record
  for op in SYSTEM.host_ops(True)[:2]:
    example = op(example, np.random.default_rng(0))
  alone = example | {"joints_img_valid": np.arange(42).reshape(2, 21) == 20}
  assert all((Windows()(alone, np.random.default_rng(seed))["box_img"][2:] > 10).all() for seed in range(40))


def test_the_kept_size_is_light():
  system = construct.load(config_of.get_config("kept"))
  assert isinstance(system, Finder)
  shapes = jax.eval_shape(lambda: system.init(jax.random.key(0), {"image": jnp.zeros((1, 128, 128, 3))}))
  count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
  assert 500_000 < count < 2_000_000


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"crop_hw": (100, 64)}, "multiple of 32"),
    ({"candidates": 0}, "at least one box"),
    ({"frozen": ("layer1",)}, "freezes whole parts"),
  ],
)
def test_what_cannot_be_is_named(fields, message):
  with pytest.raises(ValueError, match=message):
    Finder(**fields)
