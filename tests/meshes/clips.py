"""Clips to be written, and a reader of glTF that shares no code with the writer."""

import functools
import json
import pathlib
import struct

import numpy as np

from jaxhands.hands.model import HandModel
from jaxhands.meshes import Clip, View
from tests.hands import synthetic_mano

VIEW = View(np.array([[900, 0, 330], [0, 800, 250], [0, 0, 1]], np.float32), (480, 640))
GOLDENS = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "mano"
_TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_SIZES = {"SCALAR": (), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


def with_correctives(folder):
  """A model of MANO's format, whose skin changes with the pose; made up, not the released one."""
  return HandModel.from_mano(synthetic_mano.write_pair(GOLDENS, folder))


def clip(model, moments=6, seed=0, gone=(), steady=True, bend=0.4):
  """Both hands in random poses before the camera; `gone` are pairs of a moment and a hand that is not there."""
  rng = np.random.default_rng(seed)
  # From pose to pose, so that the global rotation passes half a turn.
  mano = np.cumsum(rng.normal(0, bend, (moments, 2, 61)), 0).astype(np.float32)
  mano[..., :3] *= 3
  mano[..., 48:58] = rng.normal(0, 1, (1 if steady else moments, 2, 10))
  mano[..., 58:] = rng.normal(0, 20, (moments, 2, 3)) + [[-60, 10, 500], [70, -10, 520]]
  present = np.ones((moments, 2), bool)
  for moment, hand in gone:
    present[moment, hand] = False
  return Clip(model, mano, present, np.arange(moments) / 12.5, VIEW)


class Glb:
  """A binary glTF file, taken apart and computed as section 3.7.3.2 of the specification says."""

  def __init__(self, content):
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
    self.tree = json.loads(content[20 : 20 + size])
    assert size % 4 == 0
    rest, kind = struct.unpack_from("<I4s", content, 20 + size)
    assert kind == b"BIN\0"
    self.data = content[28 + size :]
    assert len(self.data) == rest >= self.tree["buffers"][0]["byteLength"]

  def array(self, index):
    accessor = self.tree["accessors"][index]
    view = self.tree["bufferViews"][accessor["bufferView"]]
    shape = (accessor["count"], *_SIZES[accessor["type"]])
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    assert start % 4 == 0
    values = np.frombuffer(self.data, _TYPES[accessor["componentType"]], int(np.prod(shape)), start).reshape(shape)
    assert values.nbytes == view["byteLength"]
    if "min" in accessor:
      np.testing.assert_array_equal(np.atleast_1d(values.min(0)), np.float32(accessor["min"]))
      np.testing.assert_array_equal(np.atleast_1d(values.max(0)), np.float32(accessor["max"]))
    return values

  def node(self, name):
    (found,) = [index for index, node in enumerate(self.tree["nodes"]) if node.get("name") == name]
    return found

  @functools.cached_property
  def channels(self):
    """{(node, path): (times, values, interpolation)}."""
    found = {}
    for animation in self.tree.get("animations", []):
      for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        key = channel["target"]["node"], channel["target"]["path"]
        assert key not in found
        times = self.array(sampler["input"])
        assert (np.diff(times) > 0).all()
        found[key] = times, self.array(sampler["output"]), sampler["interpolation"]
    return found

  def vertices(self, mesh_name, time_s=None):
    """The skinned vertices of a mesh at a moment that has a key, or as the nodes stand."""
    node = self.tree["nodes"][self.node(mesh_name)]
    skin, mesh = self.tree["skins"][node["skin"]], self.tree["meshes"][node["mesh"]]
    (primitive,) = mesh["primitives"]
    attributes = primitive["attributes"]
    points = self.array(attributes["POSITION"]).astype(float)
    strengths = np.array(mesh.get("weights", []))
    if time_s is not None:
      strengths = self._at((self.node(mesh_name), "weights"), time_s, strengths, len(strengths))
    for target, strength in zip(primitive.get("targets", []), strengths, strict=True):
      points = points + strength * self.array(target["POSITION"])
    back = self.array(skin["inverseBindMatrices"]).swapaxes(1, 2)
    matrices = np.stack([self.world(joint, time_s) @ back[i] for i, joint in enumerate(skin["joints"])])
    joints, weights = self.array(attributes["JOINTS_0"]), self.array(attributes["WEIGHTS_0"])
    mixed = np.einsum("vs,vsij->vij", weights, matrices[joints])
    return np.einsum("vij,vj->vi", mixed, np.concatenate([points, np.ones((len(points), 1))], 1))[:, :3]

  def _at(self, key, time_s, still, width):
    if key not in self.channels:
      return still
    times, values, _ = self.channels[key]
    values = values.reshape(len(times), width)
    row = max(np.searchsorted(times, time_s + 1e-6) - 1, 0)  # between keys only what is not shown is asked for
    return values[row]

  def world(self, index, time_s=None):
    """The global transform of a node."""
    node, parts = self.tree["nodes"][index], {}
    for path, width, still in (("translation", 3, (0, 0, 0)), ("rotation", 4, (0, 0, 0, 1)), ("scale", 3, (1, 1, 1))):
      parts[path] = np.array(node.get(path, still), float)
      if time_s is not None:
        parts[path] = self._at((index, path), time_s, parts[path], width)
    x, y, z, w = parts["rotation"] / np.linalg.norm(parts["rotation"])
    turn = np.array([
      [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
      [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
      [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    local = np.eye(4)
    local[:3, :3], local[:3, 3] = turn * parts["scale"], parts["translation"]
    parents = [i for i, other in enumerate(self.tree["nodes"]) if index in other.get("children", [])]
    return self.world(parents[0], time_s) @ local if parents else local


def in_files(points_cam):
  """Metres, x right, y up, z towards the viewer."""
  return np.stack([points_cam[..., 0], -points_cam[..., 1], -points_cam[..., 2]], -1) / 1000
