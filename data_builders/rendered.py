"""What a record says of a rendered scene: pictures, labels, camera, joints and parameters of the hands.

Keys are those of `data_builders.schema`; `jaxhands.schema` says what those mean that a batch has, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from data_builders.schema import encode_labels, encode_picture
from jaxhands.geometry import camera, crop
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST
from jaxhands.render.cameras import View
from jaxhands.render.labels import joints_visible
from jaxhands.render.scene import Rendered
from jaxhands.schema import HANDS, pack_masks


def rendered_entries(
  rendered: Rendered,
  view: View,
  model: HandModel,
  present: Bool[np.ndarray, " 2"],
  mano_world: Float32[np.ndarray, "2 61"],
  joints_world: Float32[np.ndarray, "2 21 3"],
  all_pictures: bool,
  quality: int,
) -> dict[str, Any]:
  """Entries of a record: everything but who, where and when.

  Args:
    rendered: the scene in `view`. Pictures that it lacks are those of one hand, which are the picture itself.
    view: the camera.
    model: of the parameters.
    present: hands that there are.
    mano_world: their parameters in the world's frame (mm); zeros of an absent hand.
    joints_world: their joints (mm); zeros of an absent hand.
    all_pictures: store the de-occluded and the distractor-free pictures, too.
    quality: of JPEG, the same for all pictures, so that those which agree in a block agree there afterwards.
  """
  there = present[:, None]
  joints_cam = np.where(there[..., None], view.to_cam(joints_world), 0).astype(np.float32)
  joints_img = np.where(there[..., None], camera.project(joints_cam, view.camera_img), 0).astype(np.float32)
  valid = np.broadcast_to(there, (2, 21)).copy()
  visible = joints_visible(rendered.depth_mm, joints_cam, view.camera_img)
  return _encoded(rendered, present, all_pictures, quality) | {
    "hand_model": model.identity,
    "picture_hw": np.array([view.height, view.width], np.int32),
    "camera_img": view.camera_img,
    "camera_valid": np.True_,
    "cam_from_world": view.cam_from_world,
    "box_img": crop.box_around(joints_img.reshape(42, 2), valid.reshape(42)),
    "joints_cam": joints_cam,
    "joints_cam_valid": valid,
    "joints_img": joints_img,
    "joints_img_valid": valid,
    "joints_visible": visible & there,
    "hand_present": present,
    "hand_present_valid": np.True_,
    "root_depth": joints_cam[:, WRIST, 2].copy(),
    "root_depth_valid": present,
    "mano": np.where(there, model.mano_to_camera(mano_world, view.cam_from_world), 0).astype(np.float32),
    "mano_valid": present,
    "parts": encode_labels(rendered.parts),
    "parts_valid": np.True_,
    "masks": encode_labels(pack_masks(rendered.masks)),
    "masks_valid": np.ones((2, 2), bool),
  }


def _encoded(rendered: Rendered, present: np.ndarray, all_pictures: bool, quality: int) -> dict[str, Any]:
  assert rendered.picture is not None
  entries: dict[str, Any] = {"picture": encode_picture(rendered.picture, quality)}
  if all_pictures:
    for kind, pictures in (("deoccluded", rendered.deoccluded), ("removed", rendered.removed)):
      entries[f"{kind}_valid"] = present
      for hand in np.flatnonzero(present):
        encoded = entries["picture"] if pictures is None else encode_picture(pictures[hand], quality)
        entries[f"{kind}_{HANDS[hand]}"] = encoded
  return entries
