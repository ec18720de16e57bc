"""The predictor, on a system whose answer is known."""

import pathlib
import sys

import numpy as np
import pytest

import jaxhands
from jaxhands import schema
from jaxhands.geometry import camera
from jaxhands.hands import bones
from jaxhands.prediction.find import find_hands
from jaxhands.prediction.hands import Hands
from jaxhands.prediction.look import Look
from jaxhands.prediction.picture import Picture, all_of
from jaxhands.prediction.predictor import Model
from tests.prediction import spots

CAMERA = np.array([[300, 0, 160], [0, 320, 120], [0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def model():
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "jaxhands.systems.spots", spots)
    yield spots.make_model()


def test_joints_are_in_pixels_of_pictures_of_any_size(model):
  """Small, large (it is shrunk), wide; more than a batch, in order; and one function is compiled."""
  places = [(240, 320, 100, 60), (900, 1300, 700, 800), (100, 400, 300, 50), (64, 64, 20, 30), (240, 320, 40, 200)]
  pictures = [spots.picture(h, w, right=(x, y)) for h, w, x, y in places]
  found = model.predict(pictures)
  assert model._step._cache_size() == 1
  assert len(found) == 5
  for row, (h, w, x, y) in enumerate(places):
    assert found.present[row].tolist() == [True, False]
    # A pixel of the crop covers this many of the picture.
    np.testing.assert_allclose(found.joints_img[row, 0, 20], (x, y), atol=max(h, w) * 1.25 / 64 * 0.5)
  assert np.isfinite(found.joints_cam).all()


def test_a_box_shows_more_of_what_is_in_it(model):
  pictures = [spots.picture(480, 640, right=(500, 300), left=(100, 100))] * 2
  found = model.predict(pictures, boxes=np.array([[470, 270, 60, 60], [80, 80, 40, 40]], np.float32))
  assert found.present.tolist() == [[True, False], [False, True]]
  np.testing.assert_allclose(found.joints_img[0, 0, 20], (500, 300), atol=0.7)
  np.testing.assert_allclose(found.joints_img[1, 1, 20], (100, 100), atol=0.7)


def test_boxes_of_each_hand_and_pictures_shown_twice():
  """A system of one hand sees the left one mirrored, and its answer comes back to the left."""
  model = spots.make_model(view="hand", batch_size=3)
  pixels = spots.picture(480, 640, any=(500, 300))
  pixels[90:111, 90:111] = spots.COLOURS["any"]
  boxes = np.array([[[470, 270, 60, 60], [80, 80, 40, 40]]] * 2, np.float32)
  found = model.predict([pixels, pixels], boxes)
  assert found.present.all()
  np.testing.assert_allclose(found.joints_img[:, 0, 20], [(500, 300)] * 2, atol=0.7)
  np.testing.assert_allclose(found.joints_img[:, 1, 20], [(100, 100)] * 2, atol=0.7)
  np.testing.assert_allclose(found.box_img, boxes)


def test_hands_are_placed_by_their_size_in_one_frame(model):
  pixels = spots.picture(240, 320, right=(100, 60), left=(250, 160))
  found = model.predict([pixels, pixels], cameras=[CAMERA, None])
  assert found.scale == ("assumed", "unknown")
  assert found.joints_cam_valid.all()
  right, left = found.joints_cam[0]
  lengths = bones.mean_bones()
  measured = np.linalg.norm(right[lengths.pairs[:, 0]] - right[lengths.pairs[:, 1]], axis=-1)
  np.testing.assert_allclose((measured**2).mean(), (lengths.lengths_mm**2).mean(), rtol=1e-3)
  # The system says how far the left wrist is behind the right one.
  np.testing.assert_allclose(left[20, 2] - right[20, 2], 30, atol=1e-2)
  np.testing.assert_allclose(camera.project(found.joints_cam[0], CAMERA), found.joints_img[0], atol=1e-2)
  assert found.reprojection_px[0].max() < 1e-2
  assert found.camera_img[1, 0, 0] == pytest.approx(400)  # the diagonal


def test_hands_behind_the_camera_are_not_placed(model):
  """A left hand keeps its own depth where the system says that it is as far before the right one."""
  checked = all_of([spots.picture(240, 320, right=(100, 60), left=(250, 160))] * 3, None, [CAMERA] * 3)
  raw, crops = model._raw(checked)
  raw["rel_root_depth"] = np.array([30, -5000, 30], np.float32)
  raw["joints_rel_depth"][2, 0, 3] = -5000
  only_left = raw | {"hand_prob": np.array([[0, 1]] * 3, np.float32)}
  for depths in (None, [[500, 900]] * 3):
    alone = model._hands(checked, only_left, crops, depths)
    found = model._hands(checked, raw, crops, depths)
    assert found.joints_cam_valid.tolist() == [[True, True], [True, True], [False, True]]
    assert (found.joints_cam[found.joints_cam_valid][..., 2] > 0).all()
    assert not found.joints_cam[2, 0].any()
    np.testing.assert_array_equal(found.joints_cam[1, 1], alone.joints_cam[1, 1])
    np.testing.assert_allclose(found.joints_cam[0, 1, 20, 2] - found.joints_cam[0, 0, 20, 2], 30, atol=1e-2)


def test_depths_from_elsewhere_are_metric(model):
  pixels = spots.picture(240, 320, right=(100, 60), left=(250, 160))
  found = model.predict([pixels], cameras=[CAMERA], root_depth_mm=[[500, 900]])
  assert found.scale == ("metric",)
  np.testing.assert_allclose(found.joints_cam[0, :, 20, 2], (500, 530), atol=1e-2)


def test_hands_that_a_system_places_alone_have_their_own_depths_from_elsewhere(model):
  """Its relative depth holds only where it says that the hands belong together, or the left depth is not known."""
  pixels = spots.picture(240, 320, right=(100, 60), left=(250, 160))
  checked = all_of([pixels] * 3, None, [CAMERA] * 3)
  raw, crops = model._raw(checked)
  for together, left in ((None, (530, 530, 530)), ([True, False, False], (530, 900, 530))):
    said = {} if together is None else {"hands_together": np.array(together)}
    found = model._hands(checked, raw | said, crops, [[500, 900], [500, 900], [500, 0]])
    np.testing.assert_allclose(found.joints_cam[:, 0, 20, 2], 500, atol=1e-2)
    np.testing.assert_allclose(found.joints_cam[:, 1, 20, 2], left, atol=1e-2)


class _Depths(Model):
  """A rootnet that takes a picture's name for the depth of its wrists."""

  def __init__(self):
    pass

  def maps(self, pictures, boxes=None, cameras=None):
    depths = np.array([[[0, 0, float(picture.path.name)]] * 2 for picture in pictures], np.float32)
    return {"root_cam": depths}, np.zeros((len(pictures), 2, 2, 3), np.float32)


def test_depths_do_not_depend_on_the_cameras_of_other_pictures(model):
  known = np.array([False, True, False, True, True])
  pictures = [
    Picture(
      pathlib.Path(f"{500 + 50 * row}"), spots.picture(240, 320, right=(60 + 40 * row, 60)),
      camera_img=CAMERA if known[row] else None,
    )
    for row in range(5)
  ]  # fmt: skip
  look = Look(model, rootnet=_Depths())
  found = look.hands(pictures)
  assert found.scale == ("unknown", "metric", "unknown", "metric", "metric")
  np.testing.assert_allclose(found.joints_img[:, 0, 20, 0], 60 + 40 * np.arange(5), atol=4)
  np.testing.assert_allclose(found.joints_cam[known, 0, 20, 2], (550, 650, 700), atol=1e-2)
  for row, picture in enumerate(pictures):
    alone = look.hands([picture])
    for key in ("joints_img", "joints_cam", "reprojection_px", "camera_img"):
      np.testing.assert_allclose(
        getattr(found, key)[row], getattr(alone, key)[0], rtol=1e-5, atol=1e-3, err_msg=f"{key} of {row}"
      )
  prob = np.linspace(0.05, 0.95, 10, dtype=np.float32).reshape(5, 2)
  np.testing.assert_array_equal(look._placed(pictures, prob).hand_prob, prob)


def test_hands_change_places(model):
  found = model.predict([spots.picture(240, 320, right=(100, 60))], cameras=[CAMERA])
  other = found.exchanged()
  assert other.present.tolist() == [[False, True]]
  np.testing.assert_array_equal(other.joints_cam[:, 1], found.joints_cam[:, 0])
  np.testing.assert_array_equal(other.camera_img, found.camera_img)
  assert other.scale == found.scale
  assert found.one(0).joints_img.shape == (1, 2, 21, 2)


@pytest.mark.parametrize(
  ("pixels", "box", "camera_img", "message"),
  [
    (np.zeros((4, 4), np.uint8), None, None, r"picture 0: it is uint8 \(4, 4\)"),
    (np.zeros((4, 4, 3), np.float32), None, None, "float32"),
    (np.zeros((0, 4, 3), np.uint8), None, None, r"\(0, 4, 3\)"),
    (np.zeros((9, 9, 3), np.uint8), (20, 0, 5, 5), None, "shows nothing of 9 x 9"),
    (np.zeros((9, 9, 3), np.uint8), (-60, -60, 61, 61), None, "shows nothing of 9 x 9"),
    (np.zeros((9, 9, 3), np.uint8), (-5e3, -5e3, 1e4, 1e4), None, "shows nothing of 9 x 9"),
    (np.zeros((9, 9, 3), np.uint8), ((1, 1, 5, 5), (20, 0, 5, 5)), None, "shows nothing of 9 x 9"),
    (np.zeros((9, 9, 3), np.uint8), (0, 0, 5), None, "expected x, y, width, height"),
    (np.zeros((9, 9, 3), np.uint8), (0, 0, np.nan, 5), None, "its box is"),
    (np.zeros((9, 9, 3), np.uint8), None, np.zeros((3, 3)), "intrinsics"),
    (np.zeros((9, 9, 3), np.uint8), None, np.eye(2), "intrinsics have shape"),
  ],
)
def test_what_cannot_be_is_named(model, pixels, box, camera_img, message):
  with pytest.raises(ValueError, match=message):
    model.predict([pixels], None if box is None else [box], [camera_img])


def test_a_system_without_poses_finds_hands():
  """On the whole picture, then again on what was found there: the second look is finer."""
  finder = spots.make_model(finds=True)
  pixels = [spots.picture(480, 640, right=(500, 300), left=(100, 100)), spots.picture(240, 320, left=(50, 60))]
  pixels.append(spots.picture(240, 320))
  answer = find_hands(finder, pixels)
  found = answer.boxes
  assert ((answer.prob > 0.5) == found.any(-1)).all()
  # A pixel of the second look has about 9 of the picture.
  np.testing.assert_allclose(found[0], [(478.5, 278.5, 43, 43), (78.5, 78.5, 43, 43)], atol=9)
  np.testing.assert_allclose(found[1, 1], (39.5, 49.5, 21, 21), atol=2)
  assert not found[1, 0].any()
  assert not found[2].any()
  with pytest.raises(ValueError, match="predicts no poses"):
    finder.predict(pixels)
  with pytest.raises(ValueError, match="predicts no boxes or masks"):
    find_hands(spots.make_model(), pixels)


def test_ten_lines_from_a_run(tmp_path):
  """As the README shows it."""
  run = spots.write_run(tmp_path / "run")
  model = jaxhands.load(run)
  picture = spots.picture(240, 320, right=(100, 60))
  found = find_hands(jaxhands.load(spots.write_run(tmp_path / "finder", finds=True)), [picture])
  hands = model.predict([picture], boxes=found.boxes, hand_prob=found.prob)
  assert hands.present.tolist() == [[True, False]]
  assert hands.box_img[0, 0, 2] < 60, "what was found, and not the whole picture"
  assert hands.joints_img.shape == (1, 2, schema.NUM_JOINTS, 2)
  np.testing.assert_allclose(hands.joints_img[0, 0, 20], (100, 60), atol=4)
  with pytest.raises(FileNotFoundError, match="no run or file"):
    jaxhands.load(tmp_path / "other")
  with pytest.raises(ValueError, match="say what it is for"):
    jaxhands.load(run / "config.json")
  assert isinstance(hands, Hands)
