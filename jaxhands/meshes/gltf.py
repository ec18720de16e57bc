"""glTF 2.0 as one binary file: both hands with joints and weights, and of a clip how they move.

    right_skeleton        scaled to nothing while the hand is not there
      right_wrist         16 joints, which the animation turns; the wrist is also moved
        right_index1 …
    right_hand            the mesh with its skin
    camera                at the origin, where it is known

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html; numbers in comments are its sections.
"""

from __future__ import annotations

import math
import pathlib
from typing import Any

import numpy as np

from jaxhands import __version__
from jaxhands.drawing.overlay import HAND_RGB
from jaxhands.hands import skeleton
from jaxhands.meshes.clip import Clip, View
from jaxhands.meshes.skin import Skin, skins
from jaxhands.runs import folder as files

_FLOAT, _BYTE, _SHORT, _INT = 5126, 5121, 5123, 5125
_COMPONENTS = {"<f4": _FLOAT, "|u1": _BYTE, "<u2": _SHORT, "<u4": _INT}
_VERTICES, _INDICES = 34962, 34963  # what a buffer view is for
_NEAR_M = 0.01


def write(path: pathlib.Path, clip: Clip) -> list[pathlib.Path]:
  """Writes a .glb; see `meshes.write`."""
  with files.written(path) as file:
    file.write(as_bytes(clip))
  return [path]


def as_bytes(clip: Clip) -> bytes:
  """The file's content."""
  import pygltflib as gltf  # where nothing is written it is not needed

  of_hands = skins(clip)
  about = {
    "hand_model": clip.model.identity,
    "scale": clip.scale,
    "difference_mm": {skin.name: round(skin.difference_mm, 4) for skin in of_hands},
  }
  asset = gltf.Asset(generator=f"jaxhands {__version__}", extras=about)
  whole = gltf.GLTF2(asset=asset, scene=0, scenes=[gltf.Scene(nodes=[])])
  data = _Data(gltf, whole)
  moving = len(clip.mano) > 1
  if moving:
    whole.animations = [gltf.Animation(name="hands")]
  for skin in of_hands:
    root, joints, mesh = _hand(gltf, whole, data, skin)
    if moving:
      _animate(gltf, whole.animations[0], data, clip, skin, (root, *joints, mesh))
  if clip.view:
    _camera(gltf, whole, clip.view)
  whole.buffers = [gltf.Buffer(byteLength=len(data.bytes))]
  whole.set_binary_blob(bytes(data.bytes))
  return b"".join(whole.save_to_bytes())


class _Data:
  """The file's numbers, one after the other."""

  def __init__(self, gltf: Any, whole: Any):
    self._gltf, self._whole, self.bytes = gltf, whole, bytearray()

  def add(self, values: np.ndarray, use: int | None = None, bounds: bool = False) -> int:
    """The number of a new accessor: of scalars [N], vectors [N, 3 | 4] or matrices [N, 4, 4]; 3.6.2."""
    values = np.ascontiguousarray(values)
    self.bytes += bytes(-len(self.bytes) % 4)
    view = self._gltf.BufferView(buffer=0, byteOffset=len(self.bytes), byteLength=values.nbytes, target=use)
    self.bytes += values.tobytes()
    self._whole.bufferViews.append(view)
    kinds = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
    accessor = self._gltf.Accessor(
      bufferView=len(self._whole.bufferViews) - 1, componentType=_COMPONENTS[values.dtype.str], count=len(values),
      type=kinds[values.shape[1:]],
    )  # fmt: skip
    if bounds:
      accessor.min, accessor.max = (np.atleast_1d(edge(values, 0)).tolist() for edge in (np.min, np.max))
    self._whole.accessors.append(accessor)
    return len(self._whole.accessors) - 1


def _hand(gltf: Any, whole: Any, data: _Data, skin: Skin) -> tuple[int, list[int], int]:
  """Adds a hand as it is at its first moment; numbers of its root, of its 16 joints and of its mesh's node."""
  root = len(whole.nodes)
  joints = [root + 1 + joint for joint in range(len(skin.joints))]
  whole.nodes.append(gltf.Node(name=f"{skin.name}_skeleton", children=[joints[0]]))
  for joint, name in enumerate(skeleton.MANO_JOINT_NAMES):
    parent = int(skeleton.MANO_PARENTS[joint])
    place = skin.wrist[0] if joint == 0 else skin.joints[joint] - skin.joints[parent]
    children = [joints[child] for child in np.flatnonzero(np.equal(skeleton.MANO_PARENTS, joint))]
    whole.nodes.append(
      gltf.Node(
        name=f"{skin.name}_{name}",
        children=children,
        translation=place.tolist(),
        rotation=skin.turns[0, joint].tolist(),
      )
    )
  back = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
  back[:, 3, :3] = -skin.joints  # columns first; 3.6.2.4
  whole.skins.append(
    gltf.Skin(name=f"{skin.name}_hand", joints=joints, skeleton=root, inverseBindMatrices=data.add(back))
  )
  mesh = len(whole.nodes)
  whole.nodes.append(gltf.Node(name=f"{skin.name}_hand", mesh=len(whole.meshes), skin=len(whole.skins) - 1))
  whole.meshes.append(_mesh(gltf, data, skin, len(whole.materials)))
  whole.materials.append(_material(gltf, skin.name))
  whole.scenes[0].nodes += [root, mesh]
  return root, joints, mesh


def _mesh(gltf: Any, data: _Data, skin: Skin, material: int) -> Any:
  index = np.uint16 if len(skin.vertices) < 2**16 - 1 else np.uint32
  attributes = gltf.Attributes(
    POSITION=data.add(skin.vertices, _VERTICES, bounds=True),
    NORMAL=data.add(skin.normals, _VERTICES),
    JOINTS_0=data.add(skin.influences, _VERTICES),
    WEIGHTS_0=data.add(skin.weights, _VERTICES),
  )
  targets = [gltf.Attributes(POSITION=data.add(target, _VERTICES, bounds=True)) for target in skin.targets]
  primitive = gltf.Primitive(
    attributes=attributes, indices=data.add(skin.faces.ravel().astype(index), _INDICES), material=material,
    targets=targets,
  )  # fmt: skip
  return gltf.Mesh(name=f"{skin.name}_hand", primitives=[primitive], weights=skin.strengths[0].tolist())


def _material(gltf: Any, hand: str) -> Any:
  srgb = np.array(HAND_RGB[hand]) / 255
  linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)  # 3.9.2
  surface = gltf.PbrMetallicRoughness(
    baseColorFactor=[*linear.round(4).tolist(), 1.0], metallicFactor=0.0, roughnessFactor=0.7
  )
  # The mesh is open at the wrist, through which one sees its inside.
  return gltf.Material(name=f"{hand}_hand", pbrMetallicRoughness=surface, doubleSided=True)


def _animate(gltf: Any, animation: Any, data: _Data, clip: Clip, skin: Skin, nodes: tuple[int, ...]) -> None:
  """Adds what moves a hand; `nodes` are its root, its joints and its mesh's node."""
  root, *joints, mesh = nodes
  times = clip.time_s.astype(np.float32)

  def channel(node: int, path: str, when: int, values: np.ndarray, kind: str = "LINEAR") -> None:
    sampler = gltf.AnimationSampler(input=when, output=data.add(values), interpolation=kind)
    target = gltf.AnimationChannelTarget(node=node, path=path)
    animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers), target=target))
    animation.samplers.append(sampler)

  there = data.add(times[skin.rows], bounds=True)
  channel(joints[0], "translation", there, skin.wrist)
  for joint, node in enumerate(joints):
    channel(node, "rotation", there, skin.turns[:, joint])
  if len(skin.targets):
    channel(mesh, "weights", there, skin.strengths.ravel())
  if len(skin.rows) < len(times):
    size = np.isin(np.arange(len(times)), skin.rows).astype(np.float32)
    channel(root, "scale", data.add(times, bounds=True), np.repeat(size[:, None], 3, 1), "STEP")


def _camera(gltf: Any, whole: Any, view: View) -> None:
  """Adds the camera; its axis goes through the middle of the picture, as glTF has no other. 3.10."""
  height, width = view.picture_hw
  fx, fy = float(view.camera_img[0, 0]), float(view.camera_img[1, 1])
  perspective = gltf.Perspective(
    aspectRatio=width / fx * fy / height, yfov=2 * math.atan(height / 2 / fy), znear=_NEAR_M
  )
  whole.cameras.append(gltf.Camera(name="camera", type="perspective", perspective=perspective))
  whole.scenes[0].nodes.append(len(whole.nodes))
  whole.nodes.append(gltf.Node(name="camera", camera=0))
