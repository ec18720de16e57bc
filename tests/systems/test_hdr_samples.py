"""HDR's pipeline on real pictures as they are: whatever a network says, what comes out is whole and in its place."""

import functools

import cv2
import jax
import numpy as np
import pytest

from configs import hdr
from jaxhands import schema
from jaxhands.geometry import crop
from jaxhands.prediction import predictor
from jaxhands.runs import stages

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
  config = dict(stages.of(hdr.get_config("tiny")))["pipeline"]
  return predictor.Model(config, _random, batch_size=4)


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
  for hand in range(2):
    seen, affine = hands.raw["hand_crops"][0, hand], hands.raw["hand_crop_from_img"][0, hand]
    assert seen.shape == (32, 32, 3)
    assert 0 <= seen.min() <= seen.max() <= 1
    # The middle of a crop has the colours of the place in the picture, in its own pixels, that it is said to show.
    x, y = np.asarray(crop.apply_affine(crop.invert_affine(affine), np.float32([[15.5, 15.5]])))[0]
    reach = 8 / np.sqrt(abs(np.linalg.det(affine[:, :2])))
    around = int(np.ceil(reach)) + 1  # black, as what of a crop leaves the picture
    padded = np.pad(picture, ((around, around), (around, around), (0, 0)))
    rows, columns = (slice(round(at - reach) + around, round(at + reach) + around + 1) for at in (y, x))
    there = padded[rows, columns].reshape(-1, 3).mean(0) / 255
    np.testing.assert_allclose(seen[8:24, 8:24].reshape(-1, 3).mean(0), there, atol=0.06)
