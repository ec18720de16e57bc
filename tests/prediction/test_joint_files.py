"""`predictions.json` read for its joints, and written with parameters; the command that does both."""

import copy
import json

import numpy as np
import pytest

from jaxhands import cli, schema
from jaxhands.data.records import DataSet, Records
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import TIPS
from jaxhands.prediction import joint_files
from jaxhands.prediction.fit_meshes import fitted
from jaxhands.prediction.joint_files import JointFile
from tests.data.conftest import build
from tests.prediction.made_hands import make_hands

CAMERA = np.array([[900, 2, 320], [0, 910, 240], [0, 0, 1]], np.float32)


def _joints():
  mano = np.zeros((2, schema.MANO_DIM), np.float32)
  mano[:, schema.MANO_TRANSLATION] = [[-60, 10, 500], [60, 20, 520]]
  mano[:, 3:48] = HandModel.default().hands_mean
  mano[:, 2] = 0.7
  return np.asarray(HandModel.default().forward_mano(mano).keypoints)


def _content():
  """A right hand in space; both hands in a picture of a known camera; a hand nobody knows anything of."""
  joints = _joints()
  pixels = camera.project(joints, CAMERA).tolist()
  space = joints[0].tolist()
  for tip in TIPS:
    space[tip] = None
  known = {"fx": 900, "fy": 910, "cx": 320, "cy": 240, "skew": 2, "source": "given"}
  both = [{"hand": name, "joints_img": pixels[hand], "joints_cam_mm": None} for hand, name in enumerate(schema.HANDS)]
  return {
    "format": "jaxhands-predictions",
    "version": 1,
    "made_by": "another program",
    "pictures": [
      {"file": "a.jpg", "hands": [{"hand": "right", "joints_cam_mm": space, "confidence": [0.5] * 21, "note": "kept"}]},
      {"file": "b.mp4", "frame": 7, "camera": known, "hands": both},
      {"file": "c.jpg", "camera": None, "hands": [{"hand": "left", "joints_img": pixels[1]}]},
    ],
  }


def _write(path, content):
  path.write_text(json.dumps(content))
  return path


def test_joints_are_read_with_their_flags(tmp_path):
  found = JointFile.read(_write(tmp_path / "in.json", _content()))
  joints = _joints()
  assert found.present.tolist() == [[True, False], [True, True], [False, True]]
  valid = np.ones(21, bool)
  valid[list(TIPS)] = False
  np.testing.assert_array_equal(found.joints_cam_valid[0, 0], valid)
  np.testing.assert_allclose(found.joints_cam[0, 0, valid], joints[0, valid], rtol=1e-6)
  assert not found.joints_cam[0, 0, ~valid].any()
  np.testing.assert_allclose(found.joints_img[1], camera.project(joints, CAMERA), rtol=1e-6)
  np.testing.assert_array_equal(found.camera_img[1], CAMERA)
  assert found.joints_img_valid.any((1, 2)).tolist() == [False, True, False], "pixels without a camera say nothing"
  assert found.confidence[0, 0].tolist() == [0.5] * 21
  assert found.confidence[1].all()


def test_a_confidence_that_nobody_gave_is_one(tmp_path):
  content = _content()
  content["pictures"][0]["hands"][0]["confidence"] = [0.5, None] * 10 + [0]
  found = JointFile.read(_write(tmp_path / "in.json", content))
  assert found.confidence[0, 0].tolist() == [0.5, 1] * 10 + [0]
  assert found.joints_cam_valid[0, 0].sum() == 21 - len(TIPS)


def test_the_command_adds_parameters_and_leaves_the_rest(tmp_path, capsys):
  path, out = _write(tmp_path / "in.json", _content()), tmp_path / "out"
  assert cli.main(["fit", str(path), "--out", str(out)]) == 0
  printed = capsys.readouterr().out
  assert "3 hands fitted with hand model embedded-v1" in printed
  assert "1 hands have joints in a picture without camera, and no parameters" in printed
  written = json.loads((out / "predictions.json").read_text())
  assert written["hand_model"] == "embedded-v1"
  without = copy.deepcopy(written)
  hands = [entry for picture in without["pictures"] for entry in picture["hands"]]
  fits = [{key: entry.pop(key) for key in list(entry) if key.startswith("mano")} for entry in hands]
  del without["hand_model"]
  assert without == _content()

  model, joints = HandModel.default(), _joints()
  right = np.asarray(model.forward_mano(np.float32(fits[0]["mano"]), schema.RIGHT).keypoints)
  assert np.linalg.norm(right - joints[0], axis=-1).mean() < 2, "the tips, too, though nobody said where they are"
  assert fits[0]["mano_residual_mm"] < 1
  assert fits[0]["mano_residual_px"] is None
  for hand in (0, 1):
    made = model.forward_mano(np.float32(fits[1 + hand]["mano"]), hand).keypoints
    off = np.linalg.norm(camera.project(made, CAMERA) - camera.project(joints[hand], CAMERA), axis=-1)
    assert abs(off.mean() - fits[1 + hand]["mano_residual_px"]) < 0.05
    assert off.mean() < 3
    assert fits[1 + hand]["mano_residual_mm"] is None
  assert fits[3] == {"mano": None, "mano_residual_mm": None, "mano_residual_px": None, "mano_converged": None}

  with np.load(out / "fits.npz") as arrays:
    np.testing.assert_allclose(arrays["mano"][0, 0], fits[0]["mano"], atol=1e-5)
    assert arrays["valid"].tolist() == [[True, False], [True, True], [False, False]]
    assert arrays["files"].tolist() == ["a.jpg", "b.mp4", "c.jpg"]
    assert arrays["frame"].tolist() == [-1, 7, -1]
    assert not arrays["vertices_cam"][~arrays["valid"]].any()
    np.testing.assert_allclose(
      arrays["vertices_cam"][1], model.forward_mano(arrays["mano"][1]).vertices, atol=0.01
    )  # fmt: skip
  again = JointFile.read(out / "predictions.json")
  np.testing.assert_array_equal(again.joints_cam_valid.any(-1), [[True, False], [False, False], [False, False]])


def test_one_shape_fits_clips_as_predict_does(tmp_path):
  """Frames of two videos, mixed with a picture; of one hand no joint has confidence."""
  model, rng = HandModel.default(), np.random.default_rng(0)
  joints = (_joints() + rng.normal(0, 3, (7, 2, 21, 3))).astype(np.float32)
  files = ["a.mp4", "b.mp4", "c.jpg", "a.mp4", "b.mp4", "a.mp4", "b.mp4"]
  sure = rng.uniform(0.2, 1, (7, 2, 21)).astype(np.float32)
  sure[3, 1] = 0
  pictures = [
    {"file": name, "frame": row if name.endswith("mp4") else None, "hands": [
      {"hand": side, "joints_cam_mm": joints[row, hand].tolist(), "confidence": sure[row, hand].tolist()}
      for hand, side in enumerate(schema.HANDS)
    ]} for row, name in enumerate(files)
  ]  # fmt: skip
  path = _write(tmp_path / "in.json", _content() | {"pictures": pictures})
  assert cli.main(["fit", str(path), "--out", str(tmp_path / "out"), "--noise", "5", "--one-shape"]) == 0
  with np.load(tmp_path / "out" / "fits.npz") as arrays:
    found = dict(arrays)
  for name in ("a.mp4", "b.mp4", "c.jpg"):
    rows = [row for row, file in enumerate(files) if file == name]
    hands = make_hands(joints[rows], [[True, True]] * len(rows), {}, sure[rows])
    expected = fitted(hands, model, one_shape=name != "c.jpg").raw
    np.testing.assert_allclose(found["mano"][rows], expected["mano"], atol=1e-5)
    np.testing.assert_allclose(found["vertices_cam"][rows], expected["vertices_cam"], atol=1e-3)
  shapes = found["mano"][..., schema.MANO_SHAPE]
  np.testing.assert_array_equal(shapes[0], shapes[5])
  assert np.abs(shapes[0] - shapes[1]).max() > 0.01, "each video has its own"


def test_a_file_without_pictures(tmp_path, capsys):
  path = _write(tmp_path / "predictions.json", {"format": "jaxhands-predictions", "version": 1, "pictures": []})
  assert cli.main(["fit", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
  assert "0 hands fitted" in capsys.readouterr().out
  assert json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"] == []
  assert path.is_file()


def test_a_data_set_of_joints(tmp_path, capsys):
  """Records are found again by their number and what they show; joints at random are no hand, and that is said."""
  folder = build(tmp_path / "set", train=5)
  assert cli.main(["fit", f"{folder}:train", "--out", str(tmp_path / "out")]) == 0
  assert "hands fitted" in capsys.readouterr().out
  records = Records(DataSet(folder, "train"), "pair", {"record_hash", "joints_cam"})
  with np.load(tmp_path / "out" / "fits.npz") as arrays:
    assert arrays["record_id"].tolist() == [records[row]["record_id"] for row in range(5)]
    hashes = [schema.record_hash(records[row]["source"], records[row]["box_img"]) for row in range(5)]
    assert arrays["record_hash"].tolist() == hashes
    expected = [[row % 3 != 1, row % 3 != 0] for row in range(5)]
    assert arrays["valid"].tolist() == expected
    keypoints = HandModel.default().forward_mano(arrays["mano"]).keypoints
    joints = np.stack([records[row]["joints_cam"] for row in range(5)])
    distance = np.linalg.norm(keypoints - joints, axis=-1).mean(-1)
    np.testing.assert_allclose(arrays["residual_mm"][arrays["valid"]], distance[arrays["valid"]], atol=0.05)
    assert arrays["residual_mm"][arrays["valid"]].min() > 5


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda content: content.update(format="other"), "its format is 'other'"),
    (lambda content: content.update(version=2), "has version 2"),
    (lambda content: content.pop("pictures"), "lacks 'pictures'"),
    (lambda content: content["pictures"][0].update(hands=3), "picture 0 is no object with a list of hands"),
    (lambda content: content["pictures"][0]["hands"][0].update(hand="third"), "picture 0: a hand is 'third'"),
    (lambda content: content["pictures"][1]["hands"][0].update(hand="left"), "picture 1 has two left hands"),
    (lambda content: content["pictures"][1]["camera"].pop("fx"), "picture 1: its camera is"),
    (lambda content: content["pictures"][1]["camera"].update(fy=0), "picture 1: its camera has fx=900.0, fy=0.0"),
    (
      lambda content: content["pictures"][1]["camera"].update(fx=10**400),
      r"picture 1: its camera is \{'fx': 10000*, .*int too large",
    ),
    (
      lambda content: content["pictures"][1]["camera"].update(cx=1e39),
      r"picture 1: its camera is .*'cx': 1e\+39.*a number is not finite, or over 1e\+09",
    ),
    (lambda content: content["pictures"][1]["camera"].update(fx="wide"), "picture 1: its camera is .*'wide'"),
    (lambda content: content["pictures"][1]["camera"].update(fx=1e-60), "picture 1: its camera has fx=1e-60"),
    (
      lambda content: content["pictures"][0]["hands"][0]["joints_cam_mm"].__setitem__(3, [1, 2, 10**400]),
      r"picture 0, right hand: joints_cam_mm\[3\] is \[1, 2, 10000*\], expected 3 numbers, or null",
    ),
    (
      lambda content: content["pictures"][0]["hands"][0]["joints_cam_mm"].__setitem__(3, [1, 2, 1e39]),
      r"joints_cam_mm\[3\] is \[1, 2, 1e\+39\], expected 3 numbers, or null; none over 1e\+09",
    ),
    (lambda content: content["pictures"][0]["hands"][0].update(joints_cam_mm=[1]), "no list of 21 joints"),
    (
      lambda content: content["pictures"][0]["hands"][0]["joints_cam_mm"].__setitem__(3, [1, 2]),
      r"picture 0, right hand: joints_cam_mm\[3\] is \[1, 2\], expected 3 numbers, or null",
    ),
    (
      lambda content: content["pictures"][0]["hands"][0].update(confidence=["a"] * 21),
      r"confidence\[0\] is 'a', expected a number, or null",
    ),
    (
      lambda content: content["pictures"][0]["hands"][0].update(confidence=[1.0] * 4 + [-0.5] + [None] * 16),
      r"picture 0, right hand: confidence\[4\] is -0.5; none is below 0",
    ),
    (lambda content: content["pictures"][1].update(frame=1700000000000), "picture 1: its frame is 1700000000000"),
    (lambda content: content["pictures"][1].update(frame=7.5), "picture 1: its frame is 7.5"),
    (lambda content: content["pictures"][0].update(frame="7"), "picture 0: its frame is '7'"),
    (
      lambda content: content["pictures"][0]["hands"][0].update(note=[1, float("nan")]),
      r"pictures\[0\].hands\[0\].note\[1\] is no finite number; write null",
    ),
    (lambda content: content.update(made_s=float("inf")), ": made_s is no finite number"),
  ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, capsys, change, message):
  content = _content()
  change(content)
  path = _write(tmp_path / "in.json", content)
  with pytest.raises(ValueError, match=message):
    JointFile.read(path)
  assert cli.main(["fit", str(path), "--out", str(tmp_path / "out")]) == 1
  assert str(path) in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_what_is_no_input_is_named(tmp_path, capsys):
  assert cli.main(["fit", str(tmp_path / "none.json"), "--out", str(tmp_path / "out")]) == 1
  assert "there is no such file" in capsys.readouterr().err
  with pytest.raises(SystemExit):
    cli.main(["fit", "synthetic:test", "--out", str(tmp_path / "out"), "--noise", "-2"])
  assert "joint_mm=-2.0: it must be a number from 0.01 to 1e+06" in capsys.readouterr().err
  with pytest.raises(SystemExit):
    cli.main(["fit", "synthetic:test", "--out", str(tmp_path / "out"), "--noise", "2,1e39"])
  assert "joint_px=1e+39: it must be a number from 1e-06 to 1e+06" in capsys.readouterr().err
  assert cli.main(["fit", "synthetic:test", "--out", str(tmp_path / "out"), "--one-shape"]) == 1
  assert "--one-shape is for the videos of a predictions.json" in capsys.readouterr().err
  assert cli.main(["fit", "~nobody-is-called-so.json", "--out", str(tmp_path / "out")]) == 1
  assert "error: ~nobody-is-called-so.json: there is no such file" in capsys.readouterr().err


def test_a_written_file_is_whole(tmp_path):
  with pytest.raises(ValueError, match="not JSON compliant"):
    joint_files.write(tmp_path / "a.json", {"x": float("nan")})
  assert not list(tmp_path.iterdir())
