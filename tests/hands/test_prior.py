"""The distribution of poses that fits lean on."""

import numpy as np

from jaxhands.geometry import rotations
from jaxhands.hands import anatomy
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import SINGLE, default_bank
from jaxhands.hands.prior import pose_prior


def test_it_is_a_distribution_and_the_left_one_is_the_mirrored_right_one():
  prior = pose_prior(HandModel.default())
  assert np.linalg.eigvalsh(prior.precision[0]).min() > 0
  np.testing.assert_allclose(prior.precision, prior.precision.swapaxes(-1, -2), rtol=1e-4, atol=1e-3)
  sign = rotations.mirror_axis_angle(np.ones((15, 3), np.float32)).ravel()
  np.testing.assert_allclose(prior.mean[1], prior.mean[0] * sign, atol=1e-6)
  np.testing.assert_allclose(prior.precision[1], prior.precision[0] * sign[:, None] * sign, rtol=1e-4, atol=1e-3)


def test_hands_are_likelier_than_turned_bones():
  """Poses that the bank's training families do not hold are near; the same angles about the bones' axes are far."""
  model, bank = HandModel.default(), default_bank()
  prior, rng = pose_prior(model), np.random.default_rng(0)

  def distance(pose):
    away = pose - prior.mean[0]
    return np.sqrt(away @ prior.precision[0] @ away)

  entries = [int(entry) for name in bank.family_names("test", SINGLE) for entry in bank.entries(name)[:5]]
  poses = [anatomy.pose_from_angles(bank.rig.anatomy, bank.placed(entry).angles_deg[0]) for entry in entries]
  twisted = []
  for _ in range(20):
    angles = np.zeros((15, 3))
    angles[:, anatomy.TWIST] = rng.choice([-50, 50], 15)
    twisted.append(anatomy.pose_from_angles(bank.rig.anatomy, angles))
  assert max(map(distance, poses)) < min(map(distance, twisted))
