"""One record of InterHand2.6M, from its split and index."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_builders.interhand26m.survey import source_name, to_camera
from data_builders.interhand26m.tables import KINDS, Split
from data_builders.mesh_labels import mesh_labels
from data_builders.pictures import look_at
from data_builders.schema import Record, empty_record
from data_builders.shards import BuildError
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST

_AGAIN = "put back the picture that was there before, or build into a new folder"


@dataclasses.dataclass(frozen=True)
class Source:
  """Where records come from; small, so that worker processes can receive it.

  Attributes:
    surveyed: folder with a surveyed `Split` for each split.
    pictures: folder of pictures of each split.
    mano: the user's MANO files; "" = no parameters, part labels and masks.
  """

  surveyed: str
  pictures: Mapping[str, str]
  mano: str = ""

  def split(self, name: str) -> Split:
    return _split(pathlib.Path(self.surveyed) / name)


@functools.cache
def _split(folder: pathlib.Path) -> Split:
  return Split(folder)


@functools.cache
def load_model(mano: str) -> HandModel:
  """The user's MANO, once a process."""
  return HandModel.from_mano(mano)


def make_record(source: Source, split: str, index: int) -> Record:
  """Record `index` of `split`.

  `box_img` is the annotated box: the tight box of the valid joints enlarged 1.2 times. It is kept as it is, because the
  reference's crop (`jaxhands.geometry.crop.process_box`) starts from it.

  Raises:
    BuildError: the picture has gone or changed since the survey.
  """
  surveyed = source.split(split)
  row = surveyed.rows[index]
  name = surveyed.name(row)
  path = pathlib.Path(source.pictures[split]) / name
  try:
    picture = path.read_bytes()
  except OSError as error:
    raise BuildError(f"cannot read {path}, which was there before: {error.strerror}") from error
  fault, hw = look_at(path)
  if fault:
    raise BuildError(f"{path} is a {fault[0]} now ({fault[1]}); {_AGAIN}")
  if surveyed.picture_hw is not None and hw != (before := tuple(surveyed.picture_hw[index].tolist())):
    raise BuildError(f"{path} is {hw[1]} x {hw[0]} pixels now, and was {before[1]} x {before[0]}; {_AGAIN}")
  cameras, at = surveyed.cameras, row["camera"]
  cam_from_world = np.asarray(camera.cam_from_world(cameras.rotation[at], cameras.position_mm[at]))
  camera_img = np.asarray(camera.intrinsics(cameras.focal_px[at], cameras.centre_px[at]))
  valid, present = row["joint_valid"], row["hand_present"]
  world = surveyed.joints_world[row["joints"]]
  exact = to_camera(world[None], cameras.rotation[at][None], cameras.position_mm[at][None])[0]
  exact = np.where(valid[..., None], exact, 0)
  joints_img = np.where(valid[..., None], camera.project(exact, camera_img), 0)
  joints_cam = exact.astype(np.float32)
  record = empty_record() | {
    "record_id": np.int32(row["record_id"]),
    "source": source_name(split, name),
    "annotation_kind": KINDS[row["kind"]],
    "picture": picture,
    "picture_hw": np.array(hw, np.int32),
    "camera_img": camera_img.astype(np.float32),
    "camera_valid": np.True_,
    "cam_from_world": cam_from_world.astype(np.float32),
    "box_img": row["box"].copy(),
    "joints_cam": joints_cam,
    "joints_cam_valid": valid.copy(),
    "joints_img": joints_img.astype(np.float32),
    "joints_img_valid": valid.copy(),
    "hand_present": present.copy(),
    "hand_present_valid": np.bool_(row["hand_present_valid"]),
    "root_depth": joints_cam[:, WRIST, 2].copy(),
    "root_depth_valid": valid[:, WRIST].copy(),
    "subject_id": np.int32(row["subject"]),
    "scene_id": np.int32(row["scene_id"]),
    "camera_id": np.int32(row["camera_id"]),
    "frame": np.int32(row["frame"]),
  }
  if source.mano and row["mano_valid"].any():
    record |= _fitted(load_model(source.mano), surveyed.mano_world[row["mano"]], row["mano_valid"], cam_from_world)
    record |= mesh_labels(
      load_model(source.mano), record["mano"], record["mano_valid"], present, joints_cam, valid, camera_img, hw
    )
  return record


def _fitted(model: HandModel, mano_world: np.ndarray, valid: np.ndarray, cam_from_world: np.ndarray) -> dict[str, Any]:
  """Parameters in the camera's frame with the mean pose included: flat hand = 0."""
  known = np.where(valid[:, None], mano_world, 0)
  mano = model.mano_to_camera(model.add_mean_pose(known), cam_from_world)
  return {
    "mano": np.where(valid[:, None], mano, 0).astype(np.float32),
    "mano_valid": valid.copy(),
    "hand_model": model.identity,
  }
