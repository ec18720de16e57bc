"""OBJ and PLY: the meshes of one moment, by trimesh."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from jaxhands import schema
from jaxhands.drawing.overlay import HAND_RGB
from jaxhands.meshes.clip import Clip, from_camera
from jaxhands.runs import folder as files

_HEADER = "metres; x right, y up, z towards the viewer; the camera is at the origin"
_DIGITS = 6  # micrometres


def write(path: pathlib.Path, clip: Clip) -> list[pathlib.Path]:
  """Writes an .obj with the objects `right_hand` and `left_hand`, or a .ply of both in colours; see `meshes.write`."""
  import trimesh  # where nothing is written it is not needed
  from trimesh.exchange import obj, ply

  vertices = from_camera(clip.vertices_cam(0).astype(np.float64))
  hands: list[Any] = []
  for hand in np.flatnonzero(clip.present[0]):
    name = schema.HANDS[hand]
    hands.append(
      trimesh.Trimesh(
        vertices[hand],
        np.asarray(clip.model.faces[hand]),
        process=False,
        vertex_colors=np.tile(np.array([*HAND_RGB[name], 255], np.uint8), (len(vertices[hand]), 1)),
        metadata={"name": f"{name}_hand"},
      )
    )
  if path.suffix.lower() == ".ply":
    both = trimesh.util.concatenate(hands)
    content = ply.export_ply(both, vertex_normal=True)
  else:
    content = obj.export_obj(
      trimesh.Scene(hands), include_normals=True, include_color=False, digits=_DIGITS, header=_HEADER
    ).encode()  # fmt: skip
  with files.written(path) as file:
    file.write(content)
  return [path]
