"""DIGIT (Fan et al., 3DV 2021): which pixel belongs to which part of which hand, and from that both hands' pose.

One crop of both hands goes through HRNet. A head gives scores of 33 classes (background, 16 parts of each hand) at half
the crop's size; convolutions make semantic features of these scores, unnormalised, so that what is uncertain stays so.
A UNet fuses them with the visual features. On its output, 1x1 convolutions give a 2D heatmap and a depth map of every
joint, read by their expectation; a pooled vector gives the probability of each hand and a 1D heatmap of the depth
between the wrists.

What the pose is estimated from is a choice (the paper's figure 6 and table 2; it says no channel counts, so UNet and
heads stay as they are and the concatenation has the inputs that there are):

* `visual` and `semantic="scores"`: both, which is DIGIT;
* `semantic="none"`: visual features alone, beside the segmentation if that has a loss (6b), or without (6a);
* `visual=False`: the segmentation alone (6c), as scores or as hard `"labels"`, which no gradient passes;
* `pose=False`: the segmentation is all there is, the first of two trainings.

Where paper and release differ, `released` chooses:

* bones: mean absolute difference of the 2.5D bone vectors over both hands (paper, whose equations 7 and 8 have sums:
  beside the means of the other terms they would drown these), or 0.1 x the mean squared one of each hand, added;
* soft-argmax counts cells from 0, as the targets do (paper), or from 0.5;
* x and y of a joint count where they are annotated (paper), or where its depth is known and in range, too;
* the convolutions before the pooled vector, which have no norm, begin as He's, so that the picture reaches handedness
  and root depth, or as PyTorch's, six of which leave one part in 200 of it (the paper does not say).
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
from jaxhands.hands import skeleton
from jaxhands.models.backbones.hrnet import HRNet
from jaxhands.models.conv import Conv
from jaxhands.models.heads import segmentation
from jaxhands.models.heads.dense import DenseHead
from jaxhands.models.unet import UNet
from jaxhands.systems import base, construct, subtrees
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.digit import digit as name_map
from jaxhands.weights.digit import without_wrapper
from jaxhands.weights.hrnet import import_imagenet

Semantic = Literal["scores", "labels", "none"]
_JOINTS = 2 * skeleton.NUM_JOINTS
_POSE_PARTS = ("fusion", "heatmap", "depth", "pooled", "root_depth", "handedness")
_RELEASED_BONE_FACTOR = 0.1  # of the squared differences
_HEATMAP_SIGMA = 1.0  # of the Gaussians that `heatmap_weight` is about, in cells
_SURE_CELLS = 2.0  # a heatmap of this deviation, or less, has confidence 1; of one learnt as a Gaussian, the Gaussian's
_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's, which the release leaves as it is


class Network(nn.Module):
  """Everything that is learned, as the fields of a system say.

  The backbone begins as for training from scratch (He), the layers before the pooled vector as the module says, all
  else as PyTorch's layers do.
  """

  of: DIGIT

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> dict[str, jax.Array]:
    """Scores of everything, for an image in 0..1.

    Returns:
      "parts" [B, 2 H / stride, 2 W / stride, 33], with a segmentation; and with a pose "planes" and "depths"
      [B, H / stride, W / stride, 42] (right hand first; depths in bins), "root_depth" [B, bins], "hands" [B, 2].
    """

    of = self.of
    training = base.training(of, train)
    shared = {"dtype": of.dtype, "bn_groups": of.bn_groups}
    trunk = HRNet(of.width, of.modules, of.blocks, of.stem, of.stride, name="backbone", **shared)
    features = trunk(image, training("backbone"))[f"stage{len(of.modules) + 1}"][0]
    out, inputs = {}, [features] if of.visual else []
    if of.segments:
      head = segmentation.SegmentationHead(
        schema.NUM_PARTS, of.segmentation_features, of.segmentation_kind, _init, name="segmentation", **shared
      )
      out["parts"] = head(features, training("segmentation"))
    if not of.pose:
      return out
    if of.semantic != "none":
      scores = segmentation.hard_labels(out["parts"]) if of.semantic == "labels" else out["parts"]
      to_features = segmentation.SemanticFeatures(
        of.semantic_features, of.segmentation_kind, _init, of.dtype, name="semantic"
      )
      inputs.append(to_features(scores.astype(of.dtype)))

    x = jnp.concatenate(inputs, axis=-1)
    x = UNet(of.fusion_features, x.shape[-1], _init, name="fusion", **shared)(x, training("fusion"))

    def per_joint(name: str, bias: float) -> jax.Array:
      bias_init = nn.initializers.constant(bias)
      # In bfloat16 the bias of the depths would be rounded to quarters of a bin.
      return Conv(_JOINTS, 1, dtype=jnp.float32, kernel_init=_init, bias_init=bias_init, name=name)(x)

    pooled_init = _init if of.released else nn.initializers.he_normal()
    pooled = segmentation.PooledFeatures(of.pooled_features, pooled_init, of.dtype, name="pooled")(x)
    std = (3 * pooled.shape[-1]) ** -0.5  # of `_init`
    dense = {"hidden": pooled.shape[-1], "kernel_std": std, "dtype": of.dtype}
    return out | {
      "planes": per_joint("heatmap", 0.0),
      "depths": per_joint("depth", of.bins / 2),  # untrained: at the wrist's depth
      "root_depth": DenseHead(of.bins, name="root_depth", **dense)(pooled),
      "hands": DenseHead(2, name="handedness", **dense)(pooled),
    }


@dataclasses.dataclass(frozen=True)
class DIGIT(base.Defaults):
  """The system; see `docs/systems/digit.md` for the sizes and for the paper's rows.

  Attributes:
    crop_hw: size of the input in px, a multiple of the coarsest stride, 32 in the paper's network.
    released: the release's conventions instead of the paper's (see the module).
    visual, semantic, pose: what the pose is estimated from, and whether it is (see the module).
    segmentation_weight: of the segmentation's loss; 0 = none. Without features of it there is then no segmentation.
    bone_weight: of the bone vectors' loss; 0 = none. The release's 0.1 is a factor of its own.
    root_depth_weight, handedness_weight: of these losses; the paper has none.
    heatmap_weight: of a cross-entropy of the heatmaps with Gaussians of deviation 1 cell, which neither paper nor
      release has: with it few steps suffice. 0 = none.
    augmentation: of crops in training.
    shrink, rough: see `configs.base`, `data`.
    width, modules, blocks, stem, stride: of HRNet. Maps of parts have half its stride.
    segmentation_kind: "conv" (paper) or "shuffle" (fast on a CPU).
    segmentation_features, semantic_features: channels of the convolutions before and after the scores.
    fusion_features: of the UNet's levels.
    pooled_features: of the convolutions before the pooled vector, which is half as fine after every second one.
    bins: depth bins of joints and of the relative root depth.
    depth_range_mm: that they cover.
    dtype: of the network's arithmetic.
    bn_groups: see `models.norm.BatchNorm`.
    frozen: parts whose norm stays in evaluation mode; the trainer keeps their variables.
  """

  crop_hw: tuple[int, int] = (256, 256)
  released: bool = False
  visual: bool = True
  semantic: Semantic = "scores"
  pose: bool = True
  segmentation_weight: float = 10.0
  bone_weight: float = 1.0
  root_depth_weight: float = 1.0
  handedness_weight: float = 1.0
  heatmap_weight: float = 0.0
  width: int = 32
  modules: tuple[int, ...] = (1, 4, 3)
  blocks: int = 4
  stem: int = 64
  stride: int = 4
  segmentation_kind: segmentation.Kind = "conv"
  segmentation_features: tuple[int, ...] = (16, 64)
  semantic_features: tuple[int, ...] = (64, 512)
  fusion_features: tuple[int, ...] = (64, 128, 256, 256)
  pooled_features: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
  bins: int = 64
  depth_range_mm: float = 400.0
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()
  augmentation: augment.Augmentation = augment.INTERNET
  shrink: bool = False
  rough: bool = False

  view = "pair"

  def __post_init__(self):
    coarsest = self.stride << max(len(self.modules), len(self.fusion_features) - 1)
    if self.crop_hw[0] % coarsest or self.crop_hw[1] % coarsest:
      raise ValueError(f"crop_hw={self.crop_hw} is no multiple of {coarsest}, the coarsest stride of backbone and UNet")
    if not self.visual and self.semantic == "none":
      raise ValueError("visual=False and semantic='none' leave nothing to estimate a pose from")
    if not self.pose and not self.segmentation_weight:
      raise ValueError("pose=False and segmentation_weight=0 leave nothing to train")
    base.check_frozen(self, self.parts)

  @property
  def segments(self) -> bool:
    """Whether there is a segmentation."""
    return self.segmentation_weight > 0 or self.semantic != "none"

  @property
  def parts(self) -> tuple[str, ...]:
    """Parts of the network: keys of its parameters."""
    segmentation_parts = ("segmentation",) if self.segments else ()
    semantic_parts = ("semantic",) if self.pose and self.semantic != "none" else ()
    return ("backbone", *segmentation_parts, *semantic_parts, *(_POSE_PARTS if self.pose else ()))

  @property
  def needs(self) -> frozenset[str]:
    needs = {
      "image", "crop_from_img", "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "hand_present",
      "hand_present_valid",
    }  # fmt: skip
    return frozenset(needs | {"parts", "parts_valid"} if self._tells_parts else needs)

  @property
  def network(self) -> Network:
    return Network(self)

  @property
  def grid_hw(self) -> tuple[int, int]:
    """Size of the heatmaps."""
    return self.crop_hw[0] // self.stride, self.crop_hw[1] // self.stride

  @property
  def joints_codec(self) -> codecs.HeatmapCodec:
    return codecs.HeatmapCodec(self.crop_hw, self.grid_hw, self.bins, self.depth_range_mm)

  @property
  def root_codec(self) -> codecs.RootDepthCodec:
    return codecs.RootDepthCodec(self.bins, self.depth_range_mm)

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    name = "pose" if self.pose else "segmentation"
    why = "the release's initial layers (see the module)"
    small = {"root_depth": why, "handedness": why} if self.released and self.pose else {}
    return (base.Objective(name, self.parts, fn=self.loss, starts_small=small),)

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of both hands, label maps twice as fine as the heatmaps; moved, turned, scaled, mirrored in training."""
    map_hw = (2 * self.grid_hw[0], 2 * self.grid_hw[1])
    return host_ops.crop_ops(
      self.crop_hw, map_hw, augmentation=self.augmentation if train else None, shrink=self.shrink
    )

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` as float32 in 0..1, not normalised; in training also colour factors and the targets."""
    image = batch["image"].astype(jnp.float32) / 255
    if not train:
      return {**batch, "image": image}
    targets = codecs.encode_pose(batch, self.joints_codec, self.root_codec)
    image = colour.scale_channels(image, rng)
    if self.rough:
      image = rough.roughened(image, jax.random.fold_in(rng, 1))
    return {**batch, "image": image, **targets}

  def drawn_targets(self, batch: schema.Batch) -> dict[str, Any]:
    """See `base.DrawnSystem`."""
    valid = batch["voxels_valid" if self.released else "cells_valid"]
    drawn = {"joints_crop": self.joints_codec.decode(batch["voxels"])[0], "joints_crop_valid": valid}
    if not self.heatmap_weight:
      return drawn
    return drawn | {"heatmaps": codecs.gaussian_planes(batch["voxels"], valid, self.grid_hw, _HEATMAP_SIGMA)}

  def loss_values(self, out: Mapping[str, Any], batch: schema.Batch) -> dict[str, Float[Array, " b"]]:
    """Equation 6: the terms of each example, weighted, from the network's output and a batch with targets."""
    values = {}
    if self.pose:
      voxels, truth, valid = self._expectation(out)[0], batch["voxels"], batch["voxels_valid"]
      plane = valid if self.released else batch["cells_valid"]
      valid = jnp.stack([plane, plane, valid], axis=-1)
      root_bin = codecs.soft_argmax_1d(out["root_depth"])
      hands = codecs.HandednessCodec().encode(batch["hand_present"])
      hands_valid = jnp.broadcast_to(batch["hand_present_valid"][:, None], hands.shape)
      root_error = losses.absolute_error(root_bin, batch["root_bin"], batch["root_bin_valid"])
      hands_error = losses.binary_cross_entropy(out["hands"], hands, hands_valid).mean(-1)
      values |= {
        "joints": losses.absolute_error(voxels, truth, valid).mean((1, 2, 3)),
        "root_depth": self.root_depth_weight * root_error,
        "handedness": self.handedness_weight * hands_error,
      }
      if self.heatmap_weight:
        cells, cells_valid = truth[..., :2].reshape(-1, _JOINTS, 2), plane.reshape(-1, _JOINTS)
        entropy = losses.heatmap_cross_entropy(out["planes"], cells, cells_valid, _HEATMAP_SIGMA)
        values["heatmap"] = self.heatmap_weight * entropy.mean(-1)
      if self.bone_weight:
        values["bone"] = self.bone_weight * self._bone_loss(voxels, truth, valid)
    if self.segmentation_weight:
      entropy = losses.label_cross_entropy(out["parts"], batch["parts"], batch["parts_valid"])
      values["segmentation"] = self.segmentation_weight * entropy
    return values

  def _bone_loss(self, voxels: jax.Array, truth: jax.Array, valid: jax.Array) -> jax.Array:
    child, parent = skeleton.BONES.T
    vectors, true_vectors = (x[:, :, child] - x[:, :, parent] for x in (voxels, truth))
    both = valid[:, :, child] & valid[:, :, parent]
    if self.released:
      each_hand = losses.squared_error(vectors, true_vectors, both).mean((2, 3))
      return _RELEASED_BONE_FACTOR * each_hand.sum(-1)
    return losses.absolute_error(vectors, true_vectors, both).mean((1, 2, 3))

  def _expectation(self, out: Mapping[str, Any]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Voxels [B, 2, 21, 3] by soft-argmax; the heatmaps [B, h, w, 42] and mean cells [B, 42, 2] that they come from."""
    heatmaps = jax.nn.softmax(out["planes"], axis=(1, 2))
    cells = codecs.expected_cell(heatmaps)
    z = (heatmaps * out["depths"]).sum((1, 2))
    first_cell = 0.5 if self.released else 0.0
    voxels = jnp.concatenate([cells + first_cell, z[..., None]], axis=-1)
    return voxels.reshape(-1, 2, skeleton.NUM_JOINTS, 3), heatmaps, cells

  @property
  def _tells_parts(self) -> bool:
    """Whether the segmentation is about the hands' parts: it is, or was, trained on them."""
    return self.segmentation_weight > 0 or "segmentation" in self.frozen

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """See `schema.PREDICTION`; confidence falls with the spread of a joint's heatmap."""
    out: dict[str, Any] = self.network.apply(variables, batch["image"], False)  # pyright: ignore[reportAssignmentType]
    prediction = {"parts": out["parts"].argmax(-1).astype(jnp.uint8)} if self._tells_parts else {}
    if not self.pose:
      return prediction
    voxels, heatmaps, cells = self._expectation(out)
    joints_crop, rel_depth = self.joints_codec.decode(voxels)
    b, h, w, _ = heatmaps.shape
    confidence = codecs.confidence_of_spread(heatmaps, cells, _HEATMAP_SIGMA if self.heatmap_weight else _SURE_CELLS)
    return prediction | {
      "joints_img": crop.apply_affine(crop.invert_affine(batch["crop_from_img"]), joints_crop),
      "joints_rel_depth": rel_depth,
      "rel_root_depth": self.root_codec.decode(codecs.soft_argmax_1d(out["root_depth"])),
      "hand_prob": codecs.HandednessCodec().decode(out["hands"]),
      "confidence": confidence.reshape(b, 2, skeleton.NUM_JOINTS),
      "scale_known": jnp.ones(b, bool),
      "heatmaps": heatmaps.transpose(0, 3, 1, 2).reshape(b, 2, skeleton.NUM_JOINTS, h, w),
    }

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables from the release; or those of the backbone alone from an HRNet that was trained on ImageNet.

    Raises:
      ValueError: the system is not the released one; or a key that is unknown, missing or of another shape.
    """
    shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), {"image": jnp.zeros((1, *self.crop_hw, 3))}))
    if "conv1.weight" in state_dict:
      trunk = import_imagenet(state_dict, self.modules, self.blocks)
      return subtrees.nested("backbone", check_shapes(trunk, subtrees.part(shapes, "backbone")))
    if not self.released or not self.visual or self.semantic != "scores" or self.segmentation_kind != "conv":
      raise ValueError(
        "the release estimates poses from visual features and scores, counts cells from 0.5, and segments by "
        "convolutions; set system.released=True, visual=True, semantic='scores', segmentation_kind='conv' (now "
        f"{self.released}, {self.visual}, {self.semantic!r}, {self.segmentation_kind!r})"
      )
    return check_shapes(convert(without_wrapper(state_dict), name_map(self.modules, self.blocks)), shapes)


def build(config: Any) -> DIGIT:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(DIGIT, config)
