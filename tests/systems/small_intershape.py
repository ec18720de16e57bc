"""Intershape on small networks, and made-up estimates of hands."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.models import intershape as models
from jaxhands.systems.internet import InterNet
from jaxhands.systems.intershape import Intershape

TINY = {"depth": 18, "width": 4}
HEATMAPS = InterNet(crop_hw=(64, 64), upsampler_features=8, bins=8, **TINY)
PLANES = dataclasses.replace(HEATMAPS, head="soft_argmax_2p5d", upsampler="shuffle", doublings=2, sigma=1.0)


def small(heatmaps=HEATMAPS, **fields):
  return Intershape(heatmaps, crop_hw=(64, 64), hidden=16, **TINY, **fields)


SIZE, STAGES = 3, 4
MIDDLE, WRIST = models.MIDDLE1, skeleton.WRIST


def estimates():
  """Made-up estimates of embedded hands."""
  model, rng = HandModel.default(), np.random.default_rng(0)
  pose = jnp.asarray(rng.normal(0, 0.2, (SIZE, STAGES, 2, 48)), jnp.float32)
  shape = jnp.asarray(rng.normal(0, 1, (SIZE, STAGES, 2, 10)), jnp.float32)
  turns = models.with_mean_pose(model, pose).reshape(SIZE, STAGES, 2, 16, 3)
  joints = model.forward(turns, shape, np.zeros(3, np.float32)).keypoints
  return {
    "pose": pose, "shape": shape, "joints": joints - joints[..., MIDDLE : MIDDLE + 1, :],
    "rest_joints": model.rest_joints(shape), "relative": jnp.asarray(rng.normal(0, 0.3, (SIZE, 4)), jnp.float32),
  }  # fmt: skip
