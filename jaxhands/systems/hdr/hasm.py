"""HASM, the first network of HDR (Meng et al., ECCV 2022): masks of both hands, whole (amodal) and visible.

One crop of both hands goes through SegFormer's MiT; a decoder with a head for each of the four masks scores every
pixel. What is whole but not visible is where the other hand is in front. In MiT's place there may be a ResNet; that of
the weights that come with the package started from InterNet's.

Where paper and release differ, `released` chooses the number of scores: one for the mask, trained by binary
cross-entropy (paper, equation 1), or one each for background and mask, trained by the cross-entropy of their softmax.
Both are a cross-entropy of the same log odds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from jaxhands import losses, schema
from jaxhands.data import augment, colour, host_ops, rough
from jaxhands.geometry import arrays
from jaxhands.models.backbones import mit, resnet
from jaxhands.models.heads.masks import MASKS, MaskDecoder
from jaxhands.models.resize import resize_bilinear
from jaxhands.systems import base, construct, subtrees
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.hasm import hasm as name_map
from jaxhands.weights.mit import import_imagenet, is_imagenet
from jaxhands.weights.resnet import import_torchvision

_PARTS = ("backbone", "decoder")


class Network(nn.Module):
  """Trunk and decoder as the fields of a system say, from scratch."""

  of: HASM

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> Float[Array, "b p q 2 2 k"]:
    """Scores by hand and kind at a quarter of the size, rounded up, of an image normalised with ImageNet's mean."""

    of = self.of
    training = base.training(of, train)
    maps = self._maps(image, training("backbone"))
    decoder = MaskDecoder(
      of.decoder_features, 2 if of.released else 1, of.dropout, of.dtype, of.bn_groups, name="decoder"
    )
    return decoder(maps, training("decoder")).astype(jnp.float32)

  def _maps(self, image: Float[Array, "b h w 3"], train: bool) -> Sequence[Float[Array, "b _ _ _"]]:
    of, depth = self.of, self.of.resnet_depth
    if not depth:
      return mit.MiT(of.backbone, of.width, of.drop_path, of.dtype, name="backbone")(image, train)
    shared = {"dtype": of.dtype, "bn_groups": of.bn_groups, "name": "backbone"}
    maps = resnet.ResNet(depth, of.width or 64, **shared)(image, train)
    return [maps[f"layer{stage}"] for stage in range(1, 5)]


@dataclasses.dataclass(frozen=True)
class HASM:
  """The system; see `docs/systems/hdr.md` for the sizes.

  Attributes:
    crop_hw: size of the input in px.
    map_hw: size of the masks, compared and predicted; divides the crop's.
    released: two scores for each mask instead of one (see the module).
    backbone: "b0" to "b5" (paper: "b5"); or "resnet18", "resnet50", ..., as InterNet's.
    width: of the trunk, see `MiT.width` and `ResNet.width`; 0 = the published one.
    drop_path: of MiT, see `MiT.drop_path`.
    decoder_features: channels of the decoder.
    dropout: of its channels.
    box_factor: enlargement of the box of both hands.
    zoom: smallest and largest magnification of the crop in training (`augment.Zoom`).
    most_of_one_class: see `augment.Zoom`.
    rough: see `configs.base`, `data`.
    dtype: of the network's arithmetic.
    bn_groups: see `models.norm.BatchNorm`.
    frozen: parts in evaluation mode; the trainer keeps their variables.
  """

  crop_hw: tuple[int, int] = (256, 256)
  map_hw: tuple[int, int] = (256, 256)
  released: bool = False
  backbone: str = "b5"
  width: int = 0
  drop_path: float = 0.1
  decoder_features: int = 256
  dropout: float = 0.1
  box_factor: float = 2.0
  zoom: tuple[float, float] = (0.5, 2.0)
  most_of_one_class: float = 0.75
  rough: bool = False
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()

  view = "pair"
  needs = frozenset({"image", "masks", "masks_valid"})

  def __post_init__(self):
    strides = {crop / size for crop, size in zip(self.crop_hw, self.map_hw, strict=True)}
    if len(strides) > 1 or not strides.pop().is_integer():
      raise ValueError(f"map_hw={self.map_hw} does not divide crop_hw={self.crop_hw} evenly")
    resnet.structure(self.resnet_depth) if self.resnet_depth else mit.structure(self.backbone)
    if self.released and self.resnet_depth:
      raise ValueError(f"released=True, but backbone={self.backbone!r}: the release has MiT-B5")
    base.check_frozen(self, _PARTS)

  @property
  def resnet_depth(self) -> int:
    """Layers of the trunk, if it is a ResNet; 0 of a MiT."""
    digits = self.backbone.removeprefix("resnet")
    return int(digits) if digits != self.backbone and digits.isdigit() else 0

  @property
  def network(self) -> Network:
    return Network(self)

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    return (base.Objective("masks", _PARTS, fn=self.loss),)

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    """Fresh variables, everything as for training from scratch."""
    return dict(self.network.init(rng, batch["image"], False))

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of both hands; in training a window of random size and place, mirrored in one half."""
    window = augment.Zoom(*self.zoom, most_of_one_class=self.most_of_one_class) if train else None
    return host_ops.crop_ops(self.crop_hw, self.map_hw, window, self.box_factor)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` normalised with ImageNet's mean and deviation, after a change of colours in training."""
    image = batch["image"].astype(jnp.float32) / 255
    if train:
      image = colour.photometric(image, rng)
      if self.rough:  # without covers: masks say what is visible
        image = rough.roughened(image, jax.random.fold_in(rng, 1), covers=False)
    return {**batch, "image": colour.normalise(image)}

  def loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """Sum of the four masks' cross-entropies; logged besides, the share of pixels that are right."""
    out: Any = self.network.apply(variables, batch["image"], True, rngs={"dropout": rng}, mutable=["batch_stats"])
    scores, state = out
    log_odds = self.log_odds(scores)
    valid = jnp.broadcast_to(batch["masks_valid"][..., None, None], batch["masks"].shape)
    entropy, right = mask_losses(log_odds, batch["masks"], valid)
    means = [losses.weighted_mean(value, batch["weight"]) for value in entropy.reshape(-1, len(MASKS)).T]
    terms = dict(zip(MASKS, means, strict=True)) | {
      "accuracy": losses.weighted_mean(right.mean((1, 2)), batch["weight"])
    }
    return base.LossOut(jnp.stack(means).sum(), terms, dict(state), {"accuracy": 0.0})

  def log_odds(self, scores: Float[Array, "b p q 2 2 k"]) -> Float[jax.Array, "b 2 2 h w"]:
    """Log odds of being in each mask, at the size of the masks, from the network's scores."""
    odds = scores[..., 1] - scores[..., 0] if self.released else scores[..., 0]
    flat = odds.reshape(*odds.shape[:3], len(MASKS))
    resized = resize_bilinear(flat, self.map_hw, stride=self.crop_hw[0] / self.map_hw[0])
    return resized.transpose(0, 3, 1, 2).reshape(-1, 2, 2, *self.map_hw)

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """The probabilities of the masks, each on its own: a visible mask may stick out of the whole one."""
    scores: Any = self.network.apply(variables, batch["image"], False)
    return {"masks": jax.nn.sigmoid(self.log_odds(scores))}

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables from the release ("state_dict" of its checkpoint); or those of the trunk alone from ImageNet's.

    Raises:
      ValueError: the system is not the released one; or a key that is unknown, missing or of another shape.
    """
    shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), {"image": jnp.zeros((1, *self.crop_hw, 3))}))
    if depth := self.resnet_depth:
      trunk = import_torchvision(state_dict, *resnet.structure(depth))
      return subtrees.nested("backbone", check_shapes(trunk, subtrees.part(shapes, "backbone")))
    _, blocks = mit.structure(self.backbone)
    if is_imagenet(state_dict):
      trunk = import_imagenet(state_dict, blocks)
      return subtrees.nested("backbone", check_shapes(trunk, subtrees.part(shapes, "backbone")))
    if not self.released:
      raise ValueError("the release scores background and mask of each head; set system.released=True")
    return check_shapes(convert(state_dict, name_map(blocks)), shapes)


def mask_losses(
  log_odds: Float[arrays.Array, "b 2 2 h w"],
  masks: UInt8[arrays.Array, "b 2 2 h w"],
  valid: Bool[arrays.Array, "b 2 2 h w"],
) -> tuple[Float[jax.Array, "b 2 2"], Float[jax.Array, "b 2 2"]]:
  """Cross-entropy of each mask, and the share of its pixels that are right; pixels that are not valid are neither.

  Both are means over all pixels, valid or not, as in mmsegmentation.
  """
  entropy = losses.binary_cross_entropy(log_odds, masks.astype(jnp.float32), valid).mean((3, 4))
  right = ((log_odds > 0) == (masks > 0)) & valid
  return entropy, right.mean((3, 4))


def build(config: Any) -> HASM:
  """The system that `config.system` describes; see `construct.from_fields`."""
  older = "map_hw" in config.data and "map_hw" not in config.system
  before = {"map_hw": tuple(config.data.map_hw)} if older else {}
  return construct.from_fields(HASM, config, tuples=("zoom", "map_hw"), **before)
