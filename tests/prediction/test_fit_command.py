"""What the command `fit` makes of joints that say too little or are no hand's, and what it says of them."""

import json

import numpy as np

from data_builders import shards
from jaxhands import cli, schema
from jaxhands.data.fits import LARGEST_SHAPE
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel
from tests.data.conftest import make_record

CAMERA = np.array([[900, 0, 320], [0, 900, 240], [0, 0, 1]], np.float32)
KNOWN = {"fx": 900, "fy": 900, "cx": 320, "cy": 240}
ENDINGS = (
  "have a shape that no hand has: are joints_cam_mm millimetres, and --noise large enough?",
  "have joints that lie in a line, or within 5 mm or 2 pixels (are joints_cam_mm millimetres?), and no parameters",
  "have joints in a picture without camera, and no parameters",
  "have too few joints, and no parameters",
)


def _joints():
  mano = np.zeros((2, schema.MANO_DIM), np.float32)
  mano[:, schema.MANO_TRANSLATION] = [10, 20, 500]
  mano[:, 3:48] = HandModel.default().hands_mean
  mano[:, 2] = 0.7
  return np.asarray(HandModel.default().forward_mano(mano).keypoints)[0]


def _only(points, count):
  return [point if place < count else None for place, point in enumerate(points.tolist())]


def _fitted(tmp_path, pictures, *more):
  """The file's pictures and arrays, of right hands, each with its camera."""
  written = [{"camera": known, "hands": [{"hand": "right", **hand}]} for hand, known in pictures]
  content = {"format": "jaxhands-predictions", "version": 1, "pictures": written}
  (tmp_path / "in.json").write_text(json.dumps(content))
  assert cli.main(["fit", str(tmp_path / "in.json"), "--out", str(tmp_path / "out"), *more]) == 0
  with np.load(tmp_path / "out" / "fits.npz") as arrays:
    return dict(arrays)


def _counts(printed):
  """Of each of `ENDINGS`."""
  found = {line.split(" hands ", 1)[1]: int(line.split()[0]) for line in printed.splitlines() if " hands " in line}
  return [found.get(ending, 0) for ending in ENDINGS]


def test_a_shape_that_no_hand_has_is_said(tmp_path, capsys):
  """Joints in centimetres meet a hand that is a tenth of one; a child's hand is none of these."""
  joints = _joints()
  hands = [{"joints_cam_mm": (joints * scale).tolist()} for scale in (1, 0.7, 0.1, 1 / 2.54 / 2)]
  found = _fitted(tmp_path, [(hand, None) for hand in hands])
  assert _counts(capsys.readouterr().out) == [2, 0, 0, 0]
  odd = np.abs(found["mano"][:, 0, schema.MANO_SHAPE]).max(-1) > LARGEST_SHAPE
  assert odd.tolist() == [False, False, True, True]


def test_hands_without_parameters_are_counted_by_what_they_lack(tmp_path, capsys):
  joints = _joints()
  pixels, line = np.asarray(camera.project(joints, CAMERA)), np.linspace([0, 0, 400], [90, 9, 430], 21)
  hands = [
    ({"joints_cam_mm": (joints / 1000).tolist()}, None),
    ({"joints_cam_mm": line.tolist()}, None),
    ({"joints_img": np.linspace([0, 0], [90, 9], 21).tolist()}, KNOWN),
    ({"joints_img": pixels.tolist()}, None),
    ({"joints_img": pixels.tolist(), "joints_cam_mm": _only(joints, 2)}, None),
    ({"joints_img": _only(pixels, 5)}, KNOWN),
    ({"joints_cam_mm": _only(joints, 2)}, None),
    ({"joints_cam_mm": joints.tolist(), "confidence": [1.0] * 2 + [1e-40] * 19}, None),
  ]
  found = _fitted(tmp_path, hands)
  assert _counts(capsys.readouterr().out) == [0, 3, 2, 3]
  assert not found["valid"].any()


def test_few_joints_in_space_do_not_do_away_with_pixels(tmp_path):
  """One says how far away the hand is; with three, pixels are not looked at."""
  joints = _joints()
  pixels = np.asarray(camera.project(joints, CAMERA)).tolist()
  hands = [({"joints_img": pixels, "joints_cam_mm": _only(joints, count)}, KNOWN) for count in (1, 2, 21)]
  found = _fitted(tmp_path, hands)
  assert found["valid"][:, 0].all()
  assert np.linalg.norm(found["joints_cam"][:, 0] - joints, axis=-1).mean(-1).max() < 3
  assert ((found["error_mm"][:, 0] > 0).sum(-1) <= [1, 2, 21]).all()
  assert (found["error_px"][:, 0] > 0).any(-1).tolist() == [True, True, False]


def _of_pixels(split, index):
  """Both hands, in the picture of an unknown camera alone."""
  record = make_record(split, 3 * index + 2)
  unknown = ("joints_cam", "joints_cam_valid", "camera_img", "camera_valid")
  return record | {key: np.zeros_like(record[key])[()] for key in unknown}


def test_records_without_camera_are_said(tmp_path, capsys):
  plan = shards.Plan("pixels", {}, {"train": 3}, _of_pixels, "Pixels alone.", records_per_shard=5)
  folder = shards.build(plan, tmp_path / "set")
  assert cli.main(["fit", f"{folder}:train", "--out", str(tmp_path / "out")]) == 0
  assert _counts(capsys.readouterr().out)[1:] == [0, 6, 0]
