"""Meshes of both hands as files of other tools: glTF with joints and animation, BVH, OBJ and PLY.

    from jaxhands import meshes
    meshes.write(pathlib.Path("clip.glb"), clip)  # the suffix says which

Whatever the file, it has glTF's frame: the camera at the origin, metres, x right, y up, z towards the viewer.
docs/meshes.md describes the files.
"""

from __future__ import annotations

import pathlib

from jaxhands.meshes import bvh, gltf, stills
from jaxhands.meshes.clip import Clip, View

FORMATS = ("glb", "bvh", "obj", "ply")
MOVING = ("glb", "bvh")  # hold a whole clip; the others one moment
__all__ = ["FORMATS", "MOVING", "Clip", "View", "check_format", "write"]


def write(path: pathlib.Path, clip: Clip) -> list[pathlib.Path]:
  """Writes the hands of a clip, or of a picture, whole or not at all.

  Args:
    path: of the file; .glb or .bvh, or of one moment .obj or .ply. A .bvh is one file for each hand, `NAME_right.bvh`
      and `NAME_left.bvh`.
    clip: what to write; hands that are never there are left out.
  Returns:
    The files, in the hands' order.
  Raises:
    ValueError: another suffix, no hand at all, or a clip of several moments as .obj or .ply.
  """
  form = path.suffix.lower().removeprefix(".")
  check_format(form)
  if not clip.present.any():
    raise ValueError(f"{path}: there is no hand to write")
  if form not in MOVING and len(clip.mano) > 1:
    raise ValueError(f"{path}: a .{form} holds one moment, not {len(clip.mano)}; write them one by one, or a .glb")
  return {"glb": gltf.write, "bvh": bvh.write, "obj": stills.write, "ply": stills.write}[form](path, clip)


def check_format(form: str) -> None:
  """Raises `ValueError` of what is no format of meshes."""
  if form not in FORMATS:
    raise ValueError(f"{form!r} is no format of meshes; there are {', '.join(FORMATS)}")
