"""One record of AIH_Render, by split and number: two textured hands before a random background.

Of the embedded model these are the pairs of `data_builders.synthetic`. With the user's MANO they are the fitted poses
of another data set's pictures, with other skin, arms, light, background, and a camera anywhere around them.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np

from data_builders.aih.survey import Surveyed
from data_builders.built import Built
from data_builders.rendered import rendered_entries
from data_builders.schema import Record, empty_record
from data_builders.shards import BuildError
from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic.config import SPLITS
from data_builders.synthetic.moment import forearm_directions
from data_builders.synthetic.records import make_record as make_synthetic
from data_builders.synthetic.records import photos
from data_builders.synthetic.viewpoint import direction_to_camera, drawn_tilt_deg, turned_view
from jaxhands.hands.mano_files import ManoFileError
from jaxhands.hands.model import HandModel
from jaxhands.paths import expanded
from jaxhands.render.appearance import sample_hands, sample_surroundings
from jaxhands.render.cameras import ViewRange
from jaxhands.render.scene import Scene, render
from jaxhands.render.surface import HandSurface, hand_surfaces
from jaxhands.render.texture import Texture, read_layout, read_texture, texture_files

_STREAM = 7  # those of `synthetic` are 0..5, that of `syn` is 6
_KEYS = ("mano", "source", "annotation_kind", "subject_id", "scene_id", "camera_id", "frame")
_RANGES = ViewRange(roll_rad=0.0)


@dataclasses.dataclass(frozen=True)
class Fits:
  """Where poses come from: a data set, what was surveyed of it, and the files of the hand model of its fits."""

  built: Built
  surveyed: Surveyed
  mano: str
  textures: str = ""  # folder of pictures of skin; "" = drawn skin


def make_render(pairs: SyntheticConfig, fits: Fits | None, split: str, number: int) -> Record:
  """Record `number` of a split of AIH_Render, without the `record_id` that it has in the whole data set.

  Args:
    pairs: of embedded hands, whose seed, tilt and backgrounds also hold for other poses.
    fits: None = the pose bank's.
    split, number: which record.
  Raises:
    BuildError: a record of the data set of poses, or a background, cannot be read.
  """
  if fits is None:
    return make_synthetic(pairs, split, number)
  rows = fits.surveyed.poses(split)
  row = int(rows[_order(pairs.seed, split, len(rows))[number % len(rows)]])
  found = fits.built.read(split, row, _KEYS)
  model = load_model(fits.mano)
  rng = np.random.Generator(
    np.random.Philox(np.random.SeedSequence((pairs.seed, _STREAM, SPLITS.index(split), number)))
  )
  # The camera of the picture is the world: hands are upright there as in the pose bank, seen from -z.
  mano = found["mano"].astype(np.float32)
  posed = model.forward_mano(mano)
  present = np.ones(2, bool)
  textures = _textures(fits.mano, fits.textures, int(rng.integers(2**31))) if fits.textures else None
  hands = sample_hands(rng, _surfaces(fits.mano), posed.vertices, present, textures=textures)
  max_tilt_deg = drawn_tilt_deg(rng, pairs.max_tilt_deg)
  direction = direction_to_camera(rng, forearm_directions(hands), max_tilt_deg)
  view = turned_view(rng, posed.keypoints.reshape(-1, 3), direction, max_tilt_deg, _RANGES)
  backgrounds = () if pairs.background_dir is None else photos(pairs.background_dir, split)
  viewer = -view.cam_from_world[2, :3]
  try:
    around = sample_surroundings(rng, view.height, view.width, split, backgrounds, viewer=viewer)
  except ValueError as error:
    raise BuildError(str(error)) from error
  rendered = render(Scene(hands, around.lighting), view, around.background, around.sensor)
  shown = rendered_entries(
    rendered, view, model, present, mano, posed.keypoints.astype(np.float32), True, around.sensor.jpeg_quality
  )
  kept = {key: found[key] for key in ("source", "subject_id", "scene_id", "camera_id", "frame")}
  return empty_record() | shown | kept | {"annotation_kind": "rendered"}


@functools.lru_cache(maxsize=3)
def _order(seed: int, split: str, count: int) -> np.ndarray:
  """All poses in an order of chance, gone through again and again."""
  return np.random.default_rng((seed, _STREAM, SPLITS.index(split))).permutation(count)


@functools.cache
def load_model(mano: str) -> HandModel:
  """The user's MANO, once a process.

  Raises:
    BuildError: the files cannot be read.
  """
  try:
    return HandModel.from_mano(mano)
  except ManoFileError as error:
    raise BuildError(str(error)) from error


@functools.cache
def _surfaces(mano: str) -> tuple[HandSurface, HandSurface]:
  return hand_surfaces(load_model(mano))


def _textures(mano: str, folder: str, number: int) -> tuple[Texture, Texture]:
  """One of the textures of a folder, for both hands."""
  layouts, pictures = load_layouts(mano, folder)
  try:
    right, left = (read_texture(pictures[number % len(pictures)], layout) for layout in layouts)
  except ValueError as error:
    raise BuildError(str(error)) from error
  return right, left


@functools.cache
def load_layouts(mano: str, folder: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[pathlib.Path, ...]]:
  """Texture coordinates of both hands' faces, and the pictures of the folder.

  Raises:
    BuildError: there is no layout or no picture, or the layout is not the hand model's.
  """
  try:
    path, pictures = texture_files(expanded(folder))
    right, left = (read_layout(path, faces) for faces in load_model(mano).faces)
  except ValueError as error:
    raise BuildError(str(error)) from error
  return (right, left), tuple(pictures)
