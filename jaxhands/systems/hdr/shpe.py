"""SHPE, the single-hand pose estimator of HDR: DetNet (Zhou et al., CVPR 2020) for one hand, left ones mirrored.

Of each joint a heat map tells where it is in the picture; at that place a delta map tells the direction of its bone and
a location map where it is from the wrist, both up to the hand's size. `bone_mm` is the length that the bone from the
wrist to the middle finger is taken to have; `geometry.place` then finds the hand in front of the camera.

Where paper and release differ, `released` chooses:

* the three losses are summed with weight 1 (paper, equation 5), or heat and delta with 1 and location with 5;
* the target's Gaussian lies around the joint (paper), or is a window pasted at its whole cell;
* locations count where wrist and middle finger, their unit of length, are annotated, or in any case.

Only annotated joints have targets; the release gives one to every joint whose stored position is in the picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxhands import codecs, schema
from jaxhands.data import augment, colour, host_ops, rough
from jaxhands.geometry import crop, lift
from jaxhands.hands import bones, skeleton
from jaxhands.models.detnet import DetNet
from jaxhands.systems import base, construct, subtrees
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.hdr import detnet as name_map

PART = "detnet"
_STRIDE = 4  # of the maps
_SNAP_PARENTS = (0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
_MIDDLE = 9  # base of the middle finger in SNAP's order
CODEC = codecs.BoneCodec(_SNAP_PARENTS, root=0, bone=(0, _MIDDLE))
_AUGMENTATION = dataclasses.replace(augment.INTERNET, mirror_probability=0.0)  # the view shows right hands already
_SHARPNESS = 20.0  # of the sub-cell decoding: softmax of 20 x heat map / its own peak


@dataclasses.dataclass(frozen=True)
class SHPE:
  """The system; see `docs/systems/hdr.md` for the sizes.

  Attributes:
    crop_hw: size of the input in px, a multiple of 4.
    released: the release's conventions instead of the paper's (see the module).
    width, blocks, head_features, kernel_std: of `models.detnet.DetNet`.
    sigma: of the target's Gaussian, in cells.
    loss_form: HDR's norms over all joints, or Minimal-Hand's (`minimal_hand_terms`), with its weights 100, 1 and 10.
    decode: joints at the "argmax" of their heat map (both references), or at its "soft_argmax", between cells.
    box_factor: enlargement of the hand's box, which is the tight one of its joints 1.2 times.
    give_heatmaps: predictions hold the heat maps.
    rough: see `configs.base`, `data`.
    alone: training shows the picture without the other hand where the data set has one, as HDRM would make it.
    dtype: of the network's arithmetic.
    frozen: parts whose norm stays in evaluation mode.
  """

  crop_hw: tuple[int, int] = (256, 256)
  released: bool = False
  width: int = 64
  blocks: tuple[int, int, int] = (2, 4, 6)
  head_features: int = 256
  kernel_std: float = 0.001
  sigma: float = 2.5
  loss_form: Literal["hdr", "minimal_hand"] = "hdr"
  decode: Literal["argmax", "soft_argmax"] = "argmax"
  box_factor: float = crop.BOX_FACTOR
  give_heatmaps: bool = False
  rough: bool = False
  alone: bool = False
  dtype: jnp.dtype | type = jnp.float32
  frozen: tuple[str, ...] = ()

  view = "hand"

  def __post_init__(self):
    if self.crop_hw[0] % _STRIDE or self.crop_hw[1] % _STRIDE:
      raise ValueError(f"crop_hw={self.crop_hw} is not a multiple of {_STRIDE}, the stride of DetNet's maps")
    base.check_frozen(self, (PART,))

  @property
  def needs(self) -> frozenset[str]:
    pose = {"joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "camera_img", "camera_valid"}
    return frozenset({"image", "crop_from_img"} | pose | ({"removed", "removed_valid"} if self.alone else set()))

  @property
  def network(self) -> DetNet:
    return DetNet(self.width, self.blocks, self.head_features, self.kernel_std, self.dtype)

  @property
  def grid_hw(self) -> tuple[int, int]:
    return self.crop_hw[0] // _STRIDE, self.crop_hw[1] // _STRIDE

  @property
  def weights(self) -> dict[str, float]:
    """Of the three terms."""
    if self.loss_form == "minimal_hand":
      return {"heat": 100.0, "delta": 1.0, "location": 10.0}
    return {"heat": 1.0, "delta": 1.0, "location": 5.0 if self.released else 1.0}

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    return (base.Objective("pose", (PART,), fn=self.loss),)

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    """Fresh variables; convolutions start as small normal values, as in the release."""
    return subtrees.nested(PART, self.network.init(rng, batch["image"], True))

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of the hand; HDR's augmentation in training."""
    return host_ops.crop_ops(
      self.crop_hw, augmentation=_AUGMENTATION if train else None, box_factor=self.box_factor, shrink=True
    )

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` normalised with ImageNet's mean and deviation; in training also colour factors and `targets`."""
    image = batch["image"].astype(jnp.float32) / 255
    if not train:
      return {**batch, "image": colour.normalise(image)}
    if self.alone:
      without_other = batch["removed"][:, 0].astype(jnp.float32) / 255
      image = jnp.where(batch["removed_valid"][:, 0, None, None, None], without_other, image)
    image = colour.jittered(image, colour.channel_factors(rng, len(image)))
    if self.rough:
      image = rough.roughened(image, jax.random.fold_in(rng, 1))
    return {**batch, "image": colour.normalise(image), **self.targets(batch)}

  def targets(self, batch: schema.Batch) -> dict[str, Any]:
    """What the losses compare with, of hand 0 in the order of SNAP.

    Returns:
      "cells" [B, 21, 2]: x, y on the maps' grid; "location" and "delta" [B, 21, 3]; "cells_valid": the joint's target
      meets the grid; "location_valid": its 3D position is annotated; "delta_valid": and its parent's; [B, 21] each.
    """
    order = skeleton.SNAP_FROM_INTERHAND
    joints_crop = crop.apply_affine(batch["crop_from_img"], batch["joints_img"][:, 0])[:, order]
    turned = jnp.einsum(
      "bij,bkj->bki", crop.view_rotation(batch["crop_from_img"]), batch["joints_cam"][:, 0], precision="highest"
    )
    location, delta = CODEC.encode(turned[:, order])
    cells = joints_crop / _STRIDE
    valid = batch["joints_cam_valid"][:, 0, order]
    if self.released:
      cells = jnp.trunc(cells)
      meets = codecs.pasted_gaussian(cells, self.grid_hw, self.sigma)[2]
    else:
      meets = crop.inside(joints_crop, self.crop_hw)
      valid &= valid[:, :1] & valid[:, _MIDDLE : _MIDDLE + 1]
    return {
      "cells": cells,
      "cells_valid": batch["joints_img_valid"][:, 0, order] & meets,
      "location": location,
      "location_valid": valid,
      "delta": delta,
      "delta_valid": valid & valid[:, np.array(_SNAP_PARENTS)],
    }

  def drawn_targets(self, batch: schema.Batch) -> dict[str, Any]:
    """See `base.DrawnSystem`; of hand 0."""
    order, valid = skeleton.INTERHAND_FROM_SNAP, batch["cells_valid"]
    rows, columns = self._gaussian(batch["cells"])
    planes = jnp.einsum("bhj,bwj->bjhw", rows, columns) * valid[..., None, None]
    return {
      "joints_crop": _first_hand(batch["cells"][:, order] * _STRIDE),
      "joints_crop_valid": _first_hand(valid[:, order]),
      "heatmaps": _first_hand(planes[:, order]),
    }

  def loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """Heat, location and delta loss (paper, equation 5); its regulariser is the optimizer's weight decay."""
    own = subtrees.part(variables, PART)
    maps, state = self.network.apply(own, batch["image"], PART not in self.frozen, mutable=["batch_stats"])
    terms = self.loss_terms(maps, batch)
    return base.LossOut.weighted(terms, subtrees.nested(PART, state), self.weights)

  def loss_terms(self, maps: Mapping[str, jax.Array], batch: schema.Batch) -> dict[str, Float[Array, ""]]:
    """The terms over a batch with `targets`, from the network's maps.

    As released: the norm of all differences of the batch, not squared, over the number of joints that count.
    """
    rows, columns = self._gaussian(batch["cells"])
    target = rows[:, :, None] * columns[:, None]
    counts = batch["weight"] > 0
    if self.loss_form == "minimal_hand":
      annotated = batch["location_valid"].all(-1) & counts
      return minimal_hand_terms(maps, target, batch["cells_valid"] & counts[:, None], batch, annotated)
    in_picture = batch["cells_valid"] & counts[:, None]
    terms = {"heat": _norm(jax.nn.sigmoid(maps["heat"]) - target, in_picture)}
    for name in ("delta", "location"):
      difference = (maps[name] - batch[name][:, None, None]) * target[..., None]
      terms[name] = _norm(difference, batch[f"{name}_valid"] & in_picture)
    return terms

  def _gaussian(self, cells: Float[Array, "b j 2"]) -> tuple[Any, Any]:
    if self.released:
      return codecs.pasted_gaussian(cells, self.grid_hw, self.sigma)[:2]
    voxels = jnp.concatenate([cells, jnp.zeros_like(cells[..., :1])], axis=-1)
    return codecs.gaussian_factors(voxels, (*self.grid_hw, 1), self.sigma)[:2]

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """Of hand 0; the other one is absent with certainty. See `schema.PREDICTION`; confidence is the heat map's peak."""
    maps: Any = self.network.apply(subtrees.part(variables, PART), batch["image"], False)
    cells, location, peak = self.read(maps)
    order = skeleton.INTERHAND_FROM_SNAP
    img_from_crop = crop.invert_affine(batch["crop_from_img"])
    joints_img = crop.apply_affine(img_from_crop, cells[:, order] * _STRIDE)
    turned = CODEC.decode(location[:, order], _bone_mm())
    rel = jnp.einsum("bji,bkj->bki", crop.view_rotation(batch["crop_from_img"]), turned, precision="highest")
    prediction = {
      "joints_img": _first_hand(joints_img),
      "joints_rel_depth": _first_hand(rel[..., 2] - rel[:, skeleton.WRIST :, 2]),
      "rel_root_depth": jnp.zeros(len(rel)),
      "hand_prob": jnp.repeat(jnp.array([[1.0, 0.0]]), len(rel), 0),
      "confidence": _first_hand(peak[:, order]),
      "scale_known": jnp.zeros(len(rel), bool),
      "joints_cam": _first_hand(rel),
    }
    placed = lift.lift(prediction, batch, "place")
    prediction["joints_cam"] = jnp.where(placed.valid[..., None, None], placed.joints_cam, prediction["joints_cam"])
    if self.give_heatmaps:
      prediction["heatmaps"] = _first_hand(jax.nn.sigmoid(maps["heat"])[..., order].transpose(0, 3, 1, 2))
    return prediction

  def read(
    self, maps: Mapping[str, jax.Array]
  ) -> tuple[Float[Array, "b 21 2"], Float[Array, "b 21 3"], Float[Array, "b 21"]]:
    """Cells (x, y), locations there, and the heat maps' peaks 0..1, in the order of SNAP."""
    heat = jax.nn.sigmoid(maps["heat"])
    cells, peak = argmax_2d(heat)
    if self.decode == "argmax":
      return cells.astype(jnp.float32), at_cells(maps["location"], cells), peak
    weights = jax.nn.softmax(_SHARPNESS * heat / jnp.maximum(peak, 1e-6)[:, None, None], axis=(1, 2))
    location = jnp.einsum("bhwj,bhwjc->bjc", weights, maps["location"], precision="highest")
    return codecs.expected_cell(weights), location, peak

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables from HDR's release, or from Minimal-Hand's, whose trunk is called `resnet50`.

    Raises:
      ValueError: a key that is unknown, missing or of another shape.
    """
    trunk = "resnet50" if "resnet50.conv1.weight" in state_dict else "resnet"
    variables = convert(state_dict, name_map(f"{PART}/", self.blocks, trunk))
    shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), {"image": jnp.zeros((1, *self.crop_hw, 3))}))
    return check_shapes(variables, shapes)


def minimal_hand_terms(
  maps: Mapping[str, jax.Array],
  target: Float[Array, "b h w j"],
  in_picture: Bool[Array, "b j"],
  vectors: Mapping[str, Any],
  annotated: Bool[Array, " b"],
) -> dict[str, Float[Array, ""]]:
  """The terms as Minimal-Hand's release has them.

  Heat: half the mean square of each joint's map over all examples, summed over the joints. Delta and location: the norm
  of all differences, weighted with the heat maps, of the examples with 3D annotations, over the number of these.

  Args:
    maps: of the network.
    target: heat maps.
    in_picture: joints that have one.
    vectors: "delta" and "location" [B, 21, 3].
    annotated: examples whose joints are all annotated in 3D.
  """
  difference = jnp.where(in_picture[:, None, None], jax.nn.sigmoid(maps["heat"]) - target, 0)
  terms = {"heat": 0.5 * jnp.square(difference).mean((0, 1, 2)).sum()}
  for name in ("delta", "location"):
    difference = (maps[name] - vectors[name][:, None, None]) * target[..., None]
    per_joint = _norm(difference, jnp.repeat(annotated[:, None], target.shape[-1], 1))
    terms[name] = per_joint * target.shape[-1]
  return terms


def argmax_2d(heat: Float[Array, "b h w j"]) -> tuple[Any, Float[Array, "b j"]]:
  """Cell (x, y), int, of the largest value of each joint, the first one in reading order, and that value."""
  batch, height, width, joints = heat.shape
  flat = heat.reshape(batch, height * width, joints)
  index = flat.argmax(1)
  return jnp.stack([index % width, index // width], axis=-1), flat.max(1)


def at_cells(maps: Float[Array, "b h w j 3"], cells: Any) -> Float[Array, "b j 3"]:
  """What each joint's map says at its cell."""
  example, joint = jnp.arange(len(maps))[:, None], jnp.arange(maps.shape[3])
  return maps[example, cells[..., 1], cells[..., 0], joint]


def _norm(difference: Float[Array, "b h w j ..."], counts: Bool[Array, "b j"]) -> Float[Array, ""]:
  """Frobenius norm of what counts over how many joints do; 0, with gradient 0, where none does."""
  kept = jnp.where(
    counts[:, None, None].reshape(counts.shape[0], 1, 1, -1, *(1,) * (difference.ndim - 4)), difference, 0
  )
  squares = jnp.square(kept).sum()
  return jnp.sqrt(jnp.where(squares > 0, squares, 1)) * (squares > 0) / jnp.maximum(counts.sum(), 1)


def _first_hand(values: Any) -> jax.Array:
  """With the hand axis, 0 for the other hand."""
  return jnp.stack([values, jnp.zeros_like(values)], axis=1)


def _bone_mm() -> float:
  """Length of the bone from the wrist to the middle finger of the mean hand."""
  mean = bones.mean_bones()
  (index,) = [i for i, pair in enumerate(mean.pairs) if set(pair) == {skeleton.WRIST, skeleton.MCPS[2]}]
  return float(mean.lengths_mm[index])


def build(config: Any) -> SHPE:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(SHPE, config, tuples=("blocks",))
