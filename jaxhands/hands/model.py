"""The hand model: linear blend skinning in MANO's layout (Romero et al., SIGGRAPH Asia 2017), both sides at once.

Millimetres outside and inside. Right hand 0, left hand 1; left parameters drive the left model. Pose: 16 rotations,
global first, as rotation vectors, 6D or matrices; no rotation = flat hand. The global rotation turns about the wrist.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Integer, UInt8

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.geometry.arrays import Array, einsum, matmul, namespace
from jaxhands.hands import mano_files, parts, skeleton
from jaxhands.hands.side import HandSide

NUM_ROTATIONS = 16
EMBEDDED = "embedded-v1"
_ASSETS = pathlib.Path(__file__).parent / "assets"
_AT_ONCE = 256  # pictures that `vertices_of` poses at once
_MIRROR_MANO = np.array([1, -1, -1] * NUM_ROTATIONS + [1] * 10 + [-1, 1, 1], np.float32)


class HandModelMismatch(ValueError):
  """Parameters of one hand model were given to another."""


class PosedHand(NamedTuple):
  """What `HandModel.forward` gives, in mm; `*b` ends in the hand axis where both sides were posed.

  vertices [*b, V, 3] · joints [*b, 16, 3] in MANO's order · transforms [*b, 16, 4, 4]: rotation of each joint and its
  position · keypoints [*b, 21, 3] in InterHand2.6M's order.
  """

  vertices: Any
  joints: Any
  transforms: Any
  keypoints: Any


@dataclasses.dataclass(frozen=True, eq=False)
class HandModel:
  """Both hands' arrays on a leading axis of two (right, left); a pytree, so that it can travel as `constants`."""

  v_template: Float[Array, "hands V 3"]  # mm
  shapedirs: Float[Array, "hands V 3 10"]  # mm per unit of shape
  joints_template: Float[Array, "hands 16 3"]  # mm
  joints_shapedirs: Float[Array, "hands 16 3 10"]
  posedirs: Float[Array, "hands V 3 135"] | None
  weights: Float[Array, "hands V 16"]
  hands_mean: Float[Array, "hands 45"]  # rad
  hands_components: Float[Array, "hands C 45"]  # one component per row
  faces: Integer[Array, "hands F 3"]
  tip_vertices: Integer[Array, "hands 5"]  # thumb .. little
  parts: UInt8[Array, "hands V"]  # classes of schema.NUM_PARTS
  nail: Float[Array, "hands V"]  # 0..1
  identity: str  # what parameters are valid for: `embedded-v1`, `mano`, or a file's hash

  @classmethod
  def default(cls, fine: bool = False) -> HandModel:
    """The embedded model (CC0) as NumPy arrays; `fine` has twice the vertices, the same joints and parameters."""
    with np.load(_ASSETS / ("embedded_v1_fine.npz" if fine else "embedded_v1.npz")) as arrays:
      names = {field.name: field.name for field in dataclasses.fields(HandSide)} | {"faces": "f"}
      right = HandSide(**{name: arrays.get(key) for name, key in names.items()})
    return cls.from_sides(right, right.mirrored(), EMBEDDED)

  @classmethod
  def named(cls, name: str) -> HandModel:
    """The model that a config's `hand_model` names: the embedded one, or a folder of a user's own MANO files.

    Raises:
      ManoFileError: see `from_mano`.
    """
    return _named(name)

  @classmethod
  def from_mano(cls, path: str | pathlib.Path, mend_left: bool | None = None) -> HandModel:
    """A user's own MANO files as NumPy arrays: a folder, or one file (the other hand is then its mirror image).

    See `mano_files.read_mano`; `identity` is `mano` for the released mesh, else the hash of the files.

    Raises:
      ManoFileError: nothing found, or a file that is damaged, refused or of other shapes.
    """
    return cls.from_sides(*mano_files.read_mano(path, mend_left))

  @classmethod
  def from_sides(cls, right: HandSide, left: HandSide, identity: str) -> HandModel:
    """Puts two hands together, in mm and float32 (NumPy)."""
    sides = (right, left)

    def stack(name: str, scale: float = 1.0) -> np.ndarray:
      return np.stack([np.asarray(getattr(side, name), np.float64) * scale for side in sides]).astype(np.float32)

    has_posedirs = right.posedirs is not None and left.posedirs is not None
    return cls(
      v_template=stack("v_template", 1e3),
      shapedirs=stack("shapedirs", 1e3),
      joints_template=stack("joints_template", 1e3),
      joints_shapedirs=stack("joints_shapedirs", 1e3),
      posedirs=stack("posedirs", 1e3) if has_posedirs else None,
      weights=stack("weights"),
      hands_mean=stack("hands_mean"),
      hands_components=stack("hands_components"),
      faces=np.stack([np.asarray(side.faces, np.int32) for side in sides]),
      tip_vertices=np.stack([np.asarray(side.tip_vertices, np.int32) for side in sides]),
      parts=np.stack([parts.vertex_parts(side.weights, hand) for hand, side in enumerate(sides)]),
      nail=np.stack([np.zeros(len(s.v_template), np.float32) if s.nail is None else np.float32(s.nail) for s in sides]),
      identity=identity,
    )

  def forward(
    self,
    pose: Float[Array, " ..."],
    shape: Float[Array, " ..."],
    translation_mm: Float[Array, " ..."],
    hand: int | None = None,
  ) -> PosedHand:
    """Poses both hands, or the one that `hand` names.

    Args:
      pose: [*b, 2, 16, 3 | 6] or [*b, 2, 16, 3, 3]; rotation vectors (rad), 6D, or matrices; flat hand = none.
      shape: [*b, 2, 10]; leading axes of the three broadcast.
      translation_mm: [*b, 2, 3], added to everything.
      hand: `schema.RIGHT` or `schema.LEFT`: the inputs have no hand axis.
    Returns:
      `PosedHand`, in the frame of the global rotation and the translation.
    Raises:
      ValueError: an array of another shape; the message names it.
    """
    matrices = pose_matrices(pose)
    _check_shape("shape", shape, 10, hand)
    _check_shape("translation_mm", translation_mm, 3, hand)
    if hand is None:
      return _forward(self, matrices, shape, translation_mm)
    one = _forward(self._one(hand), matrices[..., None, :, :, :], shape[..., None, :], translation_mm[..., None, :])
    return PosedHand(
      one.vertices[..., 0, :, :], one.joints[..., 0, :, :], one.transforms[..., 0, :, :, :], one.keypoints[..., 0, :, :]
    )

  def forward_mano(self, mano: Float[Array, " ..."], hand: int | None = None) -> PosedHand:
    """`forward` of the layout that the schema stores: `mano[*b, 2, 61]`, or `mano[*b, 61]` of one `hand`."""
    _check_shape("mano", mano, schema.MANO_DIM, hand)
    pose = mano[..., schema.MANO_POSE].reshape(mano.shape[:-1] + (NUM_ROTATIONS, 3))
    return self.forward(pose, mano[..., schema.MANO_SHAPE], mano[..., schema.MANO_TRANSLATION], hand)

  def vertices_of(self, mano: Float[np.ndarray, "n 2 61"]) -> Float[np.ndarray, "n 2 V 3"]:
    """Vertices (mm) of many pictures, as of `forward_mano`; some at a time, as that needs several times their room."""
    vertices = np.zeros((*mano.shape[:2], *self.v_template.shape[1:]), np.float32)
    for first in range(0, len(mano), _AT_ONCE):
      vertices[first : first + _AT_ONCE] = self.forward_mano(mano[first : first + _AT_ONCE]).vertices
    return vertices

  def rest_joints(self, shape: Float[Array, "*b hands 10"]) -> Float[Array, "*b hands 16 3"]:
    """The 16 joints (mm, MANO's order) of unposed hands, as their shape alone places them."""
    return self.joints_template + einsum("hjcs,...hs->...hjc", self.joints_shapedirs, shape)

  def tips_only(self) -> HandModel:
    """The same hands with the five tip vertices and no faces: keypoints at a fraction of the cost."""
    hands = np.arange(len(self.v_template))[:, None]
    picked = {
      name: getattr(self, name)[hands, self.tip_vertices]
      for name in ("v_template", "shapedirs", "posedirs", "weights", "parts", "nail")
      if getattr(self, name) is not None
    }
    tips = np.tile(np.arange(5, dtype=np.int32), (len(self.v_template), 1))
    return dataclasses.replace(self, **picked, faces=self.faces[:, :0], tip_vertices=tips)

  def check_identity(self, identity: str) -> None:
    """Holds parameters of one hand model apart from another.

    Args:
      identity: the `hand_model` that parameters, a data set or a run carry.
    Raises:
      HandModelMismatch: they belong to another model.
    """
    if identity != self.identity:
      raise HandModelMismatch(
        f"parameters of hand model {identity!r} cannot pose {self.identity!r}: their shapes and rest poses differ; "
        f"load {identity!r}, or use data made with {self.identity!r}"
      )

  def fingers_from_components(
    self, coefficients: Float[Array, "*b n"], hand: int, add_mean: bool = True
  ) -> Float[Array, "*b 15 3"]:
    """Rotation vectors (rad) of the finger joints from the first n pose components of a hand.

    `add_mean` starts from the mean pose (flat_hand_mean=False of smplx and manopth), else from the flat hand.
    """
    angles = einsum("...n,nj->...j", coefficients, self.hands_components[hand, : coefficients.shape[-1]])
    angles = angles + self.hands_mean[hand] if add_mean else angles
    return angles.reshape(angles.shape[:-1] + (NUM_ROTATIONS - 1, 3))

  def add_mean_pose(self, mano: Float[Array, "*b 2 61"]) -> Float[Array, "*b 2 61"]:
    """Ours (flat hand = 0) from parameters fitted with flat_hand_mean=False, such as InterHand2.6M's NeuralAnnot."""
    xp = namespace(mano, self.hands_mean)
    return mano + xp.pad(self.hands_mean, ((0, 0), (3, schema.MANO_DIM - 48)))

  def mano_to_camera(
    self, mano_world: Float[Array, "*b 2 61"], cam_from_world: Float[Array, "*#b 3 4"]
  ) -> Float[Array, "*b 2 61"]:
    """Parameters in the camera frame of hands posed in the world (mm).

    The model turns about the wrist, not the origin: the wrist's rest position enters the translation.
    """
    shape, translation_mm = mano_world[..., schema.MANO_SHAPE], mano_world[..., schema.MANO_TRANSLATION]
    roots = self.rest_joints(shape)[..., 0, :]
    turn, shift = cam_from_world[..., None, :, :3], cam_from_world[..., None, :, 3]
    orient = matmul(turn, rotations.matrix_from_axis_angle(mano_world[..., :3]))
    moved = matmul(turn, (roots + translation_mm)[..., None])[..., 0] + shift - roots
    pieces = [rotations.axis_angle_from_matrix(orient), mano_world[..., 3 : schema.MANO_TRANSLATION.start], moved]
    return namespace(*pieces).concatenate(pieces, axis=-1)

  def _one(self, hand: int) -> HandModel:
    if hand not in (schema.RIGHT, schema.LEFT):
      raise ValueError(f"hand is {hand!r}; expected {schema.RIGHT} (right) or {schema.LEFT} (left)")
    return jax.tree.map(lambda array: array[hand : hand + 1], self)


@functools.cache
def _named(name: str) -> HandModel:
  return HandModel.default() if name == EMBEDDED else HandModel.from_mano(name)


_ARRAYS = tuple(field.name for field in dataclasses.fields(HandModel) if field.name != "identity")


def _flatten(model: HandModel) -> tuple[tuple[Any, ...], str]:
  return tuple(getattr(model, name) for name in _ARRAYS), model.identity


def _flatten_with_keys(model: HandModel) -> tuple[tuple[tuple[Any, Any], ...], str]:
  return tuple((jax.tree_util.GetAttrKey(name), getattr(model, name)) for name in _ARRAYS), model.identity


def _unflatten(identity: str, arrays: Iterable[Any]) -> HandModel:
  # Not through __init__: JAX also fills trees with things that are not arrays (shardings, shapes, placeholders).
  model = object.__new__(HandModel)
  for name, array in zip(_ARRAYS, arrays, strict=True):
    object.__setattr__(model, name, array)
  object.__setattr__(model, "identity", identity)
  return model


jax.tree_util.register_pytree_with_keys(HandModel, _flatten_with_keys, _unflatten, _flatten)


def pose_matrices(pose: Float[Array, " ..."]) -> Float[Array, "*b 16 3 3"]:
  """Rotation matrices of a pose given as [*b, 16, 3] rotation vectors, [*b, 16, 6] 6D or [*b, 16, 3, 3] matrices.

  Raises:
    ValueError: another shape.
  """
  if pose.shape[-3:] == (NUM_ROTATIONS, 3, 3):
    return pose
  if pose.shape[-2:] == (NUM_ROTATIONS, 3):
    return rotations.matrix_from_axis_angle(pose)
  if pose.shape[-2:] == (NUM_ROTATIONS, 6):
    return rotations.matrix_from_6d(pose)
  raise ValueError(f"pose has shape {pose.shape}; expected [..., 16, 3], [..., 16, 6] or [..., 16, 3, 3]")


def _check_shape(name: str, array: Any, width: int, hand: int | None) -> None:
  """ValueError unless `array` is [..., 2, width], or [..., width] of one hand."""
  hands = array.shape[-2:-1] if hand is None else ()
  if array.shape[-1:] != (width,) or hands not in ((), (1,), (2,)):
    axes = f"[..., 2, {width}]" if hand is None else f"[..., {width}] of one hand"
    raise ValueError(f"{name} has shape {tuple(array.shape)}; expected {axes}")


def mirror_mano(mano: Float[Array, "*b 61"]) -> Float[Array, "*b 61"]:
  """Parameters of the other side's model that give the mirror image across x = 0 (exact for the embedded model)."""
  return mano * _MIRROR_MANO


def _forward(model: HandModel, matrices: Any, shape: Any, translation_mm: Any) -> PosedHand:
  """Shape, pose correctives, chain and skinning (smplx's `lbs`) on [*b, hands, ...]."""
  xp = namespace(model.v_template, matrices, shape, translation_mm)
  batch = np.broadcast_shapes(matrices.shape[:-3], shape.shape[:-1], translation_mm.shape[:-1])
  matrices = xp.broadcast_to(matrices, batch + (NUM_ROTATIONS, 3, 3))
  rest_joints = xp.broadcast_to(model.rest_joints(shape), batch + (NUM_ROTATIONS, 3))
  vertices = model.v_template + einsum("hvcs,...hs->...hvc", model.shapedirs, shape)
  if model.posedirs is not None:
    feature = (matrices[..., 1:, :, :] - np.eye(3, dtype=np.float32)).reshape(batch + (135,))
    vertices = vertices + einsum("hvcp,...hp->...hvc", model.posedirs, feature)

  turns, joints = _chain(xp, matrices, rest_joints)
  joints = joints + translation_mm[..., None, :]
  # Columns, not rows, of each joint's motion: what is left to do per vertex are four products, no strided sums.
  offsets = joints - matmul(turns, rest_joints[..., None])[..., 0]
  columns = xp.concatenate([turns.swapaxes(-1, -2), offsets[..., None, :]], axis=-2)
  skin = xp.split(matmul(model.weights, columns.reshape(batch + (NUM_ROTATIONS, 12))), 4, axis=-1)
  x, y, z = xp.split(vertices, 3, axis=-1)
  vertices = skin[0] * x + skin[1] * y + skin[2] * z + skin[3]

  tips = vertices[..., np.arange(len(model.tip_vertices))[:, None], model.tip_vertices, :]
  keypoints = xp.concatenate([joints, tips], axis=-2)[..., skeleton.INTERHAND_FROM_MANO21, :]
  last_row = xp.broadcast_to(np.array([0, 0, 0, 1], np.float32), turns.shape[:-2] + (1, 4))
  transforms = xp.concatenate([xp.concatenate([turns, joints[..., None]], axis=-1), last_row], axis=-2)
  return PosedHand(vertices, joints, transforms, keypoints)


def _chain(xp: Any, matrices: Any, rest_joints: Any) -> tuple[Any, Any]:
  """Global rotations [*b, 16, 3, 3] and positions [*b, 16, 3]: the wrist, then five chains of three, side by side."""
  bones = (rest_joints - rest_joints[..., skeleton.MANO_PARENTS.clip(0), :])[..., 1:, :]
  bones = bones.reshape(bones.shape[:-2] + (5, 3, 3, 1))
  local = matrices[..., 1:, :, :].reshape(matrices.shape[:-3] + (5, 3, 3, 3))
  turn, position = matrices[..., :1, :, :], rest_joints[..., :1, :, None]
  turns, positions = [], []
  for level in range(3):
    position = position + matmul(turn, bones[..., level, :, :])
    turn = matmul(turn, local[..., level, :, :])
    turns.append(turn)
    positions.append(position[..., 0])
  shape = matrices.shape[:-3]
  turns = xp.stack(turns, axis=-3).reshape(shape + (15, 3, 3))
  positions = xp.stack(positions, axis=-2).reshape(shape + (15, 3))
  turns = xp.concatenate([matrices[..., :1, :, :], turns], axis=-3)
  return turns, xp.concatenate([rest_joints[..., :1, :], positions], axis=-2)
