"""RootNet (Moon et al., ICCV 2019): where the wrists are in the camera's frame.

A crop through a ResNet gives two things for each wrist: a 2D heatmap, whose expectation is the wrist's pixel, and a
factor gamma, by which k, the depth at which a square of known size would fill the crop, becomes the wrist's depth.

The public network finds one root in a crop. Results for hands have two depths a picture, but the network that gave
them was never published. `view` chooses:

* "pair": one crop of all hands, a heatmap and a factor for each; the simplest network that gives such results.
* "hand": one crop of each hand, with one root: the public network, whose weights fit. What it finds for the two hands
  of a picture is joined when the table of depths is written.

Where the paper's text and the release differ, `released` chooses:

* pixels in 0..1 are normalised with ImageNet's mean and deviation; or, by a slip that all public weights need, pixels
  in 0..255.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxhands import codecs, losses, schema
from jaxhands.data import augment, colour, host_ops, rough
from jaxhands.geometry import arrays, camera, crop
from jaxhands.hands import skeleton
from jaxhands.models.backbones.resnet import ResNet, structure
from jaxhands.models.conv import Conv
from jaxhands.models.heads.heatmap import Upsampler
from jaxhands.systems import base, construct, subtrees
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.resnet import import_torchvision
from jaxhands.weights.rootnet import rootnet as name_map

_PARTS = ("backbone", "upsampler", "position", "depth")
_HEAD_STD = 0.001
_CELL_PX = 4  # the upsampler doubles three times what the backbone has divided by 32


class Position(nn.Module):
  """Scores of the cells for each root, by a 1x1 convolution."""

  roots: int
  dtype: jnp.dtype | type

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w {self.roots}"]:
    init = nn.initializers.normal(_HEAD_STD)
    return Conv(self.roots, 1, dtype=self.dtype, kernel_init=init, name="conv")(x).astype(jnp.float32)


class Network(nn.Module):
  """Backbone and heads as the fields of a system say; the backbone begins as for training from scratch (He)."""

  of: RootNet

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> dict[str, jax.Array]:
    """ "scores" [B, h, w, roots] of the cells and "gamma" [B, roots], for a normalised image."""

    of = self.of
    training = base.training(of, train)
    shared = {"dtype": of.dtype, "bn_groups": of.bn_groups}
    features = ResNet(of.depth, of.width, name="backbone", **shared)(image, training("backbone"))["layer4"]
    pooled = jnp.mean(features.astype(jnp.float32), axis=(1, 2))
    kernel_std = _HEAD_STD if of.upsampler == "deconv" else 0.0
    upsampler = Upsampler(of.upsampler, of.upsampler_features, kernel_std=kernel_std, name="upsampler", **shared)
    return {
      "scores": Position(of.roots, of.dtype, name="position")(upsampler(features, training("upsampler"))),
      "gamma": nn.Dense(of.roots, kernel_init=nn.initializers.normal(_HEAD_STD), name="depth")(pooled),
    }


@dataclasses.dataclass(frozen=True)
class RootNet(base.Defaults):
  """The system; see `docs/systems/rootnet.md` for the sizes.

  Attributes:
    crop_hw: size of the input in px, a multiple of 32.
    view: both hands in one crop, or one hand in each.
    released: the release's normalisation instead of the one that its authors meant (see the module).
    depth, width: of the ResNet.
    upsampler: "deconv" (paper) or "shuffle" (fast on a CPU).
    upsampler_features: channels of its layers.
    depth_weight: of the depth's loss; 1 in the release, where a wrist's cell has next to no part in what the backbone
      learns.
    real_mm: width and height of the square that k is about (hands 300 x 300, bodies 2000 x 2000).
    rough: see `configs.base`, `data`.
    augmentation: of crops in training; a hand view, which has right hands only, may not be mirrored.
    dtype: of the network's arithmetic; the factor and everything after it stay float32.
    bn_groups: see `models.norm.BatchNorm`.
    frozen: parts whose norm stays in evaluation mode; the trainer keeps their variables.
  """

  crop_hw: tuple[int, int] = (256, 256)
  view: Literal["pair", "hand"] = "pair"
  released: bool = False
  depth: int = 50
  width: int = 64
  upsampler: Literal["deconv", "shuffle"] = "deconv"
  upsampler_features: int = 256
  depth_weight: float = 1.0
  real_mm: tuple[float, float] = (300.0, 300.0)
  rough: bool = False
  augmentation: augment.Augmentation = augment.ROOTNET
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()

  needs = frozenset(
    {
      "image", "crop_from_img", "camera_img", "camera_valid", "joints_img", "joints_img_valid", "root_depth",
      "root_depth_valid",
    }
  )  # fmt: skip

  def __post_init__(self):
    if self.crop_hw[0] % 32 or self.crop_hw[1] % 32:
      raise ValueError(f"crop_hw={self.crop_hw} is not a multiple of 32, the stride of the backbone")
    if self.view not in ("pair", "hand"):
      raise ValueError(f"view={self.view!r}: RootNet sees a 'pair' of hands, or one 'hand'")
    base.check_frozen(self, _PARTS)

  @property
  def roots(self) -> int:
    """That are found in one crop; a hand view's is that of hand 0."""
    return 2 if self.view == "pair" else 1

  @property
  def network(self) -> Network:
    return Network(self)

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    small = {"position": "the release's balance: cells beside mm; a cell is some 5 mm, depth is off by hundreds"}
    return (base.Objective("root", _PARTS, fn=self.loss, starts_small=small if self.depth_weight == 1 else {}),)

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of the box within the picture; in training with `augmentation`."""
    return host_ops.crop_ops(self.crop_hw, augmentation=self.augmentation if train else None, clip=True)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` normalised; in training also colour factors and `targets`."""
    image = batch["image"].astype(jnp.float32)
    if train:
      image = colour.jittered(image, colour.channel_factors(rng, len(image)), white=255)
      if self.rough:
        image = 255 * rough.roughened(image / 255, jax.random.fold_in(rng, 1))
    image = colour.normalise(image if self.released else image / 255)
    return {**batch, "image": image} | (self.targets(batch) if train else {})

  def k_mm(self, batch: schema.Batch) -> Float[jax.Array, " b"]:
    """Depth at which `real_mm` would fill the crop; 0 where the camera is unknown.

    sqrt(real area x fx x fy / box area), the box being the crop's region of the picture.
    """
    return k_value(batch["crop_from_img"], batch["camera_img"], self.crop_hw, self.real_mm)

  def targets(self, batch: schema.Batch) -> dict[str, Any]:
    """What the losses compare with.

    Returns:
      "cells" [B, roots, 2] of the wrists; "cells_valid" [B, roots]: annotated and in the crop; "depth" [B, roots] in
      mm; "depth_valid" [B, roots]: known, with the camera, of a wrist in the crop; "k" [B].
    """
    wrist_img = batch["joints_img"][:, : self.roots, skeleton.WRIST]
    wrist_crop = crop.apply_affine(batch["crop_from_img"], wrist_img)
    cells_valid = batch["joints_img_valid"][:, : self.roots, skeleton.WRIST] & crop.inside(wrist_crop, self.crop_hw)
    depth_valid = batch["root_depth_valid"][:, : self.roots] & batch["camera_valid"][:, None]
    return {
      "cells": wrist_crop / _CELL_PX,
      "cells_valid": cells_valid,
      "depth": batch["root_depth"][:, : self.roots],
      "depth_valid": cells_valid & depth_valid,
      "k": self.k_mm(batch),
    }

  def drawn_targets(self, batch: schema.Batch) -> dict[str, Any]:
    """See `base.DrawnSystem`; wrists alone."""
    shape = (len(batch["cells"]), 2, skeleton.NUM_JOINTS)
    wrists = np.s_[:, : self.roots, skeleton.WRIST]
    return {
      "joints_crop": jnp.zeros((*shape, 2)).at[wrists].set(batch["cells"] * _CELL_PX),
      "joints_crop_valid": jnp.zeros(shape, bool).at[wrists].set(batch["cells_valid"]),
    }

  def loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """Mean of the L1 losses of x, y (cells) and depth (mm, weighted)."""
    out, state = self.network.apply(variables, batch["image"], True, mutable=["batch_stats"])
    values = self.loss_values(self.decode(out, batch["k"]), batch)  # pyright: ignore[reportArgumentType]
    terms = {name: losses.weighted_mean(value, batch["weight"]) for name, value in values.items()}
    return base.LossOut(sum(terms.values(), jnp.float32(0)), terms, dict(state))

  def loss_values(self, found: Float[Array, "b r 3"], batch: schema.Batch) -> dict[str, Float[Array, " b"]]:
    """The loss terms of each example, from (x, y, depth) and a batch with `targets`; masked roots count as 0."""
    cells_valid = jnp.repeat(batch["cells_valid"][..., None], 2, axis=-1)
    cells = losses.absolute_error(found[..., :2], batch["cells"], cells_valid).sum(-1)
    depth = losses.absolute_error(found[..., 2], batch["depth"], batch["depth_valid"])
    return {"position": cells.mean(-1) / 3, "depth": self.depth_weight * depth.mean(-1) / 3}

  def decode(self, out: Mapping[str, jax.Array], k: Float[Array, " b"]) -> Float[jax.Array, "b r 3"]:
    """x, y in cells and depth in mm of each root, from the network's output and k."""
    cells = codecs.expected_cell(jax.nn.softmax(out["scores"], axis=(1, 2)))
    return jnp.concatenate([cells, (out["gamma"] * k[:, None])[..., None]], axis=-1)

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """`root_cam` and whether it is known: of every hand that the crop may show, wherever the camera is known."""
    out: dict[str, Any] = self.network.apply(variables, batch["image"], False)  # pyright: ignore[reportAssignmentType]
    decoded = self.decode(out, self.k_mm(batch))
    wrist_img = crop.apply_affine(crop.invert_affine(batch["crop_from_img"]), decoded[..., :2] * _CELL_PX)
    known = batch["camera_valid"]
    intrinsics = jnp.where(known[:, None, None], batch["camera_img"], jnp.eye(3, dtype=jnp.float32))
    root_cam = camera.back_project(wrist_img, decoded[..., 2], intrinsics)
    valid = jnp.broadcast_to(known[:, None], decoded.shape[:2])
    missing = 2 - self.roots  # a hand view's other hand
    root_cam = jnp.pad(jnp.where(valid[..., None], root_cam, 0), ((0, 0), (0, missing), (0, 0)))
    return {"root_cam": root_cam, "root_cam_valid": jnp.pad(valid, ((0, 0), (0, missing)))}

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables from the release ("network" of a snapshot); or those of the backbone alone from torchvision's ResNet.

    Raises:
      ValueError: the system is not the released one; or a key that is unknown, missing or of another shape.
    """
    shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), {"image": jnp.zeros((1, *self.crop_hw, 3))}))
    if "conv1.weight" in state_dict:
      trunk = import_torchvision(state_dict, *structure(self.depth))
      return subtrees.nested("backbone", check_shapes(trunk, subtrees.part(shapes, "backbone")))
    if not self.released or self.view != "hand" or self.upsampler != "deconv":
      raise ValueError(
        "the release's weights are of one root behind transposed convolutions, and of pixels in 0..255; set "
        f"system.released=True, view='hand', upsampler='deconv' (now {self.released}, {self.view!r}, "
        f"{self.upsampler!r})"
      )
    return check_shapes(convert(state_dict, name_map(*structure(self.depth))), shapes)


def k_value(
  crop_from_img: Float[arrays.Array, "b 2 3"],
  camera_img: Float[arrays.Array, "b 3 3"],
  crop_hw: tuple[int, int],
  real_mm: tuple[float, float] = (300.0, 300.0),
) -> Float[jax.Array, " b"]:
  """RootNet's k: the depth in mm at which a rectangle of `real_mm` covers as much of the picture as the crop does.

  Args:
    crop_from_img: of the example; turning and mirroring change nothing.
    camera_img: intrinsics; a mirrored view's focal length is negative.
    crop_hw: of the crop in px.
    real_mm: width and height of the rectangle.
  """
  linear = jnp.asarray(crop_from_img)[..., :2]
  crop_px_of_img_px = jnp.abs(linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0])
  box_area_px = crop_hw[0] * crop_hw[1] / crop_px_of_img_px
  focal_px2 = jnp.abs(jnp.asarray(camera_img)[..., 0, 0] * camera_img[..., 1, 1])
  return jnp.sqrt(real_mm[0] * real_mm[1] * focal_px2 / box_area_px)


def build(config: Any) -> RootNet:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(RootNet, config)
