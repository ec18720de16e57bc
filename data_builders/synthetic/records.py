"""One record of the synthetic data set, from its split and index."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np

from data_builders.rendered import rendered_entries
from data_builders.schema import Record, empty_record
from data_builders.shards import BuildError
from data_builders.synthetic.config import SPLITS, SyntheticConfig, is_picture
from data_builders.synthetic.moment import Stream, hand_model, moment, stream
from data_builders.synthetic.viewpoint import draw_view
from jaxhands.paths import expanded
from jaxhands.render.appearance import Surroundings, sample_surroundings
from jaxhands.render.backgrounds import photos_of_split
from jaxhands.render.bystanders import add_bystanders
from jaxhands.render.scene import PICTURES, Scene, render, without_hands
from jaxhands.render.skin import srgb_from_linear
from jaxhands.schema import MAX_RECORD_ID

_EMPTY_SHARE = 0.25  # of the variant `wide`
FIRST_ID = {split: number * (MAX_RECORD_ID + 1) // 4 for number, split in enumerate(SPLITS)}


def make_record(config: SyntheticConfig, split: str, index: int) -> Record:
  """Record `index` of `split`: a pure function of these three.

  Raises:
    BuildError: a picture of the folder of backgrounds cannot be read.
  """
  scene, number = divmod(index, config.cameras)
  now = moment(config, split, scene)
  view = draw_view(config, split, scene, number)
  around = _surroundings(config, split, scene, number)
  light = _surroundings(config, split, scene, 0).lighting  # all cameras see one light
  # With one hand, every picture of the scene is the picture.
  pictures = PICTURES if config.all_pictures and now.present.all() else ("picture",)
  rendered = (
    without_hands(view, around.background, around.sensor) if _is_empty(config, split, scene)
    else render(Scene(now.hands, light), view, around.background, around.sensor, pictures)
  )  # fmt: skip
  present = now.present & (not _is_empty(config, split, scene))
  shown = rendered_entries(
    rendered, view, hand_model(), present, now.mano_world, now.joints_world, config.all_pictures,
    around.sensor.jpeg_quality,
  )  # fmt: skip
  if not present.any():
    shown |= {"hand_model": "", "box_img": np.array([-0.5, -0.5, view.width, view.height], np.float32)}
  first = FIRST_ID[split]
  identity = {
    "record_id": np.int32(first + index),
    "source": f"{split}/{index}/{now.family}",
    "annotation_kind": "rendered",
    "subject_id": np.int32(now.subject_id),
    "scene_id": np.int32(first + scene),
    "camera_id": np.int32(number),
  }
  return empty_record() | shown | identity


def _is_empty(config: SyntheticConfig, split: str, scene: int) -> bool:
  """Whether a scene of the variant `wide` shows no hands."""
  if config.variant != "wide":
    return False
  return bool(stream(config, Stream.BYSTANDERS, split, scene).uniform() < _EMPTY_SHARE)


@functools.lru_cache(maxsize=2)  # those of the first camera are asked for again
def _surroundings(config: SyntheticConfig, split: str, scene: int, number: int) -> Surroundings:
  """Background and sensor of a camera, and the light that goes with them, which falls on what a single camera sees."""
  view = draw_view(config, split, scene, number)
  viewer = -view.cam_from_world[2, :3] if config.cameras == 1 else None
  pictures = () if config.background_dir is None else photos(config.background_dir, split)
  families = "other" if config.variant == "other" else split
  rng = stream(config, Stream.SURROUNDINGS, split, scene, number)
  try:
    around = sample_surroundings(rng, view.height, view.width, families, pictures, viewer=viewer)
  except ValueError as error:
    raise BuildError(str(error)) from error
  if config.variant != "wide":
    return around
  skin = next(hand.skin for hand in moment(config, split, scene).hands if hand is not None)
  person = srgb_from_linear(np.array(skin.back))
  return dataclasses.replace(around, background=add_bystanders(rng, around.background, person))


@functools.cache
def photos(folder: str, split: str) -> tuple[pathlib.Path, ...]:
  """The readable pictures of a folder of backgrounds that belong to a split."""
  found = photos_of_split(expanded(folder), split)
  return tuple(path for path in found if is_picture(path))
