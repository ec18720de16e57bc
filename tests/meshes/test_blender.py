"""Where Blender is installed: it opens the files, and has the vertices and joints where the hand model has them."""

import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from jaxhands import meshes
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from tests.meshes import clips

SCRIPT = pathlib.Path(__file__).with_name("in_blender.py")
MODEL = HandModel.default()


def _opened(path, times):
  blender = shutil.which("blender")
  if not blender:
    pytest.skip("no blender")
  out = path.with_suffix(".json")
  command = [blender, "--background", "--factory-startup", "--python-exit-code", "1", "--python", SCRIPT, "--"]
  run = subprocess.run([*command, path, out, *map(str, times)], capture_output=True, text=True)
  assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
  return json.loads(out.read_text())


def test_a_clip_moves_in_blender(tmp_path):
  clip = clips.clip(MODEL, 4, gone=[(2, 1)])
  (path,) = meshes.write(tmp_path / "a.glb", clip)
  found = _opened(path, clip.time_s)
  assert found["cameras"]
  for moment, there in enumerate(found["moments"]):
    for hand, name in enumerate(("right", "left")):
      vertices = np.array(there["meshes"][f"{name}_hand"])
      if clip.present[moment, hand]:
        np.testing.assert_allclose(vertices, clips.in_files(clip.vertices_cam(moment)[hand]), atol=2e-5)
      else:
        assert np.ptp(vertices, axis=0).max() < 1e-6


def test_joints_move_in_blender(tmp_path):
  clip = clips.clip(MODEL, 4)
  true = clips.in_files(np.asarray(MODEL.forward_mano(clip.mano).joints))
  for hand, path in enumerate(meshes.write(tmp_path / "a.bvh", clip)):
    side = ("right", "left")[hand]
    for moment, there in enumerate(_opened(path, clip.time_s)["moments"]):
      found = [there["joints"][f"{side}_{name}"] for name in skeleton.MANO_JOINT_NAMES]
      np.testing.assert_allclose(found, true[moment, hand], atol=1e-4)
