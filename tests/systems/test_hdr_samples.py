"""HDR's pipeline on real pictures as they are: whatever a network says, what comes out is whole and in its place."""

import functools

import cv2
import jax
import numpy as np
import pytest

from configs import hdr
from jaxhands import predict, run, schema

PICTURES = (
  "hdr/Tzionas_dataset-02-1-rgb-100.png", "photos/tfjs_hands.jpg", "photos/mediapipe_samples_hand_victory_768x1024.jpg",
  "photos/tfjs_asl_hand_000.jpg", "interhand/demo_input.jpg",
)  # fmt: skip


def _random(shapes):
  """Weights of a size with which scores are neither all alike nor without end."""
  rng = np.random.default_rng(0)

  def leaf(path, like):
    if "batch_stats" in jax.tree_util.keystr(path):
      return np.full(like.shape, 1.0 if "var" in jax.tree_util.keystr(path) else 0.0, np.float32)
    fan = int(np.prod(like.shape[:-1])) or 1
    return rng.normal(0, fan**-0.5, like.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(leaf, shapes)


@functools.cache
def _model():
  config = dict(run.stages(hdr.get_config("tiny")))["pipeline"]
  return predict.Model(config, _random, batch_size=4)


def _picture(shared, name):
  path = shared / "samples" / name
  if not path.is_file():
    pytest.skip(f"there is no {path}")
  return cv2.imread(str(path))[..., ::-1]


@pytest.mark.parametrize("name", PICTURES)
def test_a_real_picture_goes_through(shared, name):
  picture = _picture(shared, name)
  hands = _model().predict([picture])
  schema.check_finite(hands.raw)
  for values in (hands.hand_prob, hands.joints_img, hands.joints_cam, hands.reprojection_px):
    assert np.isfinite(values).all()
  assert hands.scale == ("unknown",)
  assert set(hands.raw) >= {"masks", "hand_crops", "recovered", "hand_crop_from_img", "joints_img_unrecovered"}
  assert hands.raw["recovered"].std() > 0.01
  # A crop shows the picture there: its middle has the colours of the picture's place.
  for hand in range(2):
    crop = hands.raw["hand_crops"][0, hand]
    assert crop.shape == (32, 32, 3)
    assert 0 <= crop.min() <= crop.max() <= 1
    assert crop.max() > 0
