"""What SHPE is shown; its network, losses and read-out are in `tests/parity/test_detnet.py`."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import hdr
from jaxhands.systems import construct
from jaxhands.systems.hdr.shpe import SHPE

HW = 8, 8


def test_alone_shows_a_hand_of_two_without_the_other_one():
  rng = np.random.default_rng(0)
  image, removed = (rng.integers(0, 255, shape, np.uint8) for shape in ((2, *HW, 3), (2, 2, *HW, 3)))
  batch = {
    "image": image,
    "removed": removed,
    "removed_valid": np.array([[True, False], [False, True]]),
    "crop_from_img": np.broadcast_to(np.eye(2, 3, dtype=np.float32), (2, 2, 3)),
    "joints_img": np.zeros((2, 2, 21, 2), np.float32),
    "joints_img_valid": np.ones((2, 2, 21), bool),
    "joints_cam": rng.normal(size=(2, 2, 21, 3)).astype(np.float32),
    "joints_cam_valid": np.ones((2, 2, 21), bool),
  }
  batch = {key: jnp.asarray(value) for key, value in batch.items()}
  system = SHPE(crop_hw=HW, alone=True)
  shown, in_evaluation = (system.device_ops(batch, jax.random.key(0), train)["image"] for train in (True, False))
  as_it_is = dataclasses.replace(system, alone=False)
  expected = as_it_is.device_ops({**batch, "image": jnp.stack([removed[0, 0], image[1]])}, jax.random.key(0), True)
  np.testing.assert_array_equal(shown, expected["image"])
  np.testing.assert_array_equal(in_evaluation, as_it_is.device_ops(batch, jax.random.key(0), False)["image"])
  assert {"removed", "removed_valid"} == system.needs - as_it_is.needs


@pytest.mark.parametrize(("size", "alone"), [("demo", True), ("kept", True), ("small", False), ("paper", False)])
def test_sizes_that_start_from_kept_weights_learn_from_hands_that_interact(size, alone):
  config = hdr.get_config(f"{size},shpe")
  assert construct.load(config).alone == alone
  assert (config.data.kind == "all") == alone
  assert not alone or config.data.synthetic.pictures == "all"
