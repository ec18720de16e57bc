"""Meshes of hands whose system gives joints alone."""

import numpy as np

from jaxhands import schema
from jaxhands.hands.model import HandModel
from jaxhands.prediction.fit_meshes import fitted
from tests.prediction.made_hands import make_hands


def _posed(model):
  mano = np.zeros((3, 2, schema.MANO_DIM), np.float32)
  mano[..., 3:48] = model.hands_mean * np.float32([0.5, 1, 1.3])[:, None, None]
  mano[..., schema.MANO_TRANSLATION] = [[-80, 0, 500], [80, 0, 500]]
  return mano, model.forward_mano(mano)


def test_hands_that_stand_in_space_get_a_mesh():
  model = HandModel.default()
  posed = _posed(model)[1]
  placed = [[True, True], [True, False], [False, False]]
  found = fitted(make_hands(np.asarray(posed.keypoints), placed, {}), model)
  assert found.raw["mano_converged"].tolist() == placed
  np.testing.assert_array_equal(found.raw["mano"].any(-1), placed)
  off = np.linalg.norm(found.raw["vertices_cam"] - posed.vertices, axis=-1).mean(-1)
  assert off[np.array(placed)].max() < 3
  assert not found.raw["vertices_cam"][~np.array(placed)].any()
  assert (found.raw["mano_residual_mm"][np.array(placed)] < 2).all()
  one = found.one(1)
  np.testing.assert_array_equal(one.raw["mano_residual_mm"], found.raw["mano_residual_mm"][1:2])
  np.testing.assert_array_equal(one.exchanged().raw["mano_residual_mm"], one.raw["mano_residual_mm"][:, ::-1])


def test_what_the_system_gives_stays():
  model = HandModel.default()
  mano, posed = _posed(model)
  given = {"mano": mano.copy(), "vertices_cam": np.asarray(posed.vertices), "other": np.ones((3, 2))}
  given["mano"][2, 1] = 0
  found = fitted(make_hands(np.asarray(posed.keypoints), [[True, True]] * 3, given), model)
  rest = np.ones((3, 2), bool)
  rest[2, 1] = False
  np.testing.assert_array_equal(found.raw["mano"][rest], mano[rest])
  np.testing.assert_array_equal(found.raw["vertices_cam"][rest], given["vertices_cam"][rest])
  assert found.raw["mano_converged"].tolist() == (~rest).tolist(), "the one without parameters was fitted"
  assert found.raw["mano"][2, 1].any()
  assert "other" in found.raw
  assert not given["mano"][2, 1].any(), "what was given is not written into"


def test_confidences_that_say_nothing_count_as_one():
  model = HandModel.default()
  joints = np.asarray(_posed(model)[1].keypoints)
  placed = [[True, True]] * 3
  none = fitted(make_hands(joints, placed, {}, confidence=0.0), model)
  sure = fitted(make_hands(joints, placed, {}), model)
  np.testing.assert_array_equal(none.raw["mano"], sure.raw["mano"])
