"""Other poses that one picture may show: change, test, keep, again and again (HandFlow, section 4).

A population of poses begins as copies of the fit. In each round every pose is changed a little; a change that keeps the
picture takes the pose's place, any other is forgotten. What keeps the picture:

1. visible joints stay within some pixels of where the fit has them;
2. joints that the hands hide stay hidden, told by rays against the proxies (`hands.proxies`);
3. the fingers are as likely as the source's own poses are, or as the fit is;
4. no proxy of one hand goes into one of the other, or deeper than in the fit.

A joint that is hidden in the picture, but not by the proxies at the fit, is held to its place like a visible one. Tests
1 and 3 are cheap; of those that pass, as many as a third of the population, by chance, go on to the others.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands.geometry import camera, rotations
from jaxhands.geometry.arrays import einsum, matmul
from jaxhands.hands import proxies
from jaxhands.hands.model import HandModel
from jaxhands.render.labels import VISIBLE_WITHIN_MM
from jaxhands.schema import MANO_POSE, MANO_SHAPE, MANO_TRANSLATION

_FINGERS, _JOINTS = 5, 15  # of a hand's pose, in MANO's order: five fingers of three joints
_MOVED = 0.4  # share of the fingers that one change moves
_OFTEN = 0.5  # share of the changes that turn a hand, or move it
_SMALLEST = 0.1  # change, of the largest
_OWN_DEPTH = 0.5  # of a hand's own change of depth, of that of both together
_NEAREST_MM = 50.0
_CARRIED_ON = 3  # one in so many of the population goes on to the dear tests


class Likely(NamedTuple):
  """How fingers bend in a data set, by hand: mean [2, 45], root [2, 45, 45] (L L^T is the covariance) and its inverse,
  and the squared Mahalanobis distance [] that 999 of 1,000 poses stay below."""

  mean: Any
  root: Any
  inverse_root: Any
  limit: Any


class Scene(NamedTuple):
  """One record: its fit [2, 61], camera [3, 3], pixels of the picture that a visible joint may move, which joints are
  seen [2, 21], and the proxies' deviations (mm) [2, 57]."""

  mano: Any
  camera_img: Any
  within_px: Any
  visible: Any
  deviations: Any


class Found(NamedTuple):
  """Poses that keep the picture.

  Attributes:
    mano: [A, 2, 61], far from each other, the farthest first.
    joints_cam: [A, 2, 21, 3] of them, mm.
    tested: changes that were made; of these, how many passed tests 1, 3, and both and went on; and of those that went
      on, how many passed 4, 2, and all: [7] counts.
    moved: poses of the population that are not the fit any more.
  """

  mano: Any
  joints_cam: Any
  tested: Any
  moved: Any


class _Pose(NamedTuple):
  """Of a population: rotation vectors of the fingers [P, 2, 45], global turns [P, 2, 3, 3], wrists [P, 2, 3] (mm)."""

  fingers: Any
  turn: Any
  wrist: Any


def likely_of(fingers: Float[np.ndarray, "n 2 45"], smallest_rad: float = 0.02) -> Likely:
  """Mean and covariance of poses; a joint that never bends may still bend by `smallest_rad`."""
  mean = fingers.mean(0)
  offsets = fingers - mean
  covariance = np.einsum("nhi,nhj->hij", offsets, offsets) / max(len(fingers) - 1, 1)
  root = np.linalg.cholesky(covariance + smallest_rad**2 * np.eye(3 * _JOINTS))
  size = 3 * _JOINTS
  # Wilson and Hilferty's approximation of the chi-square quantile at 99.9 %.
  limit = size * (1 - 2 / (9 * size) + 3.0902 * np.sqrt(2 / (9 * size))) ** 3
  return Likely(*(np.float32(value) for value in (mean, root, np.linalg.inv(root), limit)))


@functools.partial(jax.jit, static_argnames=("annotations", "population", "rounds", "spread"))
def plausible(
  key: jax.Array,
  scene: Scene,
  likely: Likely,
  model: HandModel,
  annotations: int,
  population: int,
  rounds: int,
  spread: tuple[float, float, float],
) -> Found:
  """Plausible annotations of one record; of fewer poses that moved than `annotations`, the last are the fit.

  Args:
    key: of everything drawn.
    scene: the record.
    likely: of the source.
    model: of the fit; `HandModel.tips_only` is enough.
    annotations: to choose.
    population, rounds: see `config.MultiHandsConfig`.
    spread: largest change of fingers (deviations), global rotation (rad), depth (mm).
  """
  shape, rest, fit = _fit(scene, model)
  joints_of = functools.partial(_joints, model, shape, rest)
  true_joints = joints_of(fit)
  true_img = camera.project(true_joints, scene.camera_img)[0]
  true_centres = proxies.centres(true_joints)
  hides = functools.partial(proxies.hidden, deviations=scene.deviations, within_mm=VISIBLE_WITHIN_MM)
  stays_hidden = ~scene.visible.reshape(-1) & hides(true_joints.reshape(1, -1, 3), true_centres)[0]
  held = ~stays_hidden
  deepest = jnp.maximum(proxies.overlap_mm(true_centres, scene.deviations)[0], 0)
  least_likely = jnp.maximum(_distance(likely, fit.fingers)[0], likely.limit)
  dear = max(population // _CARRIED_ON, 1)

  def one_round(carried: tuple[_Pose, Any, Any], key: jax.Array) -> Any:
    poses, tested, moved = carried
    change_key, order_key = jax.random.split(key)
    changed = _changed(change_key, poses, likely, spread)
    joints = joints_of(changed)
    off = jnp.linalg.norm(camera.project(joints, scene.camera_img) - true_img, axis=-1).reshape(population, -1)
    keeps_places = jnp.where(held, off <= scene.within_px, True).all(-1) & (joints[..., 2] > _NEAREST_MM).all((1, 2))
    is_likely = (_distance(likely, changed.fingers) <= least_likely).all(-1)
    cheap = keeps_places & is_likely
    # Some that passed; where they are fewer, the rest of these rows are ones that did not.
    rows = jnp.argsort(jnp.where(cheap, jax.random.uniform(order_key, (population,)), 2))[:dear]
    some = joints[rows]
    where = proxies.centres(some)
    apart = (proxies.overlap_mm(where, scene.deviations) <= deepest).all((1, 2))
    still_hidden = jnp.where(stays_hidden, hides(some.reshape(dear, -1, 3), where), True).all(-1)
    on = cheap[rows]
    accepted = jnp.zeros(population, bool).at[rows].set(on & apart & still_hidden)
    counts = jnp.stack([
      jnp.full((), population), keeps_places.sum(), is_likely.sum(), on.sum(), (on & apart).sum(),
      (on & still_hidden).sum(), accepted.sum(),
    ])  # fmt: skip
    poses = jax.tree.map(lambda old, new: jnp.where(_along(accepted, new), new, old), poses, changed)
    return (poses, tested + counts, moved | accepted), None

  start = jax.tree.map(lambda leaf: jnp.repeat(leaf, population, 0), fit)
  carried = (start, jnp.zeros(7, jnp.int32), jnp.zeros(population, bool))
  (poses, tested, moved), _ = jax.lax.scan(one_round, carried, jax.random.split(key, rounds))
  joints = joints_of(poses)
  chosen = farthest(joints.reshape(population, -1), true_joints.reshape(-1), annotations)
  kept = jax.tree.map(lambda leaf: leaf[chosen], poses)
  return Found(_mano(kept, shape, rest), joints[chosen], tested, moved.sum())


@functools.partial(jax.jit, static_argnames=("count", "spread"))
def changes(
  key: jax.Array, scene: Scene, likely: Likely, model: HandModel, count: int, spread: tuple[float, float, float]
) -> Float[jax.Array, "count 2 61"]:
  """Parameters of the fit changed once, in so many ways, tested in none; arguments as of `plausible`."""
  shape, rest, fit = _fit(scene, model)
  changed = _changed(key, jax.tree.map(lambda leaf: jnp.repeat(leaf, count, 0), fit), likely, spread)
  return _mano(changed, shape, rest)


def farthest(points: Float[jax.Array, "p d"], start: Float[jax.Array, " d"], count: int) -> jax.Array:
  """Rows [count] chosen one after the other, each the farthest from all before it and from `start`."""

  def step(distance: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
    row = jnp.argmax(distance)
    # A row is never chosen twice, even where all are alike.
    away = jnp.minimum(distance, jnp.square(points - points[row]).sum(-1))
    return away.at[row].set(-1), row

  return jax.lax.scan(step, jnp.square(points - start).sum(-1), None, count)[1]


def _fit(scene: Scene, model: HandModel) -> tuple[Any, Any, _Pose]:
  """Shape [2, 10], wrists at rest [2, 3] (mm), and the fit as a population of one."""
  shape = scene.mano[:, MANO_SHAPE]
  rest = model.rest_joints(shape)[:, 0]
  fit = _Pose(
    scene.mano[None, :, 3 : MANO_POSE.stop],
    rotations.matrix_from_axis_angle(scene.mano[None, :, :3]),
    scene.mano[None, :, MANO_TRANSLATION] + rest,
  )
  return shape, rest, fit


def _mano(poses: _Pose, shape: Any, rest: Any) -> Any:
  """Parameters [P, 2, 61] of a population."""
  globals_ = rotations.axis_angle_from_matrix(poses.turn)
  shapes = jnp.broadcast_to(shape, (len(globals_), 2, 10))
  return jnp.concatenate([globals_, poses.fingers, shapes, poses.wrist - rest], axis=-1)


def _joints(model: HandModel, shape: Any, rest: Any, poses: _Pose) -> Any:
  """Keypoints [P, 2, 21, 3] in the camera's frame, mm."""
  fingers = rotations.matrix_from_axis_angle(poses.fingers.reshape(poses.fingers.shape[:-1] + (_JOINTS, 3)))
  turns = jnp.concatenate([poses.turn[..., None, :, :], fingers], axis=-3)
  return model.forward(turns, shape, poses.wrist - rest).keypoints


def _distance(likely: Likely, fingers: Any) -> Float[jax.Array, "p 2"]:
  """Squared Mahalanobis distance of each hand's fingers."""
  offsets = einsum("hij,phj->phi", likely.inverse_root, fingers - likely.mean)
  return jnp.square(offsets).sum(-1)


def _changed(key: jax.Array, poses: _Pose, likely: Likely, spread: tuple[float, float, float]) -> _Pose:
  """Each pose changed: some fingers, as the source's poses differ; hands turned, and moved along their rays."""
  population = len(poses.fingers)
  keys = iter(jax.random.split(key, 12))

  def normal(*shape: int) -> jax.Array:
    return jax.random.normal(next(keys), (population, *shape))

  def sometimes(share: float, *shape: int) -> jax.Array:
    return jax.random.bernoulli(next(keys), share, (population, *shape))

  # Large changes find other poses, small ones pass: sizes are spread evenly over powers.
  size = _SMALLEST ** jax.random.uniform(next(keys), (population, 3))
  bend = einsum("hij,phj->phi", likely.root, normal(2, 3 * _JOINTS))
  bend = bend * jnp.repeat(sometimes(_MOVED, 2, _FINGERS), 9, axis=-1) * (spread[0] * size[:, :1, None])
  turn = normal(2, 3) * sometimes(_OFTEN, 2, 1) * (spread[1] * size[:, 1:2, None])
  deeper = normal(1) * sometimes(_OFTEN, 1) + _OWN_DEPTH * normal(2) * sometimes(_OFTEN, 2)
  depth = poses.wrist[..., 2]
  factor = 1 + deeper * spread[2] * size[:, 2:] / jnp.maximum(depth, _NEAREST_MM)
  turned = matmul(rotations.matrix_from_axis_angle(turn), poses.turn)
  return _Pose(poses.fingers + bend, turned, poses.wrist * factor[..., None])


def _along(flags: Bool[jax.Array, " p"], leaf: jax.Array) -> jax.Array:
  return flags.reshape((-1,) + (1,) * (leaf.ndim - 1))
