"""InterNet (Moon et al., ECCV 2020): 3D heatmaps of both hands, handedness, depth of the left wrist from the right.

One crop of both hands goes through a ResNet; an upsampler for each hand gives 21 heatmaps over (row, column, depth
from the own wrist); two fully connected heads give the probability of each hand and a 1D heatmap of the depth
between the wrists.

`head="soft_argmax_2p5d"` is a compact form for small machines: 2D heatmaps with depth maps instead of volumes, read
by their expectation, trained by L1 on the coordinates and cross-entropy on the 2D heatmaps.

Where paper and release differ, two switches choose. The losses are the release's by default: read literally, the
paper's sum over 42 x 64^3 voxels starts with a gradient 800 times that of all else, so that little but heatmaps is
learnt (`docs/systems/internet.md`).

* `literal_losses`: the target's Gaussian has height 1 and the squared differences are summed, the relative root depth
  is compared in mm (paper); or height 255 and a mean, bins of 6.25 mm (default);
* `released`: fully connected layers start with deviation 0.001 (paper, default), or 0.01.
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
from jaxhands.geometry import crop
from jaxhands.models.backbones.resnet import ResNet, structure
from jaxhands.models.heads.dense import DenseHead
from jaxhands.models.heads.heatmap import PlaneHead, Upsampler, UpsamplerKind, VolumeHead
from jaxhands.systems import base, construct, subtrees
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.internet import internet as name_map
from jaxhands.weights.resnet import import_torchvision

Head = Literal["heatmap3d", "soft_argmax_2p5d"]
_PARTS = ("backbone", *(f"{part}_{hand}" for hand in schema.HANDS for part in ("upsampler", "heatmap")), "root_depth",
          "handedness")  # fmt: skip
_STRIDE = 32  # of the backbone
_SHARPNESS = 20.0  # of the sub-voxel decoding: softmax of 20 x heatmap / its own peak


class Network(nn.Module):
  """Backbone and heads as the fields of a system say; the backbone begins as for training from scratch (He)."""

  of: InterNet

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> dict[str, Any]:
    """Scores of everything, for an image in 0..1.

    Returns:
      "hands" [B, 2], "root_depth" [B, bins]; and for each hand, as (right, left): "volumes" [B, h, w, 21, bins], or
      "planes" and "depths" [B, h, w, 21].
    """

    of = self.of
    training = base.training(of, train)
    shared = {"dtype": of.dtype, "bn_groups": of.bn_groups}
    maps = ResNet(of.depth, of.width, name="backbone", **shared)(image, training("backbone"))
    features, finer = maps["layer4"], [maps["layer3"], maps["layer2"], maps["layer1"]]
    pooled = jnp.mean(features.astype(jnp.float32), axis=(1, 2))
    dense = {"kernel_std": 0.01 if of.released else 0.001, "dtype": of.dtype}
    out: dict[str, Any] = {
      "hands": DenseHead(2, name="handedness", **dense)(pooled),
      "root_depth": DenseHead(of.bins, name="root_depth", **dense)(pooled),
    }
    kernel_std = 0.001 if of.upsampler == "deconv" else 0.0
    heads = []
    for hand in schema.HANDS:
      name = f"upsampler_{hand}"
      upsampler = Upsampler(of.upsampler, of.upsampler_features, of.doublings, kernel_std, name=name, **shared)
      upsampled = upsampler(features, training(name), finer)
      if of.head == "heatmap3d":
        heads.append(VolumeHead(bins=of.bins, dtype=of.dtype, name=f"heatmap_{hand}")(upsampled))
      else:
        heads.append(PlaneHead(dtype=of.dtype, name=f"heatmap_{hand}")(upsampled))
    if of.head == "heatmap3d":
      return out | {"volumes": tuple(heads)}
    planes, depths = zip(*heads, strict=True)
    return out | {"planes": planes, "depths": depths}


@dataclasses.dataclass(frozen=True)
class InterNet(base.Defaults):
  """The system; see `docs/systems/internet.md` for the sizes.

  Attributes:
    crop_hw: size of the input in px, a multiple of 32.
    released: the release's initial deviations instead of the paper's (see the module).
    literal_losses: the paper's losses, word by word, instead of the release's (see the module).
    head: 3D heatmaps, or 2D heatmaps with depth maps.
    depth, width: of the ResNet.
    upsampler: "deconv" (paper), "shuffle" (fast on a CPU) or "skip" (that, with the trunk's finer maps); see
      `models.heads.heatmap.Upsampler`.
    upsampler_features: channels of its layers.
    doublings: number of its layers; 3 give heatmaps a quarter as large as the crop (paper).
    bins: depth bins of volumes and of the relative root depth.
    depth_range_mm: that they cover.
    sigma: of the target's Gaussian, in cells and bins.
    pose_loss: "heatmap", or "soft_argmax": L1 on the expectation of the softmax of each volume, without the depth
      term for joints that have no depth (paper, 6.5: 3D and 2D data mixed). "heatmap" ignores 2D annotations.
    decode: "argmax" (whole voxels) or "soft_argmax" (sub-voxel).
    give_heatmaps: predictions hold 2D heatmaps.
    shrink, rough: see `configs.base`, `data`.
    dtype: of the network's arithmetic.
    bn_groups: see `models.norm.BatchNorm`.
    frozen: parts whose norm stays in evaluation mode; the trainer keeps their variables.
    augmentation: of crops in training.
    root_depth_weight, handedness_weight: factors of these losses; the paper has none.
    view: "pair" (paper), or "hand": one hand at a time, left ones mirrored, of which the right hand's head learns.
    box_factor: enlargement of the box.
    elsewhere: share of the training crops that are taken where no hand is; see `host_ops.Elsewhere`.
  """

  crop_hw: tuple[int, int] = (256, 256)
  released: bool = False
  literal_losses: bool = False
  head: Head = "heatmap3d"
  depth: int = 50
  width: int = 64
  upsampler: UpsamplerKind = "deconv"
  upsampler_features: int = 256
  doublings: int = 3
  bins: int = 64
  depth_range_mm: float = 400.0
  sigma: float = 2.5
  pose_loss: Literal["heatmap", "soft_argmax"] = "heatmap"
  decode: Literal["argmax", "soft_argmax"] = "argmax"
  give_heatmaps: bool = False
  shrink: bool = False
  rough: bool = False
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()
  augmentation: augment.Augmentation = augment.INTERNET
  root_depth_weight: float = 1.0
  handedness_weight: float = 1.0
  view: Literal["pair", "hand"] = "pair"
  box_factor: float = crop.BOX_FACTOR
  elsewhere: float = 0.0

  needs = frozenset(
    {
      "image", "crop_from_img", "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "hand_present",
      "hand_present_valid",
    }
  )  # fmt: skip

  def __post_init__(self):
    if self.upsampler == "skip" and self.doublings > 3:
      raise ValueError(f"doublings={self.doublings}: upsampler='skip' has finer maps of the backbone for 3 at most")
    if self.crop_hw[0] % _STRIDE or self.crop_hw[1] % _STRIDE:
      raise ValueError(f"crop_hw={self.crop_hw} is not a multiple of {_STRIDE}, the stride of the backbone")
    base.check_frozen(self, _PARTS)

  @property
  def network(self) -> Network:
    return Network(self)

  @property
  def joints_codec(self) -> codecs.HeatmapCodec:
    grid_hw = (self.crop_hw[0] // _STRIDE * 2**self.doublings, self.crop_hw[1] // _STRIDE * 2**self.doublings)
    peak = 1.0 if self.literal_losses else 255.0
    return codecs.HeatmapCodec(self.crop_hw, grid_hw, self.bins, self.depth_range_mm, self.sigma, peak)

  @property
  def root_codec(self) -> codecs.RootDepthCodec:
    return codecs.RootDepthCodec(self.bins, self.depth_range_mm)

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    why = "`literal_losses` asks for the paper's sum over all voxels"
    small = {"root_depth": why, "handedness": why} if self.literal_losses else {}
    return (base.Objective("pose", _PARTS, fn=self.loss, starts_small=small),)

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of the view; moved, turned, scaled and mirrored in training, and now and then `elsewhere`."""
    augmentation, elsewhere = (self.augmentation, self.elsewhere) if train else (None, 0.0)
    return host_ops.crop_ops(self.crop_hw, None, augmentation, self.box_factor, shrink=self.shrink, elsewhere=elsewhere)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` as float32 in 0..1, not normalised; in training also colour factors and `targets`."""
    image = batch["image"].astype(jnp.float32) / 255
    if not train:
      return {**batch, "image": image}
    image = colour.scale_channels(image, rng)
    if self.rough:
      image = rough.roughened(image, jax.random.fold_in(rng, 1))
    return {**batch, "image": image, **self.targets(batch)}

  def targets(self, batch: schema.Batch) -> dict[str, Any]:
    """What the losses compare with: see `codecs.encode_pose`."""
    return codecs.encode_pose(batch, self.joints_codec, self.root_codec)

  def drawn_targets(self, batch: schema.Batch) -> dict[str, Any]:
    """See `base.DrawnSystem`; heatmaps without their depth."""
    codec, in_volume = self.joints_codec, self.head == "heatmap3d"
    drawn = {"joints_crop": codec.decode(batch["voxels"])[0], "joints_crop_valid": batch["cells_valid"]}
    if in_volume and self.pose_loss == "soft_argmax":
      return drawn
    valid = batch["voxels_valid" if in_volume else "cells_valid"]
    return drawn | {"heatmaps": codecs.gaussian_planes(batch["voxels"], valid, codec.grid_hw, self.sigma)}

  def loss_values(self, out: Mapping[str, Any], batch: schema.Batch) -> dict[str, Float[Array, " b"]]:
    """The terms of each example, as the paper's 4.5 adds them, from the network's output and a batch with `targets`."""
    root_bin = codecs.soft_argmax_1d(out["root_depth"])
    root_error = losses.absolute_error(root_bin, batch["root_bin"], batch["root_bin_valid"])
    unit = self.root_codec.range_mm / self.root_codec.bins if self.literal_losses else 1.0
    hand_target = codecs.HandednessCodec().encode(batch["hand_present"])
    hand_valid = jnp.broadcast_to(batch["hand_present_valid"][:, None], hand_target.shape)
    hand_error = losses.binary_cross_entropy(out["hands"], hand_target, hand_valid).mean(-1)
    return {
      **self._pose_losses(out, batch),
      "root_depth": root_error * self.root_depth_weight * unit,
      "handedness": hand_error * self.handedness_weight,
    }

  def _pose_losses(self, out: Mapping[str, Any], batch: schema.Batch) -> dict[str, jax.Array]:
    voxels, voxels_valid, cells_valid = batch["voxels"], batch["voxels_valid"], batch["cells_valid"]
    if self.head == "heatmap3d" and self.pose_loss == "heatmap":
      codec = self.joints_codec
      hands = [
        losses.gaussian_heatmap(volume, voxels[:, i], voxels_valid[:, i], codec.sigma, codec.peak)
        for i, volume in enumerate(out["volumes"])
      ]
      per_joint = jnp.concatenate(hands, axis=1)
      if self.literal_losses:
        return {"heatmap": per_joint.sum(-1) * np.prod(out["volumes"][0].shape[1:3] + (self.bins,))}
      return {"heatmap": per_joint.mean(-1)}
    valid = jnp.stack([cells_valid, cells_valid, voxels_valid], axis=-1)
    terms = {"joints": losses.absolute_error(self.expectation(out)[0], voxels, valid).mean((1, 2, 3))}
    if self.head == "soft_argmax_2p5d":
      hands = [
        losses.heatmap_cross_entropy(scores, voxels[:, i, :, :2], cells_valid[:, i], self.sigma)
        for i, scores in enumerate(out["planes"])
      ]
      terms["heatmap"] = jnp.concatenate(hands, axis=1).mean(-1)
    return terms

  def expectation(self, out: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    """Voxels [B, 2, 21, 3] by soft-argmax, and the weights of the cells [B, 2, h, w, 21] that they come from."""
    if self.head == "heatmap3d":
      weights = [codecs.softmax_3d(volume) for volume in out["volumes"]]
      voxels = jnp.stack([codecs.expected_voxel(w) for w in weights], axis=1)
      return voxels, jnp.stack([w.sum(-1) for w in weights], axis=1)
    cells = jax.nn.softmax(jnp.stack(out["planes"], axis=1), axis=(2, 3))
    # A depth map is a share of half the range, so that an untrained network says "at the wrist's depth".
    share = (cells * jnp.stack(out["depths"], axis=1)).sum((2, 3))
    z = self.bins * 0.5 * (1 + share)
    return jnp.concatenate([codecs.expected_cell(cells), z[..., None]], axis=-1), cells

  def _decode(self, out: Mapping[str, Any]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Voxels [B, 2, 21, 3], confidence [B, 2, 21], 2D heatmaps [B, 2, h, w, 21]."""
    if self.head == "soft_argmax_2p5d" or self.pose_loss == "soft_argmax":
      voxels, cells = self.expectation(out)
      return voxels, codecs.confidence_of_spread(cells, voxels[..., :2], self.sigma), cells
    height = self.joints_codec.peak
    planes = jnp.stack([volume.max(-1) for volume in out["volumes"]], axis=1).astype(jnp.float32)
    voxels, peak = (jnp.stack(x, axis=1) for x in zip(*map(codecs.argmax_3d, out["volumes"]), strict=True))
    if self.decode == "soft_argmax":
      beta = _SHARPNESS / jnp.maximum(peak, 1e-3 * height)
      weights = [codecs.softmax_3d(volume, beta[:, i]) for i, volume in enumerate(out["volumes"])]
      voxels = jnp.stack([codecs.expected_voxel(w) for w in weights], axis=1)
    return voxels, jnp.clip(peak / height, 0, 1), planes / height

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """See `schema.PREDICTION`; confidence is the peak's share of the target's, or the target's share of the spread."""
    out: dict[str, Any] = self.network.apply(variables, batch["image"], False)  # pyright: ignore[reportAssignmentType]
    voxels, confidence, planes = self._decode(out)
    joints_crop, rel_depth = self.joints_codec.decode(voxels)
    prediction = {
      "joints_img": crop.apply_affine(crop.invert_affine(batch["crop_from_img"]), joints_crop),
      "joints_rel_depth": rel_depth,
      "rel_root_depth": self.root_codec.decode(codecs.soft_argmax_1d(out["root_depth"])),
      "hand_prob": codecs.HandednessCodec().decode(out["hands"]),
      "confidence": confidence,
      "scale_known": jnp.ones(rel_depth.shape[0], bool),
    }
    return prediction | ({"heatmaps": planes.transpose(0, 1, 4, 2, 3)} if self.give_heatmaps else {})

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables from the release ("network" of a snapshot); or those of the backbone alone from torchvision's ResNet.

    Raises:
      ValueError: the system is not the released one; or a key that is unknown, missing or of another shape.
    """
    shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), {"image": jnp.zeros((1, *self.crop_hw, 3))}))
    if "conv1.weight" in state_dict:
      trunk = import_torchvision(state_dict, *structure(self.depth))
      return subtrees.nested("backbone", check_shapes(trunk, subtrees.part(shapes, "backbone")))
    if self.literal_losses or self.head != "heatmap3d" or self.upsampler != "deconv":
      raise ValueError(
        "the release's heatmaps are volumes of height 255 behind transposed convolutions; set "
        "system.literal_losses=False, head='heatmap3d', upsampler='deconv' "
        f"(now {self.literal_losses}, {self.head!r}, {self.upsampler!r})"
      )
    return check_shapes(convert(state_dict, name_map(*structure(self.depth))), shapes)


def build(config: Any) -> InterNet:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(InterNet, config)
