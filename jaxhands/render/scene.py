"""From a scene of one or two hands to its pictures and labels.

Each hand with its arm is one layer, drawn and shaded once; every picture is another order of the same layers. Pictures
of a scene therefore agree exactly wherever they show the same thing: filling in what is hidden and what is behind is
all that leads from one to the other. (A hand keeps the other's soft shadow where the other one is taken away.)
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, UInt8

from jaxhands.render import material, nails, shading, zbuffer
from jaxhands.render.arm import Forearm, Sleeve, forearm, lid
from jaxhands.render.cameras import View
from jaxhands.render.labels import DrawnHand, combine
from jaxhands.render.lighting import Lighting, light_matrix, shadow_map
from jaxhands.render.sensor import Sensor, develop
from jaxhands.render.skin import Skin, linear_from_srgb, noise_volume
from jaxhands.render.surface import HandSurface, occlusion, vertex_normals
from jaxhands.render.texture import NO_TEXTURE, Texture

PICTURES = ("picture", "deoccluded", "removed")
# How dark a surface gets per unit of `occlusion`.
_SKY_HIDDEN, _SKY_HIDDEN_BY_OTHER = 0.8, 0.4
# mm per texel of the noise volume, once for the blotches and once for the grain.
_BLOTCH_TEXEL_MM, _GRAIN_TEXEL_MM = 1.5, 0.42
_NO_CLOTH, _NO_SHADOW = np.zeros(8, np.float32), np.zeros((0, 0), np.float32)

_Box = tuple[int, int, int, int]  # first row, past the last, first column, past the last


@dataclasses.dataclass(frozen=True, eq=False)
class Hand:
  """A posed hand in the world's frame and its looks; without an arm the wrist ends in a flat lid."""

  surface: HandSurface
  vertices_world: Float32[np.ndarray, "V 3"]  # mm
  skin: Skin
  forearm: Forearm | None = None
  texture: Texture | None = None  # takes the place of the skin's colours


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """Right and left hand, of which one may be missing, and the light."""

  hands: tuple[Hand | None, Hand | None]
  lighting: Lighting


@dataclasses.dataclass(frozen=True, eq=False)
class Rendered:
  """Pictures (sRGB) and labels of a scene in one view, all at the picture's size, integer coordinates = pixel centres.

  Pictures that were not asked for are None; those of a missing hand are black. Labels are of the hands without their
  arms, which hide them nevertheless. Amodal is what is seen of a hand once the other one and its arm are away.
  """

  picture: UInt8[np.ndarray, "h w 3"] | None
  deoccluded: UInt8[np.ndarray, "2 h w 3"] | None  # per hand: this hand and its arm in front of everything
  removed: UInt8[np.ndarray, "2 h w 3"] | None  # per hand: this hand and its arm alone
  depth_mm: Float32[np.ndarray, "h w"]  # hands and arms; infinite where there is none
  face_map: Int32[np.ndarray, "h w"]  # hand x F + face of its surface; -1 background, arm or lid
  parts: UInt8[np.ndarray, "h w"]  # schema.NUM_PARTS classes
  masks: UInt8[np.ndarray, "2 2 h w"]  # hand; amodal, visible


class _Layer(NamedTuple):
  """A hand and its arm in the camera's frame: faces of the hand, then of other skin, then of cloth."""

  hand: Hand
  vertices: Float32[np.ndarray, "N 3"]  # the hand's own first
  faces: Int32[np.ndarray, "M 3"]
  num_hand: int
  num_skin: int
  points_img: Float64[np.ndarray, "N 3"]
  skin_mm: Float32[np.ndarray, "N 3"]
  palm: Float32[np.ndarray, " N"]

  @property
  def hand_vertices(self) -> Float32[np.ndarray, "V 3"]:
    return self.vertices[: len(self.hand.vertices_world)]


def render(
  scene: Scene,
  view: View,
  background: UInt8[np.ndarray, "h w 3"],
  sensor: Sensor,
  pictures: tuple[str, ...] = PICTURES,
  samples: int = 2,
) -> Rendered:
  """Renders a scene.

  Args:
    scene: hands and light in the world's frame.
    view: the camera.
    background: sRGB, at the view's size.
    sensor: what the camera does with the light.
    pictures: which of `PICTURES` to make; labels are always made.
    samples: 1, or 2 for 2 x 2 samples of colour per pixel (smooth outlines). Labels are sampled at pixel centres.
  Raises:
    ValueError: no hand, a background of another size, an unknown picture, or another number of samples.
  """
  if not any(scene.hands):
    raise ValueError("the scene has no hand")
  if background.shape != (view.height, view.width, 3):
    raise ValueError(f"the background is {background.shape}, the view {(view.height, view.width, 3)}")
  if set(pictures) - set(PICTURES):
    raise ValueError(f"unknown pictures {sorted(set(pictures) - set(PICTURES))}; there are {PICTURES}")
  if samples not in (1, 2):
    raise ValueError(f"samples is {samples}; it is 1 or 2 (per axis)")
  layers = {side: _layer(hand, view) for side, hand in enumerate(scene.hands) if hand is not None}
  drawn = {side: _draw(layer, view) for side, layer in layers.items()}
  made = dict.fromkeys(PICTURES)
  if pictures:
    made |= _pictures(scene.lighting, layers, drawn, view, background, sensor, pictures, samples)
  found = combine(drawn, view.height, view.width)
  return Rendered(**made, depth_mm=found.depth_mm, face_map=found.face_map, parts=found.parts, masks=found.masks)


def without_hands(view: View, background: UInt8[np.ndarray, "h w 3"], sensor: Sensor) -> Rendered:
  """What the camera makes of the background alone, sRGB at the view's size, with the labels of nothing."""
  size = (view.height, view.width)
  return Rendered(
    picture=develop(_linear()[background], sensor), deoccluded=None, removed=None,
    depth_mm=np.full(size, np.inf, np.float32), face_map=np.full(size, zbuffer.NOTHING, np.int32),
    parts=np.zeros(size, np.uint8), masks=np.zeros((2, 2, *size), np.uint8),
  )  # fmt: skip


def _layer(hand: Hand, view: View) -> _Layer:
  surface = hand.surface
  vertices = view.to_cam(hand.vertices_world)
  behind = lid(surface, vertices) if hand.forearm is None else forearm(surface, vertices, hand.forearm)
  vertices = np.concatenate([vertices, behind.vertices])
  return _Layer(
    hand=hand,
    vertices=vertices,
    faces=np.concatenate([surface.faces, behind.faces]),
    num_hand=len(surface.faces),
    num_skin=len(surface.faces) + behind.num_skin,
    points_img=zbuffer.project(vertices, view.camera_img),
    skin_mm=np.concatenate([surface.skin_mm, behind.skin_mm]),
    palm=np.concatenate([surface.palm, behind.palm]),
  )


def _draw(layer: _Layer, view: View) -> DrawnHand:
  face_map, nearness = zbuffer.buffers(view.height, view.width)
  _rasterize(layer, layer.points_img, face_map, nearness)
  return DrawnHand(face_map, nearness, layer.points_img, layer.faces, layer.num_hand, layer.hand.surface.weights)


def _pictures(
  lighting: Lighting,
  layers: dict[int, _Layer],
  drawn: dict[int, DrawnHand],
  view: View,
  background: np.ndarray,
  sensor: Sensor,
  pictures: tuple[str, ...],
  samples: int,
) -> dict[str, np.ndarray]:
  size = (view.height, view.width)
  nearness = np.zeros((2, size[0] * samples, size[1] * samples), np.float32)
  shaded = np.empty((2, *size, 3), np.float32)  # linear light, where there is a layer
  light = lighting.turned(view.cam_from_world[:, :3])
  matrix = light_matrix(light.towards[0], np.concatenate([layer.hand_vertices for layer in layers.values()]))
  shadows = {side: shadow_map(matrix, layer.vertices, layer.faces) for side, layer in layers.items()}
  fine = {side: _colour_buffers(layer, drawn[side], view, samples, nearness[side]) for side, layer in layers.items()}
  boxes = {side: _covered_box(points, size, samples) for side, (_, points) in fine.items()}
  covered = _around(boxes.values())
  k = view.camera_img * samples
  shift = (samples - 1) / 2  # see `_colour_buffers`
  camera = np.array([k[0, 0], k[1, 1], k[0, 2] + shift, k[1, 2] + shift], np.float32)
  # What is hidden in the scene itself is seen in the other pictures only.
  nothing = nearness[1] if 1 not in layers else nearness[0] if 0 not in layers else np.zeros_like(nearness[0])
  for side, layer in layers.items():
    face_map, points = fine[side]
    _shade(
      layer, layers.get(1 - side), face_map, nearness[side],
      nearness[1 - side] if pictures == ("picture",) else nothing,
      points, samples, boxes[side], camera, light, matrix, shadows[side], shadows.get(1 - side, _NO_SHADOW),
      shaded[side],
    )  # fmt: skip

  def mixed(order: int) -> np.ndarray:
    linear = np.empty((*size, 3), np.float32)
    shading.compose(nearness, shaded, background, _linear(), samples, order, covered, linear)
    return develop(linear, sensor)

  def per_hand(orders: tuple[int, int]) -> np.ndarray:
    black = np.zeros(background.shape, np.uint8)
    return np.stack([mixed(order) if side in layers else black for side, order in enumerate(orders)])

  made = {}
  if "picture" in pictures:
    made["picture"] = mixed(0)
  if "deoccluded" in pictures:
    made["deoccluded"] = per_hand((1, 2))
  if "removed" in pictures:
    made["removed"] = per_hand((3, 4))
  return made


def _colour_buffers(
  layer: _Layer, drawn: DrawnHand, view: View, samples: int, nearness: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Face map at `samples` per pixel and axis and the mesh in its coordinates; fills `nearness`."""
  if samples == 1:
    nearness[...] = drawn.inverse_depth
    return drawn.face_map, layer.points_img
  # Samples lie evenly around the pixel's centre: pixel x holds 2 x and 2 x + 1, at x - 1/4 and x + 1/4.
  points = layer.points_img * (samples, samples, 1.0) + ((samples - 1) / 2, (samples - 1) / 2, 0.0)
  face_map = np.full((view.height * samples, view.width * samples), zbuffer.NOTHING, np.int32)
  _rasterize(layer, points, face_map, nearness)
  return face_map, points


def _rasterize(layer: _Layer, points: np.ndarray, face_map: np.ndarray, nearness: np.ndarray) -> None:
  """The skin is a closed surface, the cloth is open at the cuff."""
  zbuffer.rasterize(points, layer.faces[: layer.num_skin], face_map, nearness, cull=True)
  zbuffer.rasterize(points, layer.faces[layer.num_skin :], face_map, nearness, layer.num_skin)


def _shade(
  layer: _Layer,
  other: _Layer | None,
  face_map: np.ndarray,
  nearness: np.ndarray,
  hidden_by: np.ndarray,
  points: np.ndarray,
  samples: int,
  box: _Box,
  camera: Float32[np.ndarray, " 4"],
  light: Lighting,
  matrix: np.ndarray,
  own_shadow: np.ndarray,
  other_shadow: np.ndarray,
  shaded: np.ndarray,
) -> None:
  """Writes the layer's colours into `shaded`, where it is seen."""
  surface, skin, arm = layer.hand.surface, layer.hand.skin, layer.hand.forearm
  texture = layer.hand.texture or NO_TEXTURE
  room = (box[1] - box[0]) * (box[3] - box[2]) * samples**2
  pixels, faces = np.empty(room, np.int32), np.empty(room, np.int32)
  places, shares = np.empty((room, 2), np.float32), np.empty(room, np.float32)
  count = shading.find_points(face_map, nearness, hidden_by, samples, box, pixels, faces, places, shares)
  shading.shade(
    pixels[:count], faces[:count], places[:count], shares[:count],
    points, layer.faces, layer.vertices, _attributes(layer, other), layer.num_hand, layer.num_skin,
    noise_volume(), np.array(skin.noise_offset_mm, np.float32),
    surface.marks.strength, surface.marks.origin_mm, np.float32(surface.marks.texel_mm), _packed_skin(skin),
    _NO_CLOTH if arm is None or arm.sleeve is None else _packed_cloth(arm.sleeve), texture.corners, texture.picture,
    np.concatenate([light.towards, light.colours], axis=1), np.concatenate([light.up, light.sky, light.ground]),
    matrix.astype(np.float32), own_shadow, other_shadow, nearness, camera, shaded,
  )  # fmt: skip


def _covered_box(points: np.ndarray, size: tuple[int, int], samples: int) -> _Box:
  """The pixels that a mesh, in samples, can cover."""
  ahead = points[points[:, 2] > 0, :2]
  if not len(ahead):
    return (0, 0, 0, 0)
  low = np.clip(ahead.min(0) // samples, 0, size[::-1]).astype(int)
  high = np.clip(ahead.max(0) // samples + 1, 0, size[::-1]).astype(int)
  return (int(low[1]), int(high[1]), int(low[0]), int(high[0]))


def _around(boxes: Iterable[_Box]) -> _Box:
  """The box around all."""
  top, bottom, left, right = zip(*boxes, strict=True)
  return (min(top), max(bottom), min(left), max(right))


def _attributes(layer: _Layer, other: _Layer | None) -> Float32[np.ndarray, "N 13"]:
  """The table of `shading`'s attributes."""
  surface, vertices = layer.hand.surface, layer.hand_vertices
  count = len(vertices)
  normals = vertex_normals(layer.vertices, layer.faces)
  table = np.zeros((len(layer.vertices), shading.NUM_ATTRIBUTES), np.float32)
  table[:, 0:3] = layer.skin_mm
  table[:, 3:6] = normals
  table[:, 6] = layer.palm
  table[:, 7:9] = -nails.FAR
  table[:count, 7:9] = surface.nail
  table[:count, 9] = surface.flush
  offset = np.array(layer.hand.skin.noise_offset_mm, np.float32)
  table[:, 10] = material.volume_at_points(noise_volume(), (layer.skin_mm + offset) / np.float32(_BLOTCH_TEXEL_MM))
  table[:, 11:] = 1.0
  hidden = occlusion(vertices, normals[:count], surface.blob_from_vertex @ vertices, surface.blob_radius_mm)
  # What a hand hides of itself at rest says more of the spheres than of the hand.
  table[:count, 11] = np.exp(-_SKY_HIDDEN * np.maximum(hidden - surface.rest_occlusion, 0.0))
  if other is not None:
    theirs = other.hand.surface
    centres = theirs.blob_from_vertex @ other.hand_vertices
    table[:, 12] = np.exp(-_SKY_HIDDEN_BY_OTHER * occlusion(layer.vertices, normals, centres, theirs.blob_radius_mm))
  return table


def _packed_skin(skin: Skin) -> Float32[np.ndarray, " 19"]:
  return np.array(
    [*skin.back, *skin.palm, *skin.nail, skin.blotches, skin.grain, skin.flush, skin.lines, skin.veins,
     skin.translucency, skin.gloss, skin.sharpness, skin.nail_gloss, _GRAIN_TEXEL_MM], np.float32,
  )  # fmt: skip


def _packed_cloth(sleeve: Sleeve) -> Float32[np.ndarray, " 8"]:
  return np.array([*sleeve.colour, *sleeve.second_colour, sleeve.pattern, sleeve.period_mm], np.float32)


@functools.cache
def _linear() -> Float32[np.ndarray, " 256"]:
  return linear_from_srgb(np.arange(256.0)).astype(np.float32)
