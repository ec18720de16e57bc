"""Colours of a hand's skin from a picture, such as those of HTML (Qian et al., ECCV 2020), instead of drawn ones.

A folder of textures holds pictures and one OBJ file whose faces have texture coordinates: MANO's own
(`MANO_UV_right.obj`), or one of a texture's. Vertices of both hands correspond, so one layout serves both.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import cv2
import numpy as np
from jaxtyping import Float32, Integer

from jaxhands.render import picture_size
from jaxhands.render.backgrounds import read_picture
from jaxhands.render.skin import Skin, linear_from_srgb

SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclasses.dataclass(frozen=True, eq=False)
class Texture:
  """What a hand's faces reflect: linear light, and the place of each face's corners in it (px)."""

  picture: Float32[np.ndarray, "h w 3"]
  corners: Float32[np.ndarray, "F 3 2"]


NO_TEXTURE = Texture(np.zeros((0, 0, 3), np.float32), np.zeros((0, 3, 2), np.float32))


def texture_files(folder: pathlib.Path) -> tuple[pathlib.Path, list[pathlib.Path]]:
  """The OBJ file with the layout and the pictures of a folder, sorted.

  Raises:
    ValueError: no folder, not exactly one layout, no picture, or one of over 100 megapixels.
  """
  if not folder.is_dir():
    raise ValueError(f"textures {folder} is not a folder")
  layouts = sorted(folder.glob("*.obj"))
  pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and os.path.isfile(path))
  if len(layouts) != 1 or not pictures:
    raise ValueError(
      f"textures {folder} holds {len(layouts)} OBJ files and {len(pictures)} pictures; it needs one OBJ file with "
      f"texture coordinates and pictures ({', '.join(SUFFIXES)})"
    )
  picture_size.check_all(pictures)
  return layouts[0], pictures


def read_layout(path: pathlib.Path, faces: Integer[np.ndarray, "F 3"]) -> Float32[np.ndarray, "F 3 2"]:
  """Texture coordinates (0..1, from the upper left corner) of the corners of a model's faces.

  Args:
    path: OBJ file with `vt`, and `f` as vertex/texture; it may have more faces, in any order and direction.
    faces: vertices of the model's faces.
  Raises:
    ValueError: the file cannot be read, or lacks a face.
  """
  places: list[tuple[float, float]] = []
  found: dict[frozenset[int], dict[int, int]] = {}
  try:
    for line in path.read_text("utf-8-sig").splitlines():
      kind, *words = line.split() or [""]
      if kind == "vt":
        places.append((float(words[0]), 1.0 - float(words[1])))
      elif kind == "f":
        corners = {int(vertex) - 1: int(place) - 1 for vertex, place in (word.split("/")[:2] for word in words)}
        found[frozenset(corners)] = corners
    return np.array([[places[found[frozenset(face)][v]] for v in face] for face in faces.tolist()], np.float32)
  except KeyError as error:
    missing = sorted(vertex + 1 for vertex in error.args[0])
    raise ValueError(f"{path} has no face of vertices {missing}; its mesh is not the hand model's") from error
  except (OSError, ValueError, IndexError) as error:
    raise ValueError(f"{path} cannot be read as an OBJ file with texture coordinates: {error}") from error


def read_texture(path: pathlib.Path, layout: Float32[np.ndarray, "F 3 2"]) -> Texture:
  """A texture from its picture (sRGB).

  Raises:
    ValueError: the picture cannot be read, or has over 100 megapixels.
  """
  picture = read_picture(path, cv2.IMREAD_COLOR_RGB)
  if picture is None:
    raise ValueError(f"cannot read the texture {path}")
  size = np.array(picture.shape[1::-1], np.float32)
  return Texture(linear_from_srgb(picture.astype(np.float64)).astype(np.float32), layout * size - np.float32(0.5))


def skin_of(texture: Texture, skin: Skin) -> Skin:
  """A skin with the texture's mean colour, for the arm, and without the marks that the texture has itself."""
  middle = np.rint(texture.corners.mean(1)).astype(int).clip(0, np.array(texture.picture.shape[1::-1]) - 1)
  red, green, blue = (float(c) for c in texture.picture[middle[:, 1], middle[:, 0]].mean(0, dtype=np.float64))
  colour = (red, green, blue)
  return dataclasses.replace(skin, back=colour, palm=colour, nail=colour)
