"""The affine against a three-point construction, its algebra, and the device's warp against OpenCV's."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.geometry import crop

CROP_HW = (96, 128)
finite = st.floats(-1, 1, allow_nan=False, width=32)
boxes = st.tuples(st.floats(-50, 300), st.floats(-50, 300), st.floats(20, 400), st.floats(20, 400)).map(
  lambda box: np.array(box, np.float32)
)
draws = st.fixed_dictionaries(
  {
    "translation": st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
    "scale": st.floats(0.6, 1.5),
    "rotation": st.floats(-2, 2),
    "mirror": st.booleans(),
  }
)


def three_point_affine(box, crop_hw, translation, scale, rotation, mirror, width):
  """The reference's way: move the box, mirror picture and box, turn and scale three points, solve."""
  x, y, w, h = box.astype(np.float64)
  x, y = x + translation[0] * w, y + translation[1] * h
  centre = np.array([x + w / 2, y + h / 2])
  if mirror:
    centre[0] = width - 1 - centre[0]
  turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
  source = [centre, centre + turn @ [0, h * scale / 2], centre + turn @ [w * scale / 2, 0]]
  H, W = crop_hw
  target = [[W / 2, H / 2], [W / 2, H], [W, H / 2]]
  affine = cv2.getAffineTransform(np.float32(source), np.float32(target))
  flip = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]) if mirror else np.eye(3)
  return affine @ flip


@given(box=boxes, draw=draws)
def test_affine_is_the_reference_construction_with_the_mirror_inside(box, draw):
  ours = crop.crop_affine(box, CROP_HW, **draw)
  reference = three_point_affine(box, CROP_HW, width=334, **draw)
  corners = np.array([[0, 0], [333, 0], [0, 511], [333, 511]], np.float32)
  expected = corners @ reference[:, :2].T + reference[:, 2]
  # The reference rounds its three points to float32, which the ratio of picture to box enlarges.
  np.testing.assert_allclose(crop.apply_affine(ours, corners), expected, atol=2e-2)
  assert ours.dtype == np.float32


@given(box=boxes, draw=draws)
def test_inverse_and_composition(box, draw):
  affine = crop.crop_affine(box, CROP_HW, **draw)
  identity = crop.compose_affine(crop.invert_affine(affine), affine)
  np.testing.assert_allclose(identity, [[1, 0, 0], [0, 1, 0]], atol=2e-3)
  points = np.array([[[3.0, 5.0], [100, 7]]], np.float32)
  back = crop.apply_affine(crop.invert_affine(affine), crop.apply_affine(affine, points))
  np.testing.assert_allclose(back, points, atol=2e-3)


@given(box=boxes, draw=draws)
def test_view_rotation_is_the_turn_that_is_left_without_mirror_and_scale(box, draw):
  square = crop.process_box(box, (64, 64))
  affine = crop.crop_affine(square, (64, 64), **draw)
  turn = crop.view_rotation(affine)
  np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
  assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
  flip = np.diag([-1.0 if draw["mirror"] else 1.0, 1, 1])
  # A step in the picture and the same step of mirrored camera joints, turned, point the same way in the crop.
  step = np.array([0.3, 0.8, 0.0])
  moved = affine[:, :2] @ step[:2]
  turned = (turn @ (flip @ step))[:2]
  np.testing.assert_allclose(moved / np.linalg.norm(moved), turned / np.linalg.norm(turned), atol=1e-4)


@given(box=boxes)
def test_processed_box_has_the_crop_aspect_keeps_the_centre_and_contains_the_box(box):
  x, y, w, h = crop.process_box(box, CROP_HW, factor=1.25)
  assert w / h == pytest.approx(CROP_HW[1] / CROP_HW[0], rel=1e-4)
  np.testing.assert_allclose([x + w / 2, y + h / 2], box[:2] + box[2:] / 2, atol=1e-3)
  assert w >= 1.25 * box[2] * (1 - 1e-5)
  assert h >= 1.25 * box[3] * (1 - 1e-5)
  assert w == pytest.approx(1.25 * box[2], rel=1e-4) or h == pytest.approx(1.25 * box[3], rel=1e-4)


def test_mirror_maps_the_mirrored_picture():
  """Warping with the mirrored affine equals mirroring the picture and its box first."""
  picture = np.random.default_rng(0).uniform(0, 255, (50, 70)).astype(np.float32)
  box = np.array([10, 5, 40, 40], np.float32)
  ours = cv2.warpAffine(picture, crop.crop_affine(box, (32, 32), rotation=0.3, mirror=True).astype(float), (32, 32))
  mirrored_box = np.array([69 - 10 - 40, 5, 40, 40], np.float32)
  plain = crop.crop_affine(mirrored_box, (32, 32), rotation=0.3).astype(float)
  np.testing.assert_allclose(ours, cv2.warpAffine(picture[:, ::-1].copy(), plain, (32, 32)), atol=2e-2)


def test_box_around_ignores_invalid_points():
  points = np.array([[10, 20], [30, 60], [999, -999]], np.float32)
  valid = np.array([True, True, False])
  np.testing.assert_allclose(crop.box_around(points, valid, margin=1.0), [10, 20, 20, 40])
  np.testing.assert_allclose(crop.box_around(points, valid, margin=1.2), [8, 16, 24, 48])
  np.testing.assert_array_equal(crop.box_around(points, np.zeros(3, bool)), np.zeros(4))


def test_inside_includes_the_lower_and_excludes_the_upper_border():
  points = np.array([[0, 0], [-0.1, 0], [127.9, 95.9], [128, 0], [0, 96]], np.float32)
  np.testing.assert_array_equal(crop.inside(points, CROP_HW), [True, False, True, False, False])


def test_half_map_shows_every_even_pixel():
  labels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 33
  affine = crop.crop_affine(np.array([0, 0, 64, 64], np.float32), (64, 64))
  half = crop.resize_affine(affine, (64, 64), (32, 32))
  warped = cv2.warpAffine(labels.astype(np.uint8), half.astype(float), (32, 32), flags=cv2.INTER_NEAREST)
  np.testing.assert_array_equal(warped, labels[::2, ::2])


@given(seed=st.integers(0, 1000), draw=draws)
def test_numpy_and_jax_agree(seed, draw):
  rng = np.random.default_rng(seed)
  box = rng.uniform(20, 200, (3, 4)).astype(np.float32)
  points = rng.uniform(0, 300, (3, 2, 5, 2)).astype(np.float32)
  host = crop.crop_affine(crop.process_box(box, CROP_HW), CROP_HW, **draw)
  device = crop.crop_affine(crop.process_box(jnp.asarray(box), CROP_HW), CROP_HW, **draw)
  np.testing.assert_allclose(device, host, rtol=1e-4, atol=1e-3)
  np.testing.assert_allclose(crop.invert_affine(jnp.asarray(host)), crop.invert_affine(host), rtol=1e-4, atol=1e-2)
  np.testing.assert_allclose(crop.apply_affine(jnp.asarray(host), points), crop.apply_affine(host, points), atol=1e-3)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_device_warp_equals_opencv(mirror, channels):
  rng = np.random.default_rng(1)
  picture = cv2.GaussianBlur(rng.uniform(0, 1, (120, 160, *channels)).astype(np.float32), (0, 0), 2)
  picture = (picture - picture.min()) / np.ptp(picture)
  box = np.array([-20, 10, 150, 150], np.float32)
  affine = crop.crop_affine(box, (96, 96), (0.1, -0.05), 1.1, 0.7, mirror)
  host = cv2.warpAffine(picture, affine.astype(float), (96, 96), flags=cv2.INTER_LINEAR)
  device = jax.jit(crop.warp, static_argnums=2)(jnp.asarray(picture), jnp.asarray(affine), (96, 96))
  assert (host == 0).any(), "the crop should leave the picture"
  # Float32 resolves a position of 160 px to 1.5e-5 px; OpenCV inverts the affine in double precision.
  np.testing.assert_allclose(device, host, atol=2e-5)


def test_device_warp_batches():
  pictures = jnp.asarray(np.random.default_rng(2).integers(0, 255, (2, 40, 50, 3), dtype=np.uint8))
  affines = crop.crop_affine(jnp.array([[0.0, 0, 40, 40], [5, 5, 20, 20]]), (16, 16))
  together = jax.vmap(lambda p, a: crop.warp(p, a, (16, 16)))(pictures, affines)
  apart = jnp.stack([crop.warp(pictures[i], affines[i], (16, 16)) for i in range(2)])
  np.testing.assert_allclose(together, apart, atol=1e-3)


@pytest.mark.parametrize(
  ("box", "expected"),
  [
    ([20, 4, 30, 40], [20, 4, 29, 39]),  # inside: a pixel less
    ([-10, -6, 30, 40], [0, 0, 29, 39]),  # begins before: moved to the edge, as released
    ([50, 40, 30, 40], [50, 40, 13, 7]),  # ends behind
    ([70, 10, 30, 40], [70, 10, 30, 40]),  # outside: kept
  ],
)
def test_rootnets_box_is_cut_at_the_outermost_pixels(box, expected):
  """Worked out by hand from the release's steps, in a picture of 48 x 64."""
  for xp in (np, jnp):
    np.testing.assert_array_equal(crop.clip_box(xp.asarray(np.float32(box)), (48, 64)), expected)
