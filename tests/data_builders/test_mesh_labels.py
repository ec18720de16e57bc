"""Labels drawn from a fitted hand model: by skinning weights, and on MANO's mesh by DIGIT's list of faces."""

import dataclasses

import numpy as np
import pytest

from data_builders.mesh_labels import mesh_labels
from jaxhands import schema
from jaxhands.data.host_ops import decode_labels
from jaxhands.hands import parts
from jaxhands.hands.mano_files import MANO
from jaxhands.hands.model import HandModel
from jaxhands.render import zbuffer

CAMERA = np.array([[300, 0, 80], [0, 300, 60], [0, 0, 1]], np.float32)
SIZE = (120, 160)
AT_MM = np.array([[-20, 0, 500], [20, 0, 500]], np.float32)


@pytest.fixture(scope="module")
def of_mano() -> HandModel:
  """The embedded hand under MANO's name and with its number of faces."""
  model = HandModel.default()
  missing = parts.NUM_MANO_FACES - model.faces.shape[1]
  faces = np.concatenate([model.faces, model.faces[:, :missing]], axis=1)
  return dataclasses.replace(model, faces=faces, identity=MANO)


def _labels(model: HandModel, present: tuple[bool, bool]) -> dict[str, np.ndarray]:
  mano = np.zeros((2, schema.MANO_DIM), np.float32)
  mano[:, 0] = np.pi / 2  # the backs of the hands, not their edges
  mano[:, schema.MANO_TRANSLATION] = AT_MM
  there = np.array(present)
  joints = np.asarray(model.forward_mano(mano).keypoints, np.float32)
  entries = mesh_labels(model, mano, there, there, joints, np.repeat(there[:, None], 21, 1), CAMERA, SIZE)
  return {"parts": decode_labels(entries["parts"]), "masks": schema.unpack_masks(decode_labels(entries["masks"]))}


@pytest.mark.parametrize("hand", [schema.RIGHT, schema.LEFT])
def test_parts_of_mano_are_those_of_its_faces(of_mano, hand):
  found = _labels(of_mano, (hand == schema.RIGHT, hand == schema.LEFT))
  mano = np.zeros(schema.MANO_DIM, np.float32)
  mano[0], mano[schema.MANO_TRANSLATION] = np.pi / 2, AT_MM[hand]
  vertices, faces = parts.sealed(np.asarray(of_mano.forward_mano(mano, hand).vertices), of_mano.faces[schema.RIGHT])
  face_map, nearness = zbuffer.buffers(*SIZE)
  zbuffer.rasterize(zbuffer.project(vertices, CAMERA), faces, face_map, nearness)
  expected = np.where(face_map == zbuffer.NOTHING, 0, parts.face_classes(hand)[face_map])
  np.testing.assert_array_equal(found["parts"], expected)
  assert len(np.unique(expected)) > 8
  np.testing.assert_array_equal(found["masks"][hand, 1] > 0, expected > 0)


def test_other_meshes_are_told_apart_by_their_weights():
  found = _labels(HandModel.default(), (True, True))
  classes = np.unique(found["parts"])
  assert {0, 9, 25} <= set(classes)  # background and both palms
  assert len(classes) > 15
  np.testing.assert_array_equal(found["parts"] > 0, found["masks"][:, 1].any(0))
