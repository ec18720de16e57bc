"""The pose bank: plausible poses of one hand and of two interacting hands, in families split into train, val and test.

A draw picks an entry and goes some way to another one of its split that holds the hands alike; or it takes the fingers
of two other poses, or moves the hands apart. It then lets the joints move together, and settles the hands of the shape
asked for, so that they neither leave their joint limits nor go into each other. Sources, families and measurements:
docs/pose_bank.md.

Frame of a draw: upright, as a camera sees it: x right, y down, z away; fingers point up (for two hands: their mean
direction, where they have one). mm; the origin is the middle of all joints.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, contact, vary
from jaxhands.hands.model import HandModel
from jaxhands.hands.settle import Effort, Placed, Rig, joints_of, make_rig, settle, shaped, vertices_of

SPLITS = ("train", "val", "test")
SINGLE, PAIR = "single", "pair"
ANGLE_STEP_DEG, TURN_STEP_RAD, SHIFT_STEP_MM = 0.01, 1e-4, 0.02  # of the stored integers
MAX_PENETRATION_MM = 2.0
PATH = pathlib.Path(__file__).parent / "assets" / "pose_bank_v1.npz"
_MIRROR = np.array([-1.0, 1.0, 1.0])
_HALF_TURN = np.diag([-1.0, 1.0, -1.0])  # about the vertical: the same hands from behind
_SETTLE = Effort(iterations=4, angle_deg=4.0, turn_deg=6.0, shift_mm=8.0, margin_mm=0.4, face_centres=False)
_DEEPEST_MM = 6.0  # what is deeper has shallower neighbours, which are too deep already
_TRIES = 4
_NEIGHBOURS = 12  # of an entry of two hands: those that hold the left hand alike as the right one sees it
_OTHER_FINGERS, _APART = 0.2, 0.2  # shares of pairs with the fingers of other poses, and of hands that do not touch
_GAP_MM, _APART_TURN_RAD = (4.0, 90.0), 0.25  # of hands that do not touch: the gap, and the spread of the turn


@dataclasses.dataclass(frozen=True, eq=False)
class PoseDraw:
  """One or two posed hands, right first, in the upright frame.

  pose [2, 48]: rotation vectors, rad, global first, as `HandModel` takes them · wrist_mm [2, 3] · present [2] ·
  family, entry: where it comes from · penetration_mm: what is left of it after settling, between and within the hands.
  An absent hand is 0. `translation_mm` of the model is the wrist less the rest wrist of the shape.
  """

  pose: Float[np.ndarray, "2 48"]
  wrist_mm: Float[np.ndarray, "2 3"]
  present: Bool[np.ndarray, 2]
  family: str
  entry: int
  penetration_mm: float


@dataclasses.dataclass(frozen=True, eq=False)
class PoseBank:
  """The stored entries; angles are those of `anatomy.FREE` in degrees, the rest follows.

  family [N] index into `families` · angles_deg [N, 2, 21] (single hands: the first) · rotation [N, 2, 3] rotation
  vectors, rad · wrist_mm [N, 3] left wrist from the right one · kinds, splits: of each family.
  """

  families: tuple[str, ...]
  kinds: tuple[str, ...]
  splits: tuple[str, ...]
  family: Int[np.ndarray, " N"]
  angles_deg: Float[np.ndarray, "N 2 21"]
  rotation: Float[np.ndarray, "N 2 3"]
  wrist_mm: Float[np.ndarray, "N 3"]
  rig: Rig

  @classmethod
  def load(cls, model: HandModel | None = None) -> PoseBank:
    """The committed bank, to be posed with `model` (default: the embedded one, which it was built with)."""
    with np.load(PATH) as stored:
      arrays = dict(stored)
    return cls(
      tuple(str(name) for name in arrays["families"]),
      tuple(str(kind) for kind in arrays["kinds"]),
      tuple(str(split) for split in arrays["splits"]),
      arrays["family"].astype(np.int64),
      arrays["angles"] * ANGLE_STEP_DEG,
      arrays["rotation"] * TURN_STEP_RAD,
      arrays["wrist"] * SHIFT_STEP_MM,
      make_rig(HandModel.default() if model is None else model),
    )

  def family_names(self, split: str, kind: str | None = None) -> tuple[str, ...]:
    """Families of a split, of one kind or of both.

    Raises:
      ValueError: no such split or kind.
    """
    if split not in SPLITS or kind not in (None, SINGLE, PAIR):
      raise ValueError(f"split is {split!r} and kind {kind!r}; expected one of {SPLITS} and {(SINGLE, PAIR)} or None")
    rows = zip(self.families, self.splits, self.kinds, strict=True)
    return tuple(name for name, s, k in rows if s == split and kind in (None, k))

  def entries(self, name: str) -> Int[np.ndarray, " n"]:
    """Entries of a family."""
    return np.flatnonzero(self.family == self.families.index(name))

  def placed(self, entry: int) -> Placed:
    """An entry as it is stored, the right wrist at the origin; a single hand is the right one."""
    angles = np.zeros((2, anatomy.NUM_JOINTS, 3))
    for column, (joint, axis) in enumerate(anatomy.FREE):
      angles[:, joint, axis] = self.angles_deg[entry, :, column]
    wrist = np.stack([np.zeros(3), self.wrist_mm[entry]])
    return Placed(angles, np.asarray(rotations.matrix_from_axis_angle(self.rotation[entry])), wrist)

  def is_pair(self, entry: int) -> bool:
    return self.kinds[self.family[entry]] == PAIR

  def sample(
    self,
    rng: np.random.Generator,
    split: str,
    kind: str | None = None,
    family: str | None = None,
    shape: Float[np.ndarray, 10] | None = None,
    variety: float = 1.0,
    from_behind: bool = True,
  ) -> PoseDraw:
    """Draws a family, then an entry of it, then how it is varied; all may be mirrored, and seen from behind.

    Args:
      split, kind, family: what to draw from; a family is drawn evenly among those of the split and kind.
      shape: of both hands (one person); default the mean shape.
      variety: 0 = the entries themselves; 1 = all that a draw does to them. What cannot be settled is drawn again with
        less of it, so that the last try is an entry with angles that hardly move.
      from_behind: half of the draws are turned by 180 degrees about the vertical, back for palm.
    """
    name = family or str(rng.choice(self.family_names(split, kind)))
    rig = self.rig if shape is None else shaped(self.rig, np.asarray(shape, np.float64))
    best: PoseDraw | None = None
    for attempt in range(_TRIES):
      entry = int(rng.choice(self.entries(name)))
      draw = self._drawn(rng, rig, entry, variety * (1 - attempt / _TRIES) ** 2, from_behind)
      if best is None or draw.penetration_mm < best.penetration_mm:
        best = draw
      if best.penetration_mm <= MAX_PENETRATION_MM:
        break
    assert best is not None
    return best

  @functools.cached_property
  def _others(self) -> dict[int, Int[np.ndarray, " n"]]:
    """Entry -> entries of its split that it may be mixed with: of pairs the nearest, of single hands all."""
    of_split = np.array(self.splits)[self.family]
    of_kind = np.array(self.kinds)[self.family]
    others = {}
    for split in SPLITS:
      singles = np.flatnonzero((of_split == split) & (of_kind == SINGLE))
      others |= dict.fromkeys(singles.tolist(), singles)
      pairs = np.flatnonzero((of_split == split) & (of_kind == PAIR))
      turns, places = zip(*(vary.left_from_right(self.placed(int(entry))) for entry in pairs), strict=True)
      nearest = np.argsort(vary.placement_distance_mm(np.stack(turns), np.stack(places)), axis=1)
      others |= dict(zip(pairs.tolist(), pairs[nearest[:, :_NEIGHBOURS]], strict=True))
    return others

  def _varied(self, rng: np.random.Generator, rig: Rig, entry: int, variety: float) -> Placed:
    """An entry changed in one of the ways of the module, not settled."""
    placed = self.placed(entry)
    # A larger hand keeps the other at the distance that it has in proportion.
    scale = np.linalg.norm(rig.joints_mm[1:], axis=1).mean() / np.linalg.norm(self.rig.joints_mm[1:], axis=1).mean()
    other = self.placed(int(rng.choice(self._others[entry])))
    placed = vary.between(placed, other, variety * rng.uniform())
    placed = dataclasses.replace(placed, wrist_mm=placed.wrist_mm * scale)
    way = rng.uniform() / max(variety, 1e-6) if self.is_pair(entry) else 1.0
    if way < _OTHER_FINGERS:
      split = self.splits[self.family[entry]]
      chosen = [rng.choice(self.entries(str(name))) for name in rng.choice(self.family_names(split, SINGLE), 2)]
      placed = dataclasses.replace(placed, angles_deg=np.stack([self.placed(int(n)).angles_deg[0] for n in chosen]))
    placed = dataclasses.replace(placed, angles_deg=vary.shaken(rng, placed.angles_deg, variety))
    if way < _OTHER_FINGERS + _APART:
      gap = rng.uniform(*_GAP_MM) if way >= _OTHER_FINGERS else 0.0
      placed = vary.moved_apart(rig, placed, gap, _APART_TURN_RAD * rng.normal(size=3))
    return placed

  def _drawn(self, rng: np.random.Generator, rig: Rig, entry: int, variety: float, from_behind: bool) -> PoseDraw:
    """One entry varied, in another shape, settled again; then mirrored, turned and centred."""
    pair = self.is_pair(entry)
    present = np.array([True, pair])
    wish = self._varied(rng, rig, entry, variety)
    settled = settle(rig, wish, present=(True, pair), effort=_SETTLE)
    skins = vertices_of(rig, settled)
    deepest = max(contact.self_penetration(rig.solids, skins[hand], _DEEPEST_MM) for hand in np.flatnonzero(present))
    if pair:
      deepest = max(deepest, contact.penetration(rig.solids, skins[0], skins[1], _DEEPEST_MM)[0])

    pose, wrist = self._parameters(rig, settled, present)
    if rng.random() < 0.5:
      pose, wrist, present = mirror(pose, wrist, present)
    if rng.random() < 0.5 and from_behind:
      pose, wrist = turn(_HALF_TURN, pose, wrist)
    return PoseDraw(pose * present[:, None], wrist * present[:, None], present, self._name(entry), entry, deepest)

  def _name(self, entry: int) -> str:
    return self.families[self.family[entry]]

  def _parameters(self, rig: Rig, placed: Placed, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors [2, 48] and wrists [2, 3] about the middle of the joints."""
    fingers = [anatomy.pose_from_angles(rig.anatomy, placed.angles_deg[hand], hand) for hand in range(2)]
    pose = np.concatenate([rotations.axis_angle_from_matrix(placed.rotation), np.stack(fingers)], axis=1)
    centre = joints_of(rig, placed)[present].mean(axis=(0, 1))
    return pose, placed.wrist_mm - centre


def turn(
  rotation: Float[np.ndarray, "3 3"], pose: Float[np.ndarray, "2 48"], wrist_mm: Float[np.ndarray, "2 3"]
) -> tuple[np.ndarray, np.ndarray]:
  """The same hands after a rotation about the origin."""
  globals_ = rotations.axis_angle_from_matrix(rotation @ rotations.matrix_from_axis_angle(pose[:, :3]))
  return np.concatenate([globals_, pose[:, 3:]], axis=1), wrist_mm @ rotation.T


def mirror(
  pose: Float[np.ndarray, "2 48"], wrist_mm: Float[np.ndarray, "2 3"], present: Bool[np.ndarray, 2]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Hands seen in a mirror across x = 0: right and left change places."""
  vectors = np.asarray(rotations.mirror_axis_angle(pose.reshape(2, 16, 3))).reshape(2, 48)
  return vectors[::-1], (wrist_mm * _MIRROR)[::-1], present[::-1]


@functools.cache
def default_bank() -> PoseBank:
  """The committed bank with the embedded model, read once."""
  return PoseBank.load()
