"""Pictures and labels of scenes: what must hold between them, whatever they look like."""

import dataclasses
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from jaxhands.render import cameras, zbuffer
from jaxhands.render import scene as scenes
from jaxhands.render.arm import Forearm, wrist_frame
from tests.render import posed


@pytest.fixture(scope="module")
def both():
  return scenes.render(posed.two_hands(), posed.view(), posed.backdrop(), posed.CLEAN)


def _alone(side):
  hands = tuple(hand if k == side else None for k, hand in enumerate(posed.two_hands().hands))
  return scenes.render(scenes.Scene(hands, posed.LIGHT), posed.view(), posed.backdrop(), posed.CLEAN)


def _inner(mask):
  """Pixels whose neighbours are in the mask, too."""
  return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def test_masks_and_parts_fit_together(both):
  amodal, visible = both.masks[:, 0].astype(bool), both.masks[:, 1].astype(bool)
  assert (amodal | ~visible).all()
  assert not (visible[0] & visible[1]).any()
  assert (amodal[0] & amodal[1]).sum() > 50
  np.testing.assert_array_equal(both.parts > 0, visible.any(0))
  np.testing.assert_array_equal((both.parts >= 1) & (both.parts <= 16), visible[0])
  np.testing.assert_array_equal((both.parts >= 17) & (both.parts <= 32), visible[1])
  count = len(posed.surfaces()[0].faces)
  np.testing.assert_array_equal(both.face_map >= 0, visible.any(0))
  np.testing.assert_array_equal(both.face_map[visible.any(0)] // count, visible[1][visible.any(0)])


@pytest.mark.parametrize("side", [0, 1])
def test_a_hand_alone_shows_what_is_amodal(both, side):
  alone = _alone(side)
  np.testing.assert_array_equal(alone.masks[side, 0], both.masks[side, 0])
  assert not alone.masks[1 - side].any()
  np.testing.assert_array_equal(alone.removed[side], alone.picture)
  np.testing.assert_array_equal(alone.deoccluded[side], alone.picture)
  assert not alone.removed[1 - side].any()


def test_depth_is_that_of_the_nearest(both):
  alone = [_alone(side) for side in (0, 1)]
  np.testing.assert_array_equal(both.depth_mm, np.minimum(alone[0].depth_mm, alone[1].depth_mm))
  view = posed.view()
  joint = view.to_cam(posed.two_hands().hands[0].vertices_world[:1])
  assert both.depth_mm[np.isfinite(both.depth_mm)].min() < joint[0, 2] + 200


def test_face_map_is_the_z_buffers(both):
  """The same faces and depth from one mesh of both hands without arms, where no arm is in front."""
  view, hands = posed.view(), posed.two_hands().hands
  vertices = np.concatenate([view.to_cam(hand.vertices_world) for hand in hands])
  faces = np.concatenate([hands[0].surface.faces, hands[1].surface.faces + len(hands[0].vertices_world)])
  face_map, nearness = zbuffer.buffers(view.height, view.width)
  zbuffer.rasterize(zbuffer.project(vertices, view.camera_img), faces, face_map, nearness)
  seen = both.face_map >= 0
  np.testing.assert_array_equal(face_map[seen], both.face_map[seen])
  np.testing.assert_array_equal(zbuffer.depth_mm(nearness)[seen], both.depth_mm[seen])


@pytest.mark.parametrize("side", [0, 1])
def test_pictures_agree_where_they_show_the_same(both, side):
  visible, background = both.masks[side, 1], np.isinf(both.depth_mm)
  inner = _inner(visible)
  assert inner.sum() > 50
  np.testing.assert_array_equal(both.deoccluded[side][inner], both.picture[inner])
  empty = _inner(background)
  for picture in (both.picture, *both.deoccluded, *both.removed):
    np.testing.assert_array_equal(picture[empty], posed.backdrop()[empty])


@pytest.mark.parametrize("side", [0, 1])
def test_removed_and_deoccluded_show_the_whole_hand(both, side):
  """All that is amodal is there, equal in both, and where it is seen it is as in the scene."""
  whole, seen = _inner(both.masks[side, 0]), _inner(both.masks[side, 1])
  np.testing.assert_array_equal(both.deoccluded[side][whole], both.removed[side][whole])
  np.testing.assert_array_equal(both.removed[side][seen], both.picture[seen])
  hidden = whole & ~both.masks[side, 1].astype(bool)
  if side == 1:
    assert hidden.sum() > 20
    assert np.abs(both.picture[hidden].astype(int) - both.removed[side][hidden]).mean() > 3


def test_removed_shows_the_background_where_the_other_hand_was(both):
  alone = _alone(0)
  gone = np.isinf(alone.depth_mm) & np.isfinite(both.depth_mm)
  inner = _inner(gone)
  assert inner.sum() > 50
  np.testing.assert_array_equal(both.removed[0][inner], posed.backdrop()[inner])
  assert np.abs(both.picture[inner].astype(int) - both.removed[0][inner]).mean() > 10


def test_a_hand_towards_the_light_shades_the_other():
  right, left = posed.hand(0), posed.hand(1, seed=1, at_mm=(0.0, 36.0, 48.0))  # away from the first light
  pictures = [
    scenes.render(scenes.Scene(hands, posed.LIGHT), posed.view(), posed.backdrop(), posed.CLEAN)
    for hands in ((right, left), (None, left))
  ]
  behind = _inner(pictures[0].masks[1, 0])
  shaded, lit = (p.removed[1][behind].astype(int) for p in pictures)
  assert (shaded > lit + 6).mean() < 0.01
  assert (shaded < lit - 10).mean() > 0.1


def test_light_turns_with_the_world():
  """Hands, light and camera turned together give the same picture."""
  scene, view = posed.two_hands(), posed.view()
  turn = cv2.Rodrigues(np.array([0.3, -0.5, 0.2]))[0]
  hands = tuple(
    dataclasses.replace(hand, vertices_world=(hand.vertices_world @ turn.T).astype(np.float32)) for hand in scene.hands
  )
  pose = view.cam_from_world.copy()
  pose[:, :3] = pose[:, :3] @ turn.T
  turned = scenes.render(
    scenes.Scene(hands, scene.lighting.turned(turn)),
    dataclasses.replace(view, cam_from_world=pose),
    posed.backdrop(),
    posed.CLEAN,
  )
  plain = scenes.render(scene, view, posed.backdrop(), posed.CLEAN)
  assert (turned.parts == plain.parts).mean() > 0.999
  difference = np.abs(turned.picture.astype(int) - plain.picture.astype(int))
  assert np.percentile(difference, 99.5) <= 2


def test_no_arm_shows_no_hole():
  """Seen from behind the wrist, the lid is skin, not the inside of the hand or the background."""
  hand = posed.hand(0, seed=2)
  wrist = hand.vertices_world[hand.surface.rim].mean(0)
  away = wrist - hand.vertices_world.mean(0)
  view = cameras.sample_view(
    np.random.default_rng(0), hand.vertices_world, away, cameras.ViewRange(96, 96, box_px=(60.0, 60.0), roll_rad=0.0)
  )
  result = scenes.render(scenes.Scene((hand, None), posed.LIGHT), view, posed.backdrop(level=0), posed.CLEAN)
  at = view.to_cam(wrist) @ view.camera_img.T
  column, row = np.rint(at[:2] / at[2]).astype(int)
  assert np.isfinite(result.depth_mm[row, column])
  assert result.picture[row, column].max() > 20


def test_arm_hides_but_is_no_hand():
  """An arm before the other hand: hidden there, and labelled neither."""
  arm = Forearm((0.0, 0.0), 300.0, 0.2)
  right = posed.hand(0, seed=1, arm=arm)
  frame = wrist_frame(right.surface, right.vertices_world)
  left = posed.hand(1, seed=2, at_mm=tuple(frame.centre + 100 * frame.axis + (0.0, 0.0, 120.0)))
  result = scenes.render(scenes.Scene((right, left), posed.LIGHT), posed.view(), posed.backdrop(), posed.CLEAN)
  bare = scenes.render(
    scenes.Scene((dataclasses.replace(right, forearm=None), left), posed.LIGHT),
    posed.view(),
    posed.backdrop(),
    posed.CLEAN,
  )
  np.testing.assert_array_equal(result.masks[:, 0], bare.masks[:, 0])
  newly_hidden = bare.masks[1, 1] & ~result.masks[1, 1].astype(bool)
  assert newly_hidden.sum() > 50
  assert not result.parts[newly_hidden.astype(bool)].any()
  assert (result.depth_mm[newly_hidden.astype(bool)] < bare.depth_mm[newly_hidden.astype(bool)]).all()


def test_only_what_is_asked_for():
  scene, view = posed.two_hands(), posed.view()
  full = scenes.render(scene, view, posed.backdrop(), posed.CLEAN)
  alone = scenes.render(scene, view, posed.backdrop(), posed.CLEAN, pictures=("picture",))
  assert alone.deoccluded is None
  assert alone.removed is None
  np.testing.assert_array_equal(alone.picture, full.picture)
  labels = scenes.render(scene, view, posed.backdrop(), posed.CLEAN, pictures=())
  assert labels.picture is None
  np.testing.assert_array_equal(labels.masks, full.masks)
  coarse = scenes.render(scene, view, posed.backdrop(), posed.CLEAN, samples=1)
  np.testing.assert_array_equal(coarse.parts, full.parts)
  assert np.abs(coarse.picture.astype(int) - full.picture).mean() < 4


def test_bad_requests():
  scene, view = posed.two_hands(), posed.view()
  with pytest.raises(ValueError, match="no hand"):
    scenes.render(scenes.Scene((None, None), posed.LIGHT), view, posed.backdrop(), posed.CLEAN)
  with pytest.raises(ValueError, match=r"\(95, 95, 3\)"):
    scenes.render(scene, view, posed.backdrop(95), posed.CLEAN)
  with pytest.raises(ValueError, match="mask"):
    scenes.render(scene, view, posed.backdrop(), posed.CLEAN, pictures=("mask",))
  with pytest.raises(ValueError, match="samples is 3"):
    scenes.render(scene, view, posed.backdrop(), posed.CLEAN, samples=3)


_INTERPRETED = """
import sys
sys.modules["numba"] = None
import numpy as np
from jaxhands.geometry import compiled
from jaxhands.render import scene
from tests.render import posed
assert not compiled.HAVE_NUMBA
result = scene.render(posed.two_hands(), posed.view(24), posed.backdrop(24), posed.CLEAN)
np.savez(sys.argv[1], **{name: getattr(result, name) for name in ("picture", "removed", "parts", "masks", "face_map")})
"""


def test_without_numba_it_is_slow_but_the_same(tmp_path):
  """Labels are the same bit for bit, pictures up to rounding."""
  path = tmp_path / "interpreted.npz"
  root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  subprocess.run([sys.executable, "-c", _INTERPRETED, str(path)], check=True, cwd=root, timeout=300)
  expected = scenes.render(posed.two_hands(), posed.view(24), posed.backdrop(24), posed.CLEAN)
  with np.load(path) as found:
    for name in ("parts", "masks", "face_map"):
      np.testing.assert_array_equal(found[name], getattr(expected, name))
    for name in ("picture", "removed"):
      assert np.abs(found[name].astype(int) - getattr(expected, name)).max() <= 2
