"""What HDR does to a picture, and what each of its parts brings, as a page."""

import json

import jax
import numpy as np

from jaxhands import report
from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.report import examples, recovery_cards
from tests import replay
from tests.evaluation.metrics import scenes
from tests.report.test_report import Reader

COUNT, SIDE = 6, 16


def test_masks_have_the_colours_of_their_hands():
  image = np.zeros((4, 4, 3), np.uint8)
  masks = np.zeros((2, 2, 2, 2), np.float32)
  masks[0, :, 0, 0] = 0.9  # seen
  masks[1, 0, 1, 1] = 0.9  # hidden
  found = recovery_cards._masked(image, masks)
  seen, hidden = found[0, 0], found[3, 3]
  assert seen[0] > seen[2]
  assert hidden[2] > hidden[0]
  assert seen.max() > hidden.max() > 0
  np.testing.assert_array_equal(found[:2, 2:], 0)
  np.testing.assert_array_equal(found[:2, :2], np.broadcast_to(seen, (2, 2, 3)))


def test_the_page_shows_picture_masks_crops_and_poses(tmp_path):
  rng = np.random.default_rng(0)
  truth = scenes.truth(count=COUNT) | {
    "masks": rng.integers(0, 2, (COUNT, 2, 2, 8, 8), np.uint8),
    "masks_valid": np.ones((COUNT, 2, 2), bool),
    "image": rng.integers(0, 255, (COUNT, SIDE, SIDE, 3), np.uint8),
    "crop_from_img": np.tile(np.eye(2, 3, dtype=np.float32), (COUNT, 1, 1)),
  }
  prediction = scenes.prediction(truth)
  prediction |= {
    "hand_prob": np.repeat(np.array([[0.9, 0.1]], np.float32), COUNT, 0),
    "masks": rng.random((COUNT, 2, 2, 8, 8)).astype(np.float32),
    "hand_crops": rng.random((COUNT, 2, SIDE, SIDE, 3)).astype(np.float32),
    "recovered": rng.random((COUNT, 2, SIDE, SIDE, 3)).astype(np.float32),
    "hand_crop_from_img": np.tile(np.eye(2, 3, dtype=np.float32), (COUNT, 2, 1, 1)),
    "joints_img_unrecovered": prediction["joints_img"] + 1,
  }
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
  protocol = Protocol(depth="gt")
  evaluator = Evaluator(replay.Replay(), mesh, protocol=protocol, methods={"pose_alone": replay.Replay()})
  variables = replay.variables(prediction)
  result = evaluator(variables, replay.batches(truth, COUNT), ("hdr.pipeline", "noise", "test"), resamples=5)
  result.write(tmp_path / "eval")
  chosen = examples.choose(result.examples_values, random=2, worst=1)
  some = {key: value[chosen.positions] for key, value in truth.items()}
  some["example_id"] = (4 * chosen.positions).astype(np.int32)
  seen = evaluator.look(variables, replay.batches(some, 3))
  examples.save(tmp_path / "eval" / "shown.npz", chosen, seen)
  times = {"device": "1 x cpu", "pictures": 8, "ms": {"masks": 12.5, "pose": 30.0}}
  (tmp_path / "eval" / "timings.json").write_text(json.dumps(times))

  page = report.write(tmp_path).read_text()
  assert "pose alone" not in page[: page.index("</header>")]
  reader = Reader(page)
  titles = reader.titles()
  assert {"Pictures at random", "The worst pictures", "Time of each step"} <= set(titles)
  assert "What each part brings: MPJPE, mm" in titles
  # A method has its own table; beside the results stand baselines alone.
  table = next(section for section in page.split("<section ") if "<h2>Results</h2>" in section)
  assert "pose alone" not in table
  text = " ".join(part for _, part in reader.text)
  assert "pose alone" in text
  assert "42.5" in text
  labels = [attrs["aria-label"] for tag, attrs in reader.tags if tag == "svg" and "aria-label" in attrs]
  for label in ("truth over the picture", "right, as it is", "right, recovered", "left hand, whole"):
    assert labels.count(label) == 3, (label, labels)
  assert not {"picture", "masks"} & set(labels)  # another block shows them
  assert len(reader.having("record")) == 3
  assert "left, recovered" not in labels  # that hand was not found
