"""Derivatives of the keypoints against central differences in float64."""

import dataclasses
import pathlib

import numpy as np
import pytest

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands.jacobian import keypoints_and_jacobian
from jaxhands.hands.model import HandModel
from tests.hands import synthetic_mano

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "mano"
STEP = 1e-5


def _float64(model):
  names = ("v_template", "shapedirs", "joints_template", "joints_shapedirs", "posedirs", "weights")
  arrays = {name: getattr(model, name) for name in names}
  return dataclasses.replace(
    model, **{name: None if array is None else array.astype(np.float64) for name, array in arrays.items()}
  )


@pytest.mark.parametrize("kind", ["embedded", "with pose correctives"])
def test_every_parameter_moves_the_keypoints_as_the_differences_say(kind, tmp_path):
  model = HandModel.default()
  if kind != "embedded":
    model = HandModel.from_mano(synthetic_mano.write_pair(GOLDENS, tmp_path))
  tips, rng = _float64(model.tips_only()), np.random.default_rng(0)
  orient = rotations.matrix_from_axis_angle(rng.normal(size=(3, 2, 3)))
  fingers, shape = rng.normal(size=(3, 2, 15, 3)) * 0.6, rng.normal(size=(3, 2, 10))
  fingers[0, 0] = 0.0  # no angle divides by itself
  translation = rng.normal(size=(3, 2, 3)) * 300

  def moved(change):
    turn = rotations.matrix_from_axis_angle(change[:3])
    pose = fingers + change[schema.MANO_POSE][3:].reshape(15, 3)
    rest = shape + change[schema.MANO_SHAPE], translation + change[schema.MANO_TRANSLATION]
    return keypoints_and_jacobian(tips, turn @ orient, pose, *rest)[0]

  keypoints, jacobian = keypoints_and_jacobian(tips, orient, fingers, shape, translation)
  matrices = np.concatenate([orient[..., None, :, :], rotations.matrix_from_axis_angle(fingers)], axis=-3)
  np.testing.assert_allclose(keypoints, tips.forward(matrices, shape, translation).keypoints, atol=1e-9)
  for number, unit in enumerate(np.eye(schema.MANO_DIM)):
    expected = (moved(STEP * unit) - moved(-STEP * unit)) / (2 * STEP)
    np.testing.assert_allclose(jacobian[..., number, :], expected, atol=1e-6, err_msg=f"parameter {number}")
