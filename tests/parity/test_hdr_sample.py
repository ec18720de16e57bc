"""The pipeline's crops of a real frame against the release's steps on it, with masks that stand in for HASM's."""

import functools

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from configs import hdr
from jaxhands.geometry import crop
from jaxhands.runs import stages
from jaxhands.systems import base
from jaxhands.systems.hdr import holes

HW = (256, 256)
PADDING = (320, 240)  # half the picture on each side, x and y


@pytest.fixture(scope="module")
def sample(shared):
  folder = shared / "samples" / "hdr"
  if not folder.is_dir():
    pytest.skip(f"the frame of HDR's demo is not at {folder}")
  picture = cv2.imread(str(folder / "Tzionas_dataset-02-1-rgb-100.png"))[..., ::-1]
  with np.load(folder / "golden.npz") as file:
    return picture, dict(file)


@pytest.fixture(scope="module")
def cut(sample):
  """What the pipeline cuts, of both hands."""
  picture, golden = sample
  config = dict(stages.of(hdr.get_config("paper,released")))["pipeline"]
  config.system.masks = "true"
  system = base.load(config)
  left_and_right = golden["seg_lamodal_lvisible_ramodal_rvisible"].reshape(2, 2, *HW)
  values = {
    "picture": jnp.asarray(picture)[None],
    "picture_hw": jnp.array([picture.shape[:2]], jnp.int32),
    "crop_from_img": jnp.asarray(_of_picture(golden["affine_stage1"]))[None],
    "all_masks": jnp.asarray(left_and_right[::-1].copy(), jnp.float32)[None],
  }
  found = system.cut_hands({}, values)
  return {key: np.asarray(value[0]) for key, value in found.items()}


def _of_picture(affine):
  """From the release's padded picture to ours."""
  return crop.compose_affine(affine, np.array([[1, 0, PADDING[0]], [0, 1, PADDING[1]]], np.float32))


@pytest.mark.parametrize(("hand", "name"), [(0, "right"), (1, "left")])
def test_boxes(sample, cut, hand, name):
  """Within three pixels: the release enlarges masks to whole pixels of the picture before it looks for their box."""
  _, golden = sample
  corners = np.array([[0, 0], [256, 256]] if hand == 0 else [[256, 0], [0, 256]], np.float32)
  found = crop.apply_affine(crop.invert_affine(cut["hand_crop_from_img"][hand]), corners) + np.array(PADDING)
  x, y, width, height = golden[f"{name}_box"]
  np.testing.assert_allclose(found, [[x, y], [x + width, y + height]], atol=3)


@pytest.mark.parametrize(("hand", "name"), [(0, "right"), (1, "left")])
def test_masks(sample, cut, hand, name):
  _, golden = sample
  found, expected = cut["hand_masks"][hand].reshape(4, *HW) > 0, golden[f"{name}_masks"] > 0
  found = _unmirrored(found) if hand else found
  assert expected.any((1, 2)).all()
  shared_pixels, either = (found & expected).sum((1, 2)), (found | expected).sum((1, 2))
  assert (shared_pixels / either > 0.95).all(), shared_pixels / either


@pytest.mark.parametrize(("hand", "name"), [(0, "right"), (1, "left")])
def test_what_the_network_sees(sample, cut, hand, name):
  """But for edges of masks, and for what a box that is a pixel larger moves."""
  _, golden = sample
  found = holes.find(jnp.asarray(cut["hand_masks"][hand])[None], "amodal")
  seen, _ = holes.network_input(jnp.asarray(cut["hand_images"][hand])[None], found)
  # The release turns a mirrored crop of whole pixels, which then lies a pixel further.
  offset = 1 if hand else 0
  seen = np.roll(np.asarray(seen[0]), -offset, 1)[::4, ::4]
  expected = golden[f"{name}_network_input"]
  difference = np.abs(seen - expected)
  assert np.median(difference) < 0.05
  assert (difference.max(-1) < 0.5).mean() > 0.85
  for channel in (3, 7):
    assert (difference[..., channel] < 0.5).mean() > 0.97


def _unmirrored(planes):
  """Pixel i of a mirrored crop is pixel 256 - i."""
  return functools.reduce(lambda x, f: f(x), (lambda x: x[..., ::-1], lambda x: np.roll(x, 1, -1)), planes)
