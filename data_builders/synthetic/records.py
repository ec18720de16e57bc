"""One record of the synthetic data set, from its split and index."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import cv2
import numpy as np

from data_builders.schema import Record, empty_record, encode_labels, encode_picture
from data_builders.shards import BuildError
from data_builders.synthetic.config import SPLITS, SyntheticConfig
from data_builders.synthetic.moment import SCENES_PER_POSE, Moment, Stream, hand_model, moment, stream
from data_builders.synthetic.viewpoint import draw_view
from jaxhands.geometry import camera, crop
from jaxhands.hands.skeleton import WRIST
from jaxhands.render.appearance import Surroundings, sample_surroundings
from jaxhands.render.backgrounds import photos_of_split
from jaxhands.render.cameras import View
from jaxhands.render.labels import joints_visible
from jaxhands.render.scene import PICTURES, Rendered, Scene, render
from jaxhands.schema import HANDS, MAX_RECORD_ID, pack_masks

_FIRST_ID = {split: number * (MAX_RECORD_ID + 1) // 4 for number, split in enumerate(SPLITS)}


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
  rendered = render(Scene(now.hands, light), view, around.background, around.sensor, pictures)
  first = _FIRST_ID[split]
  return (
    empty_record()
    | _labels(now, view, rendered)
    | _encoded(rendered, now, config.all_pictures, around.sensor.jpeg_quality)
    | {
      "record_id": np.int32(first + index),
      "source": f"{split}/{index}/{now.family}",
      "annotation_kind": "rendered",
      "hand_model": hand_model().identity,
      "subject_id": np.int32(now.subject_id),
      "scene_id": np.int32(first + scene // SCENES_PER_POSE),  # what shares a pose is no independent evidence
      "frame": np.int32(scene % SCENES_PER_POSE),
      "camera_id": np.int32(number),
    }
  )


def _labels(now: Moment, view: View, rendered: Rendered) -> dict[str, Any]:
  """Everything of the record that is an array."""
  there = now.present[:, None]
  joints_cam = np.where(there[..., None], view.to_cam(now.joints_world), 0).astype(np.float32)
  joints_img = np.where(there[..., None], camera.project(joints_cam, view.camera_img), 0).astype(np.float32)
  valid = np.broadcast_to(there, (2, 21)).copy()
  visible = joints_visible(rendered.depth_mm, joints_cam, view.camera_img)
  return {
    "picture_hw": np.array([view.height, view.width], np.int32),
    "camera_img": view.camera_img,
    "camera_valid": np.True_,
    "cam_from_world": view.cam_from_world,
    "box_img": crop.box_around(joints_img.reshape(42, 2), valid.reshape(42), margin=1.0),
    "joints_cam": joints_cam,
    "joints_cam_valid": valid,
    "joints_img": joints_img,
    "joints_img_valid": valid,
    "joints_visible": visible & there,
    "hand_present": now.present,
    "hand_present_valid": np.True_,
    "root_depth": joints_cam[:, WRIST, 2].copy(),
    "root_depth_valid": now.present,
    "mano": np.where(there, hand_model().mano_to_camera(now.mano_world, view.cam_from_world), 0).astype(np.float32),
    "mano_valid": now.present,
    "parts": encode_labels(rendered.parts),
    "parts_valid": np.True_,
    "masks": encode_labels(pack_masks(rendered.masks)),
    "masks_valid": np.ones((2, 2), bool),
  }


def _encoded(rendered: Rendered, now: Moment, all_pictures: bool, quality: int) -> dict[str, Any]:
  """The pictures as JPEG of one quality, so that those which agree in a block agree there afterwards."""
  assert rendered.picture is not None
  record: dict[str, Any] = {"picture": encode_picture(rendered.picture, quality)}
  if all_pictures:
    for kind, pictures in (("deoccluded", rendered.deoccluded), ("removed", rendered.removed)):
      record[f"{kind}_valid"] = now.present
      for hand in np.flatnonzero(now.present):
        other = record["picture"] if pictures is None else encode_picture(pictures[hand], quality)
        record[f"{kind}_{HANDS[hand]}"] = other
  return record


@functools.lru_cache(maxsize=2)  # those of the first camera are asked for again
def _surroundings(config: SyntheticConfig, split: str, scene: int, number: int) -> Surroundings:
  """Background and sensor of a camera, and the light that goes with them, which falls on what a single camera sees."""
  view = draw_view(config, split, scene, number)
  viewer = -view.cam_from_world[2, :3] if config.cameras == 1 else None
  photos = () if config.background_dir is None else _photos(config.background_dir, split)
  families = "other" if config.variant == "other" else split
  rng = stream(config, Stream.SURROUNDINGS, split, scene, number)
  try:
    return sample_surroundings(rng, view.height, view.width, families, photos, viewer=viewer)
  except ValueError as error:
    raise BuildError(str(error)) from error


@functools.cache
def _photos(folder: str, split: str) -> tuple[pathlib.Path, ...]:
  photos = photos_of_split(pathlib.Path(folder).expanduser(), split)
  return tuple(path for path in photos if cv2.haveImageReader(str(path)))
