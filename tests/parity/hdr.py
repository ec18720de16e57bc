"""What several of HDR's parity cases share."""

import jax.numpy as jnp
import numpy as np

from jaxhands.systems.hdr import holes

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def normalised(image):
  """ImageNet's mean and deviation taken off."""
  return jnp.asarray((image - MEAN) / STD)


def holes_of(case):
  """Of the stored masks (right amodal, right visible, left amodal, left visible), with the release's M_R."""
  masks = np.moveaxis(case["masks_ra_rv_la_lv"], -1, 1)
  return holes.find(jnp.asarray(masks.reshape(len(masks), 2, 2, *masks.shape[2:])), distractor="amodal")


def nchw(x):
  return np.moveaxis(np.asarray(x), -1, 1)


def every(size, count):
  """A slice of about `count` of `size` entries, as the READMEs thin out arrays."""
  return slice(None, None, max(1, size // count))


def thinned(x, channels, pixels):
  """An NHWC map in the reference's layout, thinned out to about so many channels, rows and columns."""
  x = nchw(x)
  return x[:, every(x.shape[1], channels), every(x.shape[2], pixels), every(x.shape[3], pixels)]
