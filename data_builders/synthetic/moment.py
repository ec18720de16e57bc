"""What is in front of the cameras at one moment: whose hands, in which pose, with which arms, under which light.

Everything is drawn from streams of its own, keyed by seed, split and number, so that a moment depends on nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float, Float32

from data_builders.synthetic.config import SPLITS, SyntheticConfig
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import PAIR, SINGLE, PoseDraw, default_bank
from jaxhands.render.appearance import sample_hands
from jaxhands.render.arm import forearm_direction, wrist_frame
from jaxhands.render.scene import Hand
from jaxhands.render.skin import Skin, sample_skin
from jaxhands.render.surface import HandSurface, hand_surfaces
from jaxhands.schema import MANO_TRANSLATION

INTERACTING_SHARE = {"all": 0.6, "single": 0.0, "pair": 1.0}  # the rest is half right hands, half left ones
SUBJECTS = {"train": 400, "val": 40, "test": 80}
_SUBJECT_IDS = {split: 1000 * number for number, split in enumerate(SPLITS)}  # of the first subject
_MAX_SHAPE = 2.0  # standard deviations
# Of the variant `wide`: how often two hands are moved apart, and by how much at most; lengths of arms.
_APART, _APART_MM, _ARM_MM = 0.5, np.array([700.0, 500.0, 240.0]), (250.0, 900.0)


class Stream(IntEnum):
  """What a stream of chance is for."""

  SUBJECT, POSE, MOMENT, DOME, VIEW, SURROUNDINGS, BYSTANDERS = range(7)


def stream(config: SyntheticConfig, purpose: Stream, split: str, *numbers: int) -> np.random.Generator:
  """The generator of one thing; no two things share one."""
  key = (config.seed, int(purpose), SPLITS.index(split), *numbers)
  return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


@dataclasses.dataclass(frozen=True)
class Subject:
  """A person: shape and skin of both hands."""

  subject_id: int
  shape: Float32[np.ndarray, " 10"]
  skin: Skin


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
  """Hands in the world's frame (mm), which is the pose bank's: upright, seen from -z. Of an absent hand: zeros, None.

  family: of poses · forearms: unit vectors from each present wrist along the arm, [n, 3].
  """

  present: Bool[np.ndarray, " 2"]
  subject_id: int
  family: str
  mano_world: Float32[np.ndarray, "2 61"]
  joints_world: Float32[np.ndarray, "2 21 3"]
  hands: tuple[Hand | None, Hand | None]
  forearms: Float[np.ndarray, "n 3"]


@functools.cache
def hand_model() -> HandModel:
  return HandModel.default()


@functools.cache
def _surfaces() -> tuple[HandSurface, HandSurface]:
  return hand_surfaces(hand_model())


@functools.lru_cache(maxsize=512)
def subject(config: SyntheticConfig, split: str, number: int) -> Subject:
  """Person `number` of a split."""
  rng = stream(config, Stream.SUBJECT, split, number)
  shape = rng.standard_normal(10).clip(-_MAX_SHAPE, _MAX_SHAPE).astype(np.float32)
  return Subject(_SUBJECT_IDS[split] + number, shape, sample_skin(rng))


def _posed(config: SyntheticConfig, split: str, scene: int) -> tuple[Subject, PoseDraw]:
  """A person, and one or two of their hands in a pose."""
  rng = stream(config, Stream.POSE, split, scene)
  person = subject(config, split, int(rng.integers(SUBJECTS[split])))
  kind = PAIR if rng.uniform() < INTERACTING_SHARE[config.hands] else SINGLE
  # The half turn is further from upright than any limit.
  return person, default_bank().sample(rng, split, kind, shape=person.shape, from_behind=config.max_tilt_deg >= 180)


@functools.lru_cache(maxsize=1)  # the cameras of a scene are consecutive records
def moment(config: SyntheticConfig, split: str, scene: int) -> Moment:
  """Scene `scene` of a split."""
  person, draw = _posed(config, split, scene)
  rng = stream(config, Stream.MOMENT, split, scene)
  mano = _mano(draw, person.shape)
  posed = hand_model().forward_mano(mano)
  hands = sample_hands(rng, _surfaces(), posed.vertices, draw.present, person.skin)
  found = Moment(
    present=draw.present,
    subject_id=person.subject_id,
    family=draw.family,
    mano_world=mano,
    joints_world=np.where(draw.present[:, None, None], posed.keypoints, 0).astype(np.float32),
    hands=hands,
    forearms=forearm_directions(hands),
  )
  return _spread(rng, found) if config.variant == "wide" else found


def _spread(rng: np.random.Generator, moment: Moment) -> Moment:
  """Two hands often far from each other, and arms of any length, so that small hands' arms do not all end alike."""
  apart = moment.present.all() and rng.uniform() < _APART
  half_mm = np.float32(rng.uniform(-1, 1, 3) * _APART_MM / 2 if apart else np.zeros(3))
  shift_mm = np.where(moment.present[:, None], np.stack([half_mm, -half_mm]), 0)
  length_mm = float(rng.uniform(*_ARM_MM))
  hands: list[Hand | None] = [None, None]
  for side, hand in enumerate(moment.hands):
    if hand is not None and hand.forearm is not None:
      arm = dataclasses.replace(hand.forearm, length_mm=length_mm)
      hands[side] = dataclasses.replace(hand, vertices_world=hand.vertices_world + shift_mm[side], forearm=arm)
  mano = moment.mano_world.copy()
  mano[:, MANO_TRANSLATION] += shift_mm
  joints = moment.joints_world + shift_mm[:, None]
  return dataclasses.replace(moment, mano_world=mano, joints_world=joints, hands=(hands[0], hands[1]))


def wrist_at_rest(shape: Float[np.ndarray, " 10"]) -> Float32[np.ndarray, "2 3"]:
  """Both wrists of the unposed model: what the translation is added to."""
  model = hand_model()
  return np.asarray(model.joints_template[:, 0] + model.joints_shapedirs[:, 0] @ shape)


def _mano(draw: PoseDraw, shape: Float32[np.ndarray, " 10"]) -> Float32[np.ndarray, "2 61"]:
  mano = np.concatenate([draw.pose, np.tile(shape, (2, 1)), draw.wrist_mm - wrist_at_rest(shape)], axis=1)
  return np.where(draw.present[:, None], mano, 0).astype(np.float32)


def forearm_directions(hands: Sequence[Hand | None]) -> Float[np.ndarray, "n 3"]:
  """Unit vectors from the wrist of each hand that is there along its arm."""
  arms = [(hand, hand.forearm) for hand in hands if hand is not None and hand.forearm is not None]
  return np.stack([forearm_direction(wrist_frame(h.surface, h.vertices_world), arm.bend_rad) for h, arm in arms])
