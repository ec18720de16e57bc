"""The file, read by other means, has the vertices of the hand model; and Khronos' validator has nothing to say."""

import dataclasses
import json
import math
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from jaxhands import meshes
from jaxhands.hands.model import HandModel
from jaxhands.meshes import gltf
from jaxhands.meshes.skin import skins
from tests.meshes import clips

ROOT = pathlib.Path(__file__).resolve().parents[2]
_VALIDATE = """
const validator = require("gltf-validator"), bytes = new Uint8Array(require("fs").readFileSync(process.argv[1]));
validator.validateBytes(bytes).then(report => console.log(JSON.stringify(report)));
"""


@pytest.fixture(scope="module")
def embedded():
  return HandModel.default()


@pytest.fixture(scope="module")
def corrective(tmp_path_factory):
  return clips.with_correctives(tmp_path_factory.mktemp("mano"))


def _largest_mm(found, true_cam):
  return np.linalg.norm(found - clips.in_files(true_cam.astype(float)), axis=-1).max() * 1e3


def test_a_picture_has_the_very_meshes(embedded):
  clip = clips.clip(embedded, 1)
  glb = clips.Glb(gltf.as_bytes(clip))
  for hand, name in enumerate(("right", "left")):
    assert _largest_mm(glb.vertices(f"{name}_hand"), clip.vertices_cam(0)[hand]) < 1e-3
  assert "animations" not in glb.tree


def test_the_correctives_of_a_picture_are_in_its_mesh(corrective):
  clip = clips.clip(corrective, 1)
  glb = clips.Glb(gltf.as_bytes(clip))
  without = np.asarray(HandModel.forward_mano(_without_correctives(corrective), clip.mano[0]).vertices)
  for hand, name in enumerate(("right", "left")):
    found = _largest_mm(glb.vertices(f"{name}_hand"), clip.vertices_cam(0)[hand])
    assert found == pytest.approx(glb.tree["asset"]["extras"]["difference_mm"][name], abs=2e-3)
    assert found < 1e-3
    assert np.linalg.norm(without[hand] - clip.vertices_cam(0)[hand], axis=-1).max() > 1
  assert all("targets" not in mesh["primitives"][0] for mesh in glb.tree["meshes"])


def _without_correctives(model):
  return dataclasses.replace(model, posedirs=None)


@pytest.mark.parametrize("seed", range(3))
def test_a_clip_moves_as_the_model_does(embedded, seed):
  clip = clips.clip(embedded, 6, seed)
  glb = clips.Glb(gltf.as_bytes(clip))
  for moment, time_s in enumerate(clip.time_s):
    for hand, name in enumerate(("right", "left")):
      assert _largest_mm(glb.vertices(f"{name}_hand", time_s), clip.vertices_cam(moment)[hand]) < 1e-3
  for (_, path), (_, values, kind) in glb.channels.items():
    assert kind == "LINEAR"
    if path == "rotation":
      np.testing.assert_allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-6)
      assert ((values[1:] * values[:-1]).sum(-1) >= 0).all()


def test_morph_targets_have_what_the_pose_does_to_the_skin(corrective):
  clip = clips.clip(corrective, 8)
  glb = clips.Glb(gltf.as_bytes(clip))
  for skin in skins(clip):
    assert 0 < len(skin.targets) < 8
    assert (skin.strengths >= 0).all()
    assert (skin.strengths <= 1).all()
    errors = [
      _largest_mm(
        glb.vertices(f"{skin.name}_hand", time_s), clip.vertices_cam(moment)[("right", "left").index(skin.name)]
      )
      for moment, time_s in enumerate(clip.time_s)
    ]
    assert max(errors) == pytest.approx(skin.difference_mm, abs=2e-3)


def test_weights_that_are_left_out_are_told_by_what_they_cost(embedded):
  blurred = 0.8 * embedded.weights + 0.2 * np.float32(1 / 16)  # every joint moves every vertex
  clip = clips.clip(dataclasses.replace(embedded, weights=blurred), 1)
  glb = clips.Glb(gltf.as_bytes(clip))
  for hand, name in enumerate(("right", "left")):
    told = glb.tree["asset"]["extras"]["difference_mm"][name]
    assert told > 1
    assert _largest_mm(glb.vertices(f"{name}_hand"), clip.vertices_cam(0)[hand]) == pytest.approx(told, abs=2e-3)
  weights = [skin.weights for skin in skins(clip)]
  np.testing.assert_allclose([own.sum(1) for own in weights], 1, atol=2e-7)


def test_the_mean_shape_is_told_by_what_it_costs(embedded):
  clip = clips.clip(embedded, 5, steady=False)
  glb = clips.Glb(gltf.as_bytes(clip))
  told = glb.tree["asset"]["extras"]["difference_mm"]
  for hand, name in enumerate(("right", "left")):
    found = [
      _largest_mm(glb.vertices(f"{name}_hand", time_s), clip.vertices_cam(moment)[hand])
      for moment, time_s in enumerate(clip.time_s)
    ]
    assert max(found) == pytest.approx(told[name], abs=2e-3)
    assert 1 < told[name] < 60
    # The wrist stays where it was.
    wrist = [glb.world(glb.node(f"{name}_wrist"), time_s)[:3, 3] for time_s in clip.time_s]
    true = np.asarray(clip.model.forward_mano(clip.mano).joints)[:, hand, 0]
    np.testing.assert_allclose(wrist, clips.in_files(true), atol=1e-6)


def test_a_hand_that_is_gone_has_no_size(embedded):
  clip = clips.clip(embedded, 5, gone=[(0, 1), (3, 1)])
  glb = clips.Glb(gltf.as_bytes(clip))
  for moment in range(5):
    found = glb.vertices("left_hand", clip.time_s[moment])
    if clip.present[moment, 1]:
      assert _largest_mm(found, clip.vertices_cam(moment)[1]) < 1e-3
    else:
      assert np.ptp(found, axis=0).max() < 1e-9
    assert _largest_mm(glb.vertices("right_hand", clip.time_s[moment]), clip.vertices_cam(moment)[0]) < 1e-3


def test_a_hand_that_is_never_there_is_left_out(embedded):
  clip = clips.clip(embedded, 2, gone=[(0, 0), (1, 0)])
  glb = clips.Glb(gltf.as_bytes(clip))
  assert [mesh["name"] for mesh in glb.tree["meshes"]] == ["left_hand"]


def test_the_camera_sees_the_picture(embedded):
  """A point at the upper right corner of the picture, with the axis through its middle, is at the edge of the view."""
  clip = clips.clip(embedded, 1)
  glb = clips.Glb(gltf.as_bytes(clip))
  lens = glb.tree["cameras"][0]["perspective"]
  height, width = clips.VIEW.picture_hw
  half_height = math.tan(lens["yfov"] / 2)
  assert half_height == pytest.approx(height / 2 / 800)
  assert half_height * lens["aspectRatio"] == pytest.approx(width / 2 / 900)
  camera = glb.tree["nodes"][glb.node("camera")]
  assert not {"translation", "rotation", "matrix"} & set(camera)


def test_faces_look_outwards(embedded):
  """The signed volume of the mesh, which is open at the wrist only, is a hand's."""
  clip = clips.clip(embedded, 1)
  glb = clips.Glb(gltf.as_bytes(clip))
  for name in ("right_hand", "left_hand"):
    mesh = glb.tree["meshes"][glb.tree["nodes"][glb.node(name)]["mesh"]]["primitives"][0]
    points = glb.vertices(name)
    a, b, c = (points - points.mean(0))[glb.array(mesh["indices"]).reshape(-1, 3)].swapaxes(0, 1)
    litres = (a * np.cross(b, c)).sum() / 6 * 1e3
    assert 0.1 < litres < 0.8


@pytest.mark.parametrize("kind", ["picture", "clip", "gone", "correctives"])
def test_khronos_validator_finds_nothing(kind, embedded, corrective, tmp_path):
  made = {
    "picture": lambda: clips.clip(embedded, 1),
    "clip": lambda: clips.clip(embedded, 7, steady=False),
    "gone": lambda: clips.clip(embedded, 4, gone=[(0, 0), (2, 1)]),
    "correctives": lambda: clips.clip(corrective, 6),
  }[kind]()
  node = shutil.which("node")
  if not node:
    pytest.skip("no node")
  if subprocess.run([node, "-e", 'require("gltf-validator")'], cwd=ROOT, capture_output=True).returncode:
    pytest.skip("no gltf-validator: npm install --no-save gltf-validator")
  meshes.write(tmp_path / "a.glb", made)
  run = subprocess.run([node, "-e", _VALIDATE, tmp_path / "a.glb"], cwd=ROOT, capture_output=True, check=True)
  report = json.loads(run.stdout)
  assert report["issues"]["messages"] == []
  assert report["info"]["hasSkins"]
  assert report["info"]["animationCount"] == (0 if kind == "picture" else 1)
  assert report["info"]["hasMorphTargets"] == (kind == "correctives")
