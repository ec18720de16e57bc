"""Part labels, masks and visibility of real pictures, drawn from a hand model that was fitted to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from data_builders.schema import encode_labels
from jaxhands.hands import parts as parts_of
from jaxhands.hands.mano_files import MANO
from jaxhands.hands.model import HandModel
from jaxhands.render import labels, zbuffer
from jaxhands.schema import RIGHT, pack_masks


def mesh_labels(
  model: HandModel,
  mano: Float[np.ndarray, "2 61"],
  mano_valid: Bool[np.ndarray, " 2"],
  hand_present: Bool[np.ndarray, " 2"],
  joints_cam: Float[np.ndarray, "2 21 3"],
  joints_valid: Bool[np.ndarray, "2 21"],
  camera_img: Float[np.ndarray, "3 3"],
  picture_hw: tuple[int, int],
) -> dict[str, Any]:
  """Entries of a record: `parts`, `masks`, `joints_visible` and their flags.

  On MANO's own mesh, parts are those of DIGIT's list of faces, and its open wrist is closed as there; on another one
  skinning weights tell them.

  What a hand without a fit may hide is unknown: then the other hand has its amodal mask only. Arms and objects, which
  no model describes, hide nothing.

  Args:
    model: of the parameters.
    mano: parameters in the camera frame (mm).
    mano_valid: hands that have a fit.
    hand_present: hands that are in the picture.
    joints_cam: annotated joints (mm), whose visibility is wanted.
    joints_valid: which of them are known.
    camera_img: intrinsics (px).
    picture_hw: height and width of the picture.
  Returns:
    An empty dictionary where no hand has a fit.
  """
  if not mano_valid.any():
    return {}
  meshes = model.forward_mano(mano).vertices
  known = mano_valid | ~hand_present
  parts, masks = np.zeros(picture_hw, np.uint8), np.zeros((2, 2, *picture_hw), np.uint8)
  drawn = {}
  faces, weights = np.asarray(model.faces), np.asarray(model.weights)
  of_mano = model.identity == MANO and faces.shape[1] == parts_of.NUM_MANO_FACES
  for hand in np.flatnonzero(mano_valid):
    # The list is of the right hand's faces; the left one has the same vertices, and both sides of faces are drawn.
    vertices, own = parts_of.sealed(meshes[hand], faces[RIGHT]) if of_mano else (meshes[hand], faces[hand])
    points = zbuffer.project(vertices, camera_img)
    face_map, nearness = zbuffer.buffers(*picture_hw)
    zbuffer.rasterize(points, own, face_map, nearness)
    drawn[hand] = points, face_map, nearness
  nearest = np.max([nearness for _, _, nearness in drawn.values()], axis=0)
  for hand, (points, face_map, nearness) in drawn.items():
    visible = (face_map != zbuffer.NOTHING) & (nearness == nearest)
    masks[hand] = face_map != zbuffer.NOTHING, visible
    if of_mano:
      parts[visible] = parts_of.face_classes(int(hand))[face_map[visible]]
    else:
      labels.part_labels(face_map, visible, points, faces[hand], weights[hand], int(hand), parts)
  masks_valid = np.stack([known, known & known.all()], axis=1)
  entries = {"masks": encode_labels(pack_masks(masks)), "masks_valid": masks_valid}
  if known.all():
    visible = labels.joints_visible(zbuffer.depth_mm(nearest), joints_cam, camera_img)
    entries |= {"parts": encode_labels(parts), "parts_valid": np.True_, "joints_visible": visible & joints_valid}
  return entries
