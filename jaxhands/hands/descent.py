"""Levenberg-Marquardt over the parameters of many hands at once: what `hands.fit` runs on the device.

Every hand has its own damping, keeps a step only where it lowers the cost, and makes as many iterations as all others.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxhands import schema
from jaxhands.geometry import align, camera, place, rotations
from jaxhands.geometry.arrays import einsum
from jaxhands.hands import skeleton
from jaxhands.hands.jacobian import keypoints_and_jacobian
from jaxhands.hands.model import HandModel
from jaxhands.hands.prior import PosePrior

_PALM = np.array([joint in (*skeleton.MCPS, skeleton.WRIST) for joint in range(schema.NUM_JOINTS)])
_FINGERS_AT_START = 0.1  # weight of joints beyond the palm where a rotation is looked for
_NEAREST_MM = 10.0  # what comes nearer to the camera is projected from there
_TYPICAL_DEPTH_MM = 500.0  # a hand whose pixels do not say its distance at first
_DAMPING = (1e-6, 1e-2, 1e6)  # least, first, most
_CALMER, _BOLDER = 6.0, 0.2  # damping after a step that was not kept, and after one that was
_FAR = 8.0  # times as large as they are taken to be are errors in the first iteration: there, usual poses lead
_ROLLS, _TILTS = (0.0, 0.25, 0.5, 0.75), (-0.12, 0.12)  # of a turn: views from which pictures alone are tried
VIEWS = len(_ROLLS) * len(_TILTS)
# Of `How`, others 1e-6 to 1e6: beyond, squares overflow, or every joint is an outlier at first, and nothing ever moves.
_LIMITS = {"joint_mm": (0.01, 1e6), "robust": (1, 1e6), "iterations": (1, 1e6)}


@dataclasses.dataclass(frozen=True)
class How:
  """What is believed of joints and hands.

  Attributes:
    joint_mm, joint_px: usual errors of joints in space and in pictures, in each direction; the larger, the more is left
      to the prior.
    robust: errors of a joint, over the above, from which on it counts as an outlier; 1 at least.
    pose, shape: weights of the priors; 1 = that of their distributions.
    iterations: of Levenberg-Marquardt, always as many.
  """

  joint_mm: float = 2.0
  joint_px: float = 2.0
  robust: float = 10.0
  pose: float = 0.1
  shape: float = 0.1
  iterations: int = 16

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value, (least, most) = getattr(self, field.name), _LIMITS.get(field.name, (1e-6, 1e6))
      if not least <= value <= most:
        raise ValueError(f"{field.name}={value}: it must be a number from {least:g} to {most:g}")

  @property
  def beliefs(self) -> Beliefs:
    return Beliefs(*(np.float32(getattr(self, name)) for name in Beliefs._fields))


class Beliefs(NamedTuple):
  """The numbers of a `How`, which need no function of their own."""

  joint_mm: Any
  joint_px: Any
  robust: Any
  pose: Any
  shape: Any


class Seen(NamedTuple):
  """What is given, all finite: joints with their weights, 0 = not given; whether space says how to begin."""

  joints_cam: Any  # [n, 2, 21, 3]
  weight_cam: Any  # [n, 2, 21]
  joints_img: Any  # [n, 2, 21, 2]
  weight_img: Any  # [n, 2, 21]
  camera_img: Any  # [n, 3, 3]
  in_space: Any  # [n, 2]
  shape: Any  # [n, 2, 10], of hands whose shape is known, else 0
  shape_known: Any  # [n, 2], 1. or 0.


class Solution(NamedTuple):
  """What `solved` found, of n pictures.

  `moves_mm`: how far another step would move a keypoint. `shape_weight` W, `shape_pull` p: the cost of a hand of shape
  x that is held as the joints then want it is, near what was found, x W x / 2 - p x + a constant; without shape prior.
  """

  mano: Any  # [n, 2, 61]
  keypoints: Any  # [n, 2, 21, 3]
  moves_mm: Any  # [n, 2]
  shape_weight: Any  # [n, 2, 10, 10]
  shape_pull: Any  # [n, 2, 10]


class _Hand(NamedTuple):
  orient: Any  # [*b, 2, 3, 3]
  fingers: Any  # [*b, 2, 15, 3]
  shape: Any  # [*b, 2, 10]
  translation_mm: Any  # [*b, 2, 3]


def _chosen(mask: Any, a: _Hand, b: _Hand) -> _Hand:
  """Hands a where the mask [*b, 2] says so, else b."""
  return jax.tree.map(lambda x, y: jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, y), a, b)


@functools.partial(jax.jit, static_argnames=("iterations", "starts"))
def solved(tips: HandModel, prior: PosePrior, seen: Seen, how: Beliefs, iterations: int, starts: int) -> Solution:
  """Both hands of all pictures; see `hands.fit`."""
  hand = _start_in_space(tips, prior, seen)
  if starts > 1:
    views = [_start_in_picture(tips, prior, seen, roll, tilt) for roll in _ROLLS for tilt in _TILTS]
    hand = jax.tree.map(lambda *each: jnp.stack(each), *(_chosen(seen.in_space, hand, view) for view in views))
  hand = hand._replace(shape=jnp.broadcast_to(seen.shape * seen.shape_known[..., None], hand.shape.shape))
  hand = _descended(tips, prior, seen, how, iterations, hand)
  if starts > 1:
    cost = _Problem.at(tips, prior, seen, how, hand, jnp.float32(1)).cost
    best = jnp.argmin(jnp.where(jnp.isfinite(cost), cost, jnp.inf), axis=0)
    rows = jnp.arange(best.shape[0])[:, None], jnp.arange(2)
    hand = jax.tree.map(lambda each: each[best, *rows], hand)
  problem = _Problem.at(tips, prior, seen, how, hand, jnp.float32(1))
  moved = einsum("...iua,...u->...ia", problem.jacobian, problem.step(jnp.full(seen.in_space.shape, _DAMPING[0])))
  moves = jnp.sqrt(jnp.square(moved).sum(-1)).max(-1)
  fingers = hand.fingers.reshape(hand.fingers.shape[:-2] + (45,))
  orient = rotations.axis_angle_from_matrix(hand.orient)
  mano = jnp.concatenate([orient, fingers, hand.shape, hand.translation_mm], axis=-1)
  # One factorisation after the other: on two cores XLA:CPU (jax 0.10) waits for ever for two batches of them at once.
  after = jnp.where(moves < 0, 1.0, 0.0)  # 0, which is known only when `moves` is
  free = _Problem.at(
    tips, prior, seen._replace(shape_known=jnp.zeros_like(seen.shape_known)), how, hand, jnp.float32(1)
  )
  free = free._replace(hessian=free.hessian + after[..., None, None])
  return Solution(mano, problem.keypoints, moves, *free.of_shape(hand.shape, how))


def _start_in_space(tips: HandModel, prior: PosePrior, seen: Seen) -> _Hand:
  """The mean hand, turned and moved as the palm lies."""
  usual = _usual(tips, prior)
  weight = (seen.weight_cam > 0) * jnp.where(_PALM, 1.0, _FINGERS_AT_START)
  points = jnp.broadcast_to(usual, seen.joints_cam.shape)
  return _placed(tips, prior, *align.rigid(points, seen.joints_cam, weight))


def _start_in_picture(tips: HandModel, prior: PosePrior, seen: Seen, roll: float, tilt: float) -> _Hand:
  """The mean hand seen from one side, turned in the picture and moved as its joints lie there."""
  turn = 2 * np.pi * np.array([[roll, 0, 0], [0, tilt, 0]], np.float32)
  rolled, tilted = rotations.matrix_from_axis_angle(turn)
  view = jnp.asarray(tilted @ rolled)
  points = einsum("ab,hib->hia", view, _usual(tips, prior))
  weight = seen.weight_img
  share = weight / jnp.maximum(weight.sum(-1, keepdims=True), 1e-6)
  rays = camera.back_project(seen.joints_img, jnp.ones(weight.shape), seen.camera_img[:, None])[..., :2]
  middle = (share[..., None] * rays).sum(-2)
  a, b = points[..., :2] - einsum("nhi,hia->nha", share, points[..., :2])[..., None, :], rays - middle[..., None, :]
  sine = (share * (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])).sum(-1)
  cosine = (share * (a * b).sum(-1)).sum(-1)
  angle = jnp.arctan2(sine, jnp.where((sine == 0) & (cosine == 0), 1, cosine))
  in_plane = rotations.matrix_from_axis_angle(jnp.stack([jnp.zeros_like(angle)] * 2 + [angle], axis=-1))
  turned = einsum("nhab,hib->nhia", in_plane, points)
  shift, found = place.place(turned, seen.joints_img, seen.camera_img[:, None], weight)
  assumed = _TYPICAL_DEPTH_MM * jnp.concatenate([middle, jnp.ones_like(middle[..., :1])], axis=-1)
  return _placed(tips, prior, einsum("nhab,bc->nhac", in_plane, view), jnp.where(found[..., None], shift, assumed))


def _usual(tips: HandModel, prior: PosePrior) -> Any:
  """Keypoints [2, 21, 3] of the mean hand, not turned, wrist where the model has it."""
  pose = jnp.concatenate([jnp.zeros((2, 3)), jnp.asarray(prior.mean)], axis=-1).reshape(2, 16, 3)
  return tips.forward(pose, jnp.zeros((2, 10)), jnp.zeros((2, 3))).keypoints


def _placed(tips: HandModel, prior: PosePrior, turn: Any, shift_mm: Any) -> _Hand:
  """The mean hand, of which each point p lies at `turn` p + `shift_mm`; the model itself turns about the wrist."""
  batch = turn.shape[:-2]
  wrist = jnp.asarray(tips.joints_template)[:, 0]
  fingers = jnp.broadcast_to(jnp.asarray(prior.mean).reshape(2, 15, 3), (*batch, 15, 3))
  shape = jnp.zeros((*batch, 10))
  return _Hand(turn, fingers, shape, shift_mm + einsum("...ab,...b->...a", turn, wrist) - wrist)


class _Problem(NamedTuple):
  """The normal equations around a hand, without damping, and the cost there."""

  keypoints: Any  # [*b, 2, 21, 3]
  jacobian: Any  # [*b, 2, 21, 61, 3]
  hessian: Any  # [*b, 2, 61, 61]
  gradient: Any  # [*b, 2, 61]
  cost: Any  # [*b, 2]

  @classmethod
  def at(cls, tips: HandModel, prior: PosePrior, seen: Seen, how: Beliefs, hand: _Hand, far: Any) -> _Problem:
    points, jacobian = keypoints_and_jacobian(tips, *hand)
    free = 1 - seen.shape_known[..., None]
    of_shape = jnp.asarray(np.isin(np.arange(schema.MANO_DIM), np.arange(schema.MANO_DIM)[schema.MANO_SHAPE]))
    jacobian = jnp.where(of_shape[:, None] & (free[..., None, None, :] == 0), 0, jacobian)
    limit, mm, px = how.robust**2, how.joint_mm * far, how.joint_px * far
    off = points - seen.joints_cam
    squares = jnp.square(off).sum(-1) / mm**2
    sure = seen.weight_cam * jnp.square(limit / (limit + squares)) / mm**2
    off_img, by_point = _projected(points, seen.camera_img)
    off_img = off_img - seen.joints_img
    squares_img = jnp.square(off_img).sum(-1) / px**2
    sure_img = seen.weight_img * jnp.square(limit / (limit + squares_img)) / px**2

    by_point_sure = by_point * sure_img[..., None, None]
    metric = sure[..., None, None] * jnp.eye(3) + einsum("...ika,...ikb->...iab", by_point_sure, by_point)
    pull = sure[..., None] * off + einsum("...ika,...ik->...ia", by_point_sure, off_img)
    hessian = einsum("...iua,...iva->...uv", jacobian, einsum("...iua,...iab->...iub", jacobian, metric))
    gradient = einsum("...iua,...ia->...u", jacobian, pull)

    away = hand.fingers.reshape(hand.fingers.shape[:-2] + (45,)) - prior.mean
    drawn = how.pose * einsum("hpq,...hq->...hp", prior.precision, away)
    cost = seen.weight_cam * limit * squares / (limit + squares)
    cost = cost + seen.weight_img * limit * squares_img / (limit + squares_img)
    cost = cost.sum(-1) + (away * drawn).sum(-1) + how.shape * jnp.square(hand.shape).sum(-1)
    still = jnp.zeros_like(hand.translation_mm)
    gradient = gradient + jnp.concatenate([still, drawn, how.shape * free * hand.shape, still], axis=-1)
    return cls(points, jacobian, hessian + _prior_hessian(prior, how), gradient, cost)

  def step(self, damping: Any) -> Any:
    """Change of the unknowns [*b, 2, 61], with the diagonal raised by the share `damping` [*b, 2] of itself."""
    diagonal = jnp.diagonal(self.hessian, axis1=-2, axis2=-1)
    # What nothing depends on (a hand without joints) stays where it is.
    raised = jnp.where(diagonal > 0, diagonal * damping[..., None], 1)
    factor = jax.scipy.linalg.cho_factor(self.hessian + raised[..., None, :] * jnp.eye(schema.MANO_DIM), lower=True)
    return -jax.scipy.linalg.cho_solve(factor, self.gradient[..., None])[..., 0]

  def of_shape(self, shape: Any, how: Beliefs) -> tuple[Any, Any]:
    """`shape_weight` and `shape_pull` of `Solution`, by elimination of all other unknowns; `shape` of the hand."""
    own, others = schema.MANO_SHAPE, np.delete(np.arange(schema.MANO_DIM), schema.MANO_SHAPE)
    across = self.hessian[..., own, :][..., others]
    diagonal = jnp.diagonal(self.hessian, axis1=-2, axis2=-1)[..., others]
    # As in `step`; the least damping, as what joints do not say is left to the prior of poses alone.
    raised = jnp.where(diagonal > 0, diagonal * _DAMPING[0], 1)[..., None, :] * jnp.eye(len(others))
    factor = jax.scipy.linalg.cho_factor(self.hessian[..., others, :][..., others] + raised, lower=True)
    right = jnp.concatenate([across.swapaxes(-1, -2), self.gradient[..., others, None]], axis=-1)
    gone = einsum("...uv,...vw->...uw", across, jax.scipy.linalg.cho_solve(factor, right))
    weight = self.hessian[..., own, own] - how.shape * jnp.eye(10) - gone[..., :-1]
    slope = self.gradient[..., own] - how.shape * shape - gone[..., -1]
    return weight, einsum("...uv,...v->...u", weight, shape) - slope


def _prior_hessian(prior: PosePrior, how: Beliefs) -> Any:
  """[2, 61, 61]."""
  whole = jnp.zeros((2, schema.MANO_DIM, schema.MANO_DIM))
  whole = whole.at[:, 3:48, 3:48].set(how.pose * prior.precision)
  return whole.at[:, schema.MANO_SHAPE, schema.MANO_SHAPE].set(how.shape * jnp.eye(10))


def _projected(points: Any, camera_img: Any) -> tuple[Any, Any]:
  """Pixels [*b, 2, 21, 2] of points, and how they move with them [*b, 2, 21, 2, 3]."""
  depth = jnp.maximum(points[..., 2:], _NEAREST_MM)
  ahead = jnp.concatenate([points[..., :2], depth], axis=-1)
  pixels = camera.project(ahead, camera_img[:, None])
  rays = points[..., :2] / depth
  by_ray = jnp.concatenate(
    [jnp.broadcast_to(jnp.eye(2), (*rays.shape[:-1], 2, 2)), -rays[..., None]], axis=-1
  ) / depth[..., None]  # fmt: skip
  return pixels, einsum("nkl,...nhila->...nhika", camera_img[:, :2, :2], by_ray)


def _descended(tips: HandModel, prior: PosePrior, seen: Seen, how: Beliefs, iterations: int, hand: _Hand) -> _Hand:
  """After all iterations; each hand has its own damping, and keeps what is better only."""

  def iterate(number: Any, carried: tuple[_Hand, Any]) -> tuple[_Hand, Any]:
    hand, damping = carried
    far = jnp.maximum(1.0, _FAR * 0.5 ** (number / 2))
    problem = _Problem.at(tips, prior, seen, how, hand, far)
    tried = _moved(hand, problem.step(damping))
    better = _Problem.at(tips, prior, seen, how, tried, far).cost < problem.cost
    hand = _chosen(better, tried, hand)
    damping = jnp.clip(damping * jnp.where(better, _BOLDER, _CALMER), _DAMPING[0], _DAMPING[2])
    return hand, damping

  damping = jnp.full(hand.orient.shape[:-2], _DAMPING[1])
  return jax.lax.fori_loop(0, iterations, iterate, (hand, damping))[0]


def _moved(hand: _Hand, step: Any) -> _Hand:
  pose, shape = step[..., 3:48].reshape(hand.fingers.shape), step[..., schema.MANO_SHAPE]
  orient = einsum("...ab,...bc->...ac", rotations.matrix_from_axis_angle(step[..., :3]), hand.orient)
  return _Hand(
    orient, hand.fingers + pose, hand.shape + shape, hand.translation_mm + step[..., schema.MANO_TRANSLATION]
  )
