"""From a scene of one or two hands to its pictures and labels.

Each hand with its arm is one layer, drawn and shaded once; every picture is another order of the same layers. Pictures
of a scene therefore agree wherever they show the same thing.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

from jaxhands.render import labels, zbuffer
from jaxhands.render.arm import Forearm, Sleeve, forearm, lid
from jaxhands.render.cameras import View
from jaxhands.render.lighting import Lighting, light_matrix, shadow_map
from jaxhands.render.sensor import Sensor, develop
from jaxhands.render.shading import compose, shade_layer
from jaxhands.render.skin import Skin, linear_from_srgb, noise_volume
from jaxhands.render.surface import HandSurface, occlusion, vertex_normals
from jaxhands.schema import RIGHT

PICTURES = ("picture", "deoccluded", "removed")
_SKY_HIDDEN = 0.8  # how dark a surface gets per unit of `occlusion`
_SKIN_TEXEL_MM = 1.5  # of the noise volume
_NO_CLOTH = np.zeros(8, np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Hand:
  """A posed hand in the world's frame and its looks; without an arm the wrist ends in a flat lid."""

  surface: HandSurface
  vertices_world: Float32[np.ndarray, "V 3"]  # mm
  skin: Skin
  forearm: Forearm | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """Right and left hand, of which one may be missing, and the light."""

  hands: tuple[Hand | None, Hand | None]
  lighting: Lighting


@dataclasses.dataclass(frozen=True, eq=False)
class Rendered:
  """Pictures (sRGB) and labels of a scene in one view, all at the picture's size, integer coordinates = pixel centres.

  Pictures that were not asked for are None; those of a missing hand are black. Labels are of the hands without their
  arms, which hide them nevertheless.
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


class _Buffers(NamedTuple):
  face_map: Int32[np.ndarray, "h w"]
  nearness: Float32[np.ndarray, "h w"]
  amodal: Bool[np.ndarray, "h w"]


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
  buffers = {side: _label_buffers(layer, view) for side, layer in layers.items()}
  made = dict.fromkeys(PICTURES)
  if pictures:
    made |= _pictures(scene.lighting, layers, buffers, view, background, sensor, pictures, samples)
  return Rendered(**made, **_labels(layers, buffers, view))


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


def _label_buffers(layer: _Layer, view: View) -> _Buffers:
  face_map, nearness = zbuffer.buffers(view.height, view.width)
  zbuffer.rasterize(layer.points_img, layer.faces[: layer.num_hand], face_map, nearness)
  amodal = face_map >= 0
  zbuffer.rasterize(layer.points_img, layer.faces[layer.num_hand :], face_map, nearness, layer.num_hand)
  return _Buffers(face_map, nearness, amodal)


def _labels(layers: dict[int, _Layer], buffers: dict[int, _Buffers], view: View) -> dict[str, np.ndarray]:
  size = (view.height, view.width)
  masks, parts = np.zeros((2, 2, *size), np.uint8), np.zeros(size, np.uint8)
  face_map, nearest = np.full(size, zbuffer.NOTHING, np.int32), np.zeros(size, np.float32)
  for side, layer in layers.items():
    buffer = buffers[side]
    visible = (buffer.face_map >= 0) & (buffer.face_map < layer.num_hand)
    if 1 - side in buffers:
      other = buffers[1 - side].nearness
      # As in the pictures, the right hand wins a tie.
      visible &= buffer.nearness >= other if side == RIGHT else buffer.nearness > other
    masks[side] = buffer.amodal, visible
    face_map[visible] = buffer.face_map[visible] + side * layer.num_hand
    labels.part_labels(buffer.face_map, visible, layer.points_img, layer.faces, layer.hand.surface.weights, side, parts)
    nearest = np.maximum(nearest, buffer.nearness)
  return {"depth_mm": zbuffer.depth_mm(nearest), "face_map": face_map, "parts": parts, "masks": masks}


def _pictures(
  lighting: Lighting,
  layers: dict[int, _Layer],
  buffers: dict[int, _Buffers],
  view: View,
  background: np.ndarray,
  sensor: Sensor,
  pictures: tuple[str, ...],
  samples: int,
) -> dict[str, np.ndarray]:
  size = (view.height, view.width)
  nearness = np.zeros((2, size[0] * samples, size[1] * samples), np.float32)
  # Colours in linear light with and without what each hand takes from the other.
  together, alone = np.zeros((2, *size, 3), np.float32), np.zeros((2, *size, 3), np.float32)
  light = lighting.turned(view.cam_from_world[:, :3])
  matrix = light_matrix(light.towards[0], np.concatenate([layer.hand_vertices for layer in layers.values()]))
  shadows = {side: shadow_map(matrix, layer.vertices, layer.faces) for side, layer in layers.items()}
  for side, layer in layers.items():
    face_map, nearness[side], points = _colour_buffers(layer, buffers[side], view, samples)
    _shade(
      layer, layers.get(1 - side), face_map, points, samples, light, matrix, shadows[side],
      shadows.get(1 - side, np.zeros_like(shadows[side])), together[side], alone[side],
    )  # fmt: skip

  def mixed(shaded: np.ndarray, order: int) -> np.ndarray:
    linear = np.empty((*size, 3), np.float32)
    compose(nearness, shaded, background, _linear(), samples, order, linear)
    return develop(linear, sensor)

  def per_hand(shaded: np.ndarray, orders: tuple[int, int]) -> np.ndarray:
    black = np.zeros(background.shape, np.uint8)
    return np.stack([mixed(shaded, order) if side in layers else black for side, order in enumerate(orders)])

  made = {}
  if "picture" in pictures:
    made["picture"] = mixed(together, 0)
  if "deoccluded" in pictures:
    made["deoccluded"] = per_hand(together, (1, 2))
  if "removed" in pictures:
    made["removed"] = per_hand(alone, (3, 4))
  return made


def _colour_buffers(
  layer: _Layer, buffer: _Buffers, view: View, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Face map and nearness at `samples` per pixel and axis, and the mesh in their coordinates."""
  if samples == 1:
    return buffer.face_map, buffer.nearness, layer.points_img
  # Samples lie evenly around the pixel's centre: pixel x holds 2 x and 2 x + 1, at x - 1/4 and x + 1/4.
  points = layer.points_img * (samples, samples, 1.0) + ((samples - 1) / 2, (samples - 1) / 2, 0.0)
  face_map, nearness = zbuffer.buffers(view.height * samples, view.width * samples)
  zbuffer.rasterize(points, layer.faces, face_map, nearness)
  return face_map, nearness, points


def _shade(
  layer: _Layer,
  other: _Layer | None,
  face_map: np.ndarray,
  points: np.ndarray,
  samples: int,
  light: Lighting,
  matrix: np.ndarray,
  own_shadow: np.ndarray,
  other_shadow: np.ndarray,
  together: np.ndarray,
  alone: np.ndarray,
) -> None:
  """Packs what `shading.shade_layer` needs and calls it; fills `together` and `alone`."""
  marks, skin, arm = layer.hand.surface.marks, layer.hand.skin, layer.hand.forearm
  cloth = _NO_CLOTH if arm is None or arm.sleeve is None else _packed_cloth(arm.sleeve)
  shade_layer(
    face_map, samples, points, layer.vertices, _attributes(layer, other), layer.faces, layer.num_hand, layer.num_skin,
    noise_volume(), np.array(skin.noise_offset_mm, np.float32) / _SKIN_TEXEL_MM,
    marks.strength, marks.origin_mm, np.float32(marks.texel_mm), _packed_skin(skin), cloth,
    np.concatenate([light.towards, light.colours], axis=1), np.concatenate([light.up, light.sky, light.ground]),
    matrix, own_shadow, other_shadow, together, alone,
  )  # fmt: skip


def _attributes(layer: _Layer, other: _Layer | None) -> Float32[np.ndarray, "N 11"]:
  """The table of `shading`'s attributes."""
  surface, vertices = layer.hand.surface, layer.hand_vertices
  count = len(vertices)
  normals = vertex_normals(layer.vertices, layer.faces)
  table = np.zeros((len(layer.vertices), 11), np.float32)
  table[:, 0:3] = layer.skin_mm
  table[:, 3:6] = normals
  table[:, 6] = layer.palm
  table[:count, 7] = surface.nail
  table[:count, 8] = surface.flush
  table[:, 9:11] = 1.0
  hidden = occlusion(vertices, normals[:count], surface.blob_from_vertex @ vertices, surface.blob_radius_mm)
  # What a hand hides of itself at rest says more of the spheres than of the hand.
  table[:count, 9] = np.exp(-_SKY_HIDDEN * np.maximum(hidden - surface.rest_occlusion, 0.0))
  if other is not None:
    theirs = other.hand.surface
    centres = theirs.blob_from_vertex @ other.hand_vertices
    table[:, 10] = np.exp(-_SKY_HIDDEN * occlusion(layer.vertices, normals, centres, theirs.blob_radius_mm))
  return table


def _packed_skin(skin: Skin) -> Float32[np.ndarray, " 19"]:
  return np.array(
    [*skin.back, *skin.palm, *skin.nail, skin.blotches, skin.grain, skin.flush, skin.lines, skin.veins,
     skin.translucency, skin.gloss, skin.sharpness, skin.nail_gloss, _SKIN_TEXEL_MM], np.float32,
  )  # fmt: skip


def _packed_cloth(sleeve: Sleeve) -> Float32[np.ndarray, " 8"]:
  return np.array([*sleeve.colour, *sleeve.second_colour, sleeve.pattern, sleeve.period_mm], np.float32)


@functools.cache
def _linear() -> Float32[np.ndarray, " 256"]:
  return linear_from_srgb(np.arange(256.0)).astype(np.float32)
