"""OBJ and PLY, read by other means; and what is refused."""

import dataclasses

import numpy as np
import pytest

from jaxhands import meshes
from jaxhands.hands.model import HandModel
from tests.meshes import clips

MODEL = HandModel.default()


def _read_obj(text):
  """{object: (vertices, faces)}, faces counted from the object's own first vertex."""
  objects, before, current = {}, 0, None
  for line in text.splitlines():
    kind, *words = line.split() or ["#"]
    if kind == "o":
      before += len(current[0]) if current else 0
      current = objects[words[0]] = [], []
    elif kind == "v":
      current[0].append([float(word) for word in words])
    elif kind == "f":
      current[1].append([int(word.split("/")[0]) - 1 - before for word in words])
  return {name: tuple(map(np.array, found)) for name, found in objects.items()}


def _read_ply(content):
  head, body = content.split(b"end_header\n", 1)
  lines = head.decode().splitlines()
  assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
  (vertices,) = [int(line.split()[-1]) for line in lines if line.startswith("element vertex")]
  (faces,) = [int(line.split()[-1]) for line in lines if line.startswith("element face")]
  properties = [line.split()[1:] for line in lines if line.startswith("property") and "list" not in line]
  kinds = {"float": "<f4", "uchar": "u1", "double": "<f8"}
  table = np.frombuffer(body, np.dtype([(name, kinds[kind]) for kind, name in properties]), vertices)
  rest = np.frombuffer(body[table.nbytes :], np.dtype([("n", "u1"), ("f", "<i4", 3)]), faces)
  assert (rest["n"] == 3).all()
  return table, rest["f"]


def test_an_obj_has_both_hands_as_objects(tmp_path):
  clip = clips.clip(MODEL, 1)
  assert meshes.write(tmp_path / "new" / "a.obj", clip) == [tmp_path / "new" / "a.obj"]
  objects = _read_obj((tmp_path / "new" / "a.obj").read_text())
  assert list(objects) == ["right_hand", "left_hand"]
  for hand, (vertices, faces) in enumerate(objects.values()):
    np.testing.assert_allclose(vertices, clips.in_files(clip.vertices_cam(0)[hand]), atol=1e-6)
    np.testing.assert_array_equal(faces, MODEL.faces[hand])


def test_a_ply_has_both_hands_in_colours(tmp_path):
  clip = clips.clip(MODEL, 1)
  meshes.write(tmp_path / "a.ply", clip)
  table, faces = _read_ply((tmp_path / "a.ply").read_bytes())
  found = np.stack([table[axis] for axis in "xyz"], -1)
  np.testing.assert_allclose(found, clips.in_files(clip.vertices_cam(0).reshape(-1, 3)), atol=1e-6)
  np.testing.assert_array_equal(faces, np.concatenate([MODEL.faces[0], MODEL.faces[1] + len(found) // 2]))
  right, left = table[0], table[-1]
  assert right["red"] > right["blue"]
  assert left["blue"] > left["red"]


def test_one_hand_is_written_alone(tmp_path):
  clip = clips.clip(MODEL, 1, gone=[(0, 0)])
  meshes.write(tmp_path / "a.obj", clip)
  ((name, (vertices, _)),) = _read_obj((tmp_path / "a.obj").read_text()).items()
  assert name == "left_hand"
  np.testing.assert_allclose(vertices, clips.in_files(clip.vertices_cam(0)[1]), atol=1e-6)


def test_what_cannot_be_written_is_refused(tmp_path):
  clip = clips.clip(MODEL, 2)
  with pytest.raises(ValueError, match="'stl' is no format of meshes; there are glb, bvh, obj, ply"):
    meshes.write(tmp_path / "a.stl", clip)
  with pytest.raises(ValueError, match=r"a \.obj holds one moment, not 2"):
    meshes.write(tmp_path / "a.obj", clip)
  with pytest.raises(ValueError, match="there is no hand to write"):
    meshes.write(tmp_path / "a.glb", dataclasses.replace(clip, present=np.zeros((2, 2), bool)))
  with pytest.raises(ValueError, match="time_s has to rise over 2 moments"):
    dataclasses.replace(clip, time_s=np.zeros(2))
  with pytest.raises(ValueError, match="not finite"):
    dataclasses.replace(clip, mano=np.full_like(clip.mano, np.nan))
  assert not list(tmp_path.iterdir())
