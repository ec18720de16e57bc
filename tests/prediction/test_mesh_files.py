"""Meshes of pictures and videos: they stand where the joints do, and go into files and pages."""

import dataclasses
import json
import re
import sys

import cv2
import numpy as np
import pytest

from jaxhands import cli, schema
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST
from jaxhands.prediction import video
from jaxhands.prediction.follow import Follow
from jaxhands.prediction.hands import Hands
from tests.meshes.clips import Glb, in_files
from tests.prediction import spots

MODEL = HandModel.default()
CAMERA = np.array([[300, 0, 160], [0, 320, 120], [0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def model():
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "jaxhands.systems.spots", spots)
    yield spots.make_model(meshes=True)


@pytest.fixture
def run(tmp_path):
  return spots.write_run(tmp_path / "run", meshes=True)


def _predict(*arguments):
  told = () if "--whole" in arguments else ("--whole",)
  return cli.main(["predict", *told, *map(str, arguments)])


def _save(path, pixels):
  assert cv2.imwrite(str(path), pixels[..., ::-1])
  return path


@pytest.mark.parametrize(("intrinsics", "depths"), [(CAMERA, None), (None, None), (CAMERA, [[900, 850], [700, 420]])])
def test_meshes_stand_where_the_joints_do(model, intrinsics, depths):
  """Also where the camera is not known, or RootNet says depths; nothing is left of a hand that is not there."""
  both, one = spots.picture(240, 320, right=(100, 60), left=(250, 160)), spots.picture(240, 320, left=(250, 160))
  found = model.predict([both, one], cameras=[intrinsics, intrinsics], root_depth_mm=depths)
  if depths:  # of the left hand the system says how far it is from the right one, where this is seen
    np.testing.assert_allclose(found.joints_cam[[0, 1], [0, 1], WRIST, 2], [900, 420], rtol=1e-5)
    lengths = np.linalg.norm(np.diff(found.joints_cam[0, 0, :4], axis=0), axis=-1)
    own = np.linalg.norm(np.diff(MODEL.forward_mano(spots.MANO[None]).keypoints[0, 0, :4], axis=0), axis=-1)
    np.testing.assert_allclose(lengths, own, rtol=1e-4)
  assert found.meshed.tolist() == [[True, True], [False, True]]
  posed = MODEL.forward_mano(found.raw["mano"])
  for row, hand in np.argwhere(found.meshed):
    np.testing.assert_allclose(posed.vertices[row, hand], found.raw["vertices_cam"][row, hand], atol=1e-2)
    np.testing.assert_allclose(posed.keypoints[row, hand], found.joints_cam[row, hand], atol=1e-2)
  assert not found.raw["mano"][1, 0].any()
  assert not found.raw["vertices_cam"][1, 0].any()
  wrists = camera.project(np.asarray(posed.keypoints)[0, :, 20:], found.camera_img[0])[:, 0]
  np.testing.assert_allclose(wrists, found.joints_img[0, :, 20], atol=12)


def test_predicted_keys_are_known_before_any_picture(model):
  assert {"mano", "vertices_cam", "joints_cam"} <= model.predicts
  assert not {"mano", "vertices_cam"} & spots.make_model().predicts


def test_hands_are_saved(model, tmp_path):
  found = model.predict([spots.picture(240, 320, right=(100, 60), left=(250, 160))] * 2)
  hands = found.one(0)
  assert hands.save(tmp_path / "a.glb", model.hand_model) == [tmp_path / "a.glb"]
  glb = Glb((tmp_path / "a.glb").read_bytes())
  for hand, name in enumerate(schema.HANDS):
    true = in_files(hands.raw["vertices_cam"][0, hand].astype(float))
    np.testing.assert_allclose(glb.vertices(f"{name}_hand"), true, atol=1e-5)
  assert glb.tree["asset"]["extras"]["scale"] == "unknown"
  found.save(tmp_path / "b.glb", model.hand_model, time_s=np.array([0.0, 0.5]))
  assert len(Glb((tmp_path / "b.glb").read_bytes()).tree["animations"]) == 1
  with pytest.raises(ValueError, match="say when each was taken"):
    found.save(tmp_path / "c.glb", model.hand_model)
  nobody = model.predict([spots.picture(240, 320)])
  with pytest.raises(ValueError, match="no hand has a mesh"):
    nobody.save(tmp_path / "c.glb", model.hand_model)


def test_exchanged_hands_have_no_meshes(model):
  """Parameters drive the model of the side that they were predicted for."""
  found = model.predict([spots.picture(240, 320, right=(100, 60), left=(250, 160))]).exchanged()
  assert found.joints_cam_valid.all()
  assert not found.meshed.any()
  assert not found.raw["mano"].any()


def test_meshes_are_calmed_as_joints_are(model):
  """Of hands that tremble, steps get smaller, also across half a turn, and mesh and parameters stay together."""
  found = model.predict([spots.picture(240, 320, right=(100, 60), left=(250, 160))])
  rng = np.random.default_rng(0)
  follow, steps, calm = Follow(25.0, True, MODEL), [], []
  for _ in range(12):
    mano = found.raw["mano"].copy()
    mano[..., :3] = [[[np.pi, 0, 0], [0, 0, 1]]]
    mano += rng.normal(0, 0.02, mano.shape).astype(np.float32)
    own = np.linalg.norm(mano[..., :3], axis=-1, keepdims=True)
    mano[..., :3] *= np.where(own > np.pi, 1 - 2 * np.pi / own, 1)  # as a network gives it, up to half a turn
    vertices = np.asarray(MODEL.forward_mano(mano).vertices)
    hands, exchanged = follow(type(found)(**(vars(found) | {"raw": {"mano": mano, "vertices_cam": vertices}})))
    assert not exchanged
    steps.append(vertices)
    calm.append(hands.raw["vertices_cam"])
    np.testing.assert_allclose(MODEL.forward_mano(hands.raw["mano"]).vertices, calm[-1], atol=1e-2)
  before, after = (np.linalg.norm(np.diff(np.stack(each), axis=0), axis=-1).mean() for each in (steps, calm))
  assert after < 0.6 * before


def test_samples_of_calmed_hands_lie_around_them_as_before(model):
  found = model.predict([spots.picture(240, 320, right=(100, 60), left=(250, 160))])
  rng = np.random.default_rng(0)
  follow = Follow(25.0, True)
  for _ in range(5):
    joints = found.joints_cam + rng.normal(0, 4, found.joints_cam.shape).astype(np.float32)
    samples = joints[:, None] + rng.normal(0, 9, (1, 6, 2, 21, 3)).astype(np.float32)
    hands, _ = follow(dataclasses.replace(found, joints_cam=joints, raw={"samples": samples}))
    from_wrist = samples - joints[:, None, :, WRIST, None]
    np.testing.assert_allclose(hands.raw["samples"] - hands.joints_cam[:, None, :, WRIST, None], from_wrist, atol=1e-3)
  assert np.abs(hands.joints_cam - joints).max() > 1, "they were calmed"


def test_wrists_and_errors_of_calmed_hands_are_theirs(model):
  """Of a hand that is not placed nothing moves."""
  found = model.predict([spots.picture(240, 320, right=(100, 60), left=(250, 160))], cameras=[CAMERA])
  rng = np.random.default_rng(0)
  follow = Follow(25.0, True)
  for _ in range(5):
    joints_cam = found.joints_cam + rng.normal(0, 4, found.joints_cam.shape).astype(np.float32)
    joints_img = found.joints_img + rng.normal(0, 2, found.joints_img.shape).astype(np.float32)
    wrists = joints_cam[:, :, WRIST] + rng.normal(0, 9, (1, 2, 3)).astype(np.float32)
    shaky = dataclasses.replace(
      found, joints_cam=joints_cam, joints_img=joints_img, joints_cam_valid=np.array([[True, False]]),
      raw={"root_cam": wrists},
    )  # fmt: skip
    hands, _ = follow(shaky)
  from_wrist = hands.raw["root_cam"] - hands.joints_cam[:, :, WRIST]
  np.testing.assert_allclose(from_wrist, wrists - joints_cam[:, :, WRIST], atol=1e-3)
  np.testing.assert_array_equal(hands.raw["root_cam"][:, 1], wrists[:, 1])
  seen = hands.joints_cam[0, 0] @ CAMERA.T
  off = np.linalg.norm(seen[:, :2] / seen[:, 2:] - hands.joints_img[0, 0], axis=-1)
  np.testing.assert_allclose(hands.reprojection_px[0], [off, np.zeros(21)], atol=1e-2)
  assert np.abs(hands.joints_cam - joints_cam).max() > 1, "they were calmed"


def test_frames_are_followed_in_groups_as_one_by_one(model):
  """Also where right and left are called wrongly in the middle of a group."""
  frames = [spots.picture(240, 320, right=(100 + 3 * t, 60), left=(250 - 3 * t, 160)) for t in range(6)]
  wrong = np.array([False, False, False, True, False, False])
  called = model.predict(frames).exchanged(wrong)
  single, grouped = Follow(25.0, True, MODEL), Follow(25.0, True, MODEL)
  alone = [single(called.one(row)) for row in range(6)]
  groups = [grouped(Hands.joined([called.one(row) for row in rows])) for rows in (range(4), range(4, 6))]
  assert np.concatenate([exchanged for _, exchanged in groups]).tolist() == wrong.tolist()
  assert np.concatenate([exchanged for _, exchanged in alone]).tolist() == wrong.tolist()
  one, other = (Hands.joined([hands for hands, _ in parts]) for parts in (alone, groups))
  assert one.meshed[:3].all()
  assert not one.meshed[3].any()
  for key in ("joints_img", "joints_cam", "hand_prob", "box_img"):
    np.testing.assert_array_equal(getattr(one, key), getattr(other, key), err_msg=key)
  for key in ("mano", "vertices_cam"):
    np.testing.assert_array_equal(one.raw[key], other.raw[key], err_msg=key)


def test_a_picture_has_files_and_a_page_with_meshes(run, tmp_path):
  _save(tmp_path / "a.b.png", spots.picture(200, 300, right=(100, 80), left=(200, 120)))
  _save(tmp_path / "none.png", spots.picture(200, 300))
  out = tmp_path / "out"
  arguments = (tmp_path / "a.b.png", tmp_path / "none.png", "--run", run, "--out", out, "--fx", 400)
  assert _predict(*arguments, "--format", "glb,bvh,obj,ply") == 0
  first, last = json.loads((out / "predictions.json").read_text())["pictures"]
  names = ["a.b.glb", "a.b_right.bvh", "a.b_left.bvh", "a.b.obj", "a.b.ply"]
  assert first["meshes"] == [f"meshes/{name}" for name in names]
  assert "meshes" not in last
  assert sorted(path.name for path in (out / "meshes").iterdir()) == sorted(names)
  glb = Glb((out / "meshes" / "a.b.glb").read_bytes())
  with np.load(out / "predictions.npz") as arrays:
    true = in_files(arrays["vertices_cam"][0, 1].astype(float))
  np.testing.assert_allclose(glb.vertices("left_hand"), true, atol=1e-5)
  assert glb.tree["asset"]["extras"] == {
    "hand_model": "embedded-v1", "scale": "metric",
    "difference_mm": {"right": pytest.approx(0, abs=1e-3), "left": pytest.approx(0, abs=1e-3)},
  }  # fmt: skip
  text = (out / "index.html").read_text()
  (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
  data = json.loads(data)
  assert [name for name, _ in data["pictures"][0]["meshes"]] == names
  assert len(data["faces"]) == 2
  assert data["pictures"][1]["vertices"] is None
  # The picture shows more of the hand than its lines.
  drawn = cv2.imread(str(out / "overlays" / "a.b.jpg"))
  assert (drawn.max(-1) > 60).mean() > 0.02


def test_a_video_is_one_animation(run, tmp_path):
  path = tmp_path / "clip.mp4"
  with video.Writer(path, 20.0, (320, 240)) as writer:
    for t in range(6):
      there = {"right": (60 + 4 * t, 60)} | ({"left": (250 - 4 * t, 160)} if t != 2 else {})
      writer.add(spots.picture(240, 320, **there), t / 20)
    writer.add(spots.picture(240, 320), 6 / 20)
  out = tmp_path / "out"
  assert _predict(path, "--run", run, "--out", out, "--format", "glb,bvh,ply", "--every", 1) == 0
  found = json.loads((out / "predictions.json").read_text())["pictures"]
  whole = ["meshes/clip.glb", "meshes/clip_right.bvh", "meshes/clip_left.bvh"]
  own = [[*whole, f"meshes/clip/{number:06}.ply"] for number in range(6)] + [whole]  # there is nobody in the last
  assert [entry["meshes"] for entry in found] == own
  assert all((out / name).is_file() for entry in found for name in entry["meshes"])
  (data,) = re.findall(
    r'<script id="data" type="application/json">(.*?)</script>', (out / "index.html").read_text(), re.DOTALL
  )
  assert [[path for _, path in entry["meshes"]] for entry in json.loads(data)["pictures"]] == own
  glb = Glb((out / "meshes" / "clip.glb").read_bytes())
  with np.load(out / "predictions.npz") as arrays:
    true = in_files(arrays["vertices_cam"].astype(float))
  for moment in range(6):
    np.testing.assert_allclose(glb.vertices("right_hand", found[moment]["time_s"]), true[moment, 0], atol=1e-4)
  assert np.ptp(glb.vertices("left_hand", found[2]["time_s"]), axis=0).max() < 1e-9
  np.testing.assert_allclose(glb.vertices("left_hand", found[3]["time_s"]), true[3, 1], atol=1e-4)


def test_formats_are_refused_before_anything_is_read(tmp_path, capsys):
  plain = spots.write_run(tmp_path / "plain")
  _save(tmp_path / "a.png", spots.picture(200, 300, right=(100, 80)))
  assert _predict(tmp_path / "a.png", "--run", plain, "--out", tmp_path / "out", "--format", "glb") == 1
  assert "--format: system 'spots' predicts no meshes" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
  with pytest.raises(SystemExit):
    _predict(tmp_path / "a.png", "--run", plain, "--out", tmp_path / "out", "--format", "glb,fbx")
  assert "'fbx' is no format of meshes; there are glb, bvh, obj, ply" in capsys.readouterr().err


def test_samples_go_with_the_hands_into_file_and_page(tmp_path):
  run = spots.write_run(tmp_path / "run", meshes=True, samples=5)
  file = _save(tmp_path / "a.png", spots.picture(240, 320, right=(100, 60), left=(220, 160)))
  assert _predict(file, "--run", run, "--out", tmp_path / "out", "--whole", "--samples", 3, "--fx", 300) == 0
  hands = json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"][0]["hands"]
  for hand in hands:
    samples = np.array(hand["samples_cam_mm"])
    np.testing.assert_allclose(samples[0], hand["joints_cam_mm"], atol=0.1)
    farther = np.broadcast_to(10.0 * np.arange(3)[:, None, None] * [0, 0, 1], samples.shape)
    np.testing.assert_allclose(samples - samples[0], farther, atol=0.15)
    np.testing.assert_allclose(hand["deviation_mm"], 0, atol=1e-2)
    np.testing.assert_allclose(hand["deviation_cam_mm"], 10 * np.sqrt(2), rtol=1e-2)  # of five
  (data,) = re.findall(
    r'<script id="data" type="application/json">(.*?)</script>', (tmp_path / "out" / "index.html").read_text(), re.S
  )
  entry = json.loads(data)["pictures"][0]
  assert entry["sure"].startswith("data:image/jpeg;base64,")
  assert len(entry["deviation"][0][0]) == 21
