"""Intershape (Zhang et al., ICCV 2021): pose and shape of two interacting hands, as parameters of a hand model.

InterNet's heatmaps come first, trained on their own and then kept. A second network sees the picture and these heatmaps
(`models.intershape`): for each hand the parameters of the hand model, in a first estimate and in refinements; and scale
and translation that put the left hand beside the right one. Lengths are multiples of the bone from the wrist to the
base of the middle finger, of which the predicted hand, or the truth, says the millimetres.

Where paper and releases differ, `release` chooses: the paper ("", default), the first release ("v1", of the paper's
network, without training) or the second ("v2"):

* norm: ResNet-50's own; none; or behind the stem and in the shortcuts. v1 sees the picture less 0.5, others ImageNet's
  normalisation;
* heatmaps have height 1 (the paper's are probabilities), or their raw 255;
* the regulariser is 0.05 x (0.1 shape^2 + fingers^2), or, of v2, 0.1 x (shape^2 + 0.1 pose^2), where the left hand's
  global rotation is part of the pose;
* the truth is the annotated joints, or, of v2, those of the fitted hand model; v2's flags of valid joints are in
  another order than its joints, so that each joint has the flag of another one;
* the middle fingertip of MANO is vertex 445 as in InterHand2.6M, or 444 (of v1's left hand 445);
* what is not ImageNet's starts as He's; or as normal values of deviation 0.01, so small that joints have little to
  say at first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, Float

from jaxhands import codecs, losses, schema
from jaxhands.data import colour
from jaxhands.geometry import crop, place, rotations
from jaxhands.geometry.arrays import matmul
from jaxhands.hands import skeleton
from jaxhands.hands.model import EMBEDDED, HandModel
from jaxhands.models import intershape as models
from jaxhands.models.backbones.resnet import Norm, structure
from jaxhands.models.intershape import MIDDLE1, HandRegression, Reading
from jaxhands.systems import base, construct, intershape_losses, subtrees
from jaxhands.systems.internet import InterNet
from jaxhands.systems.internet import build as build_internet
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.intershape import import_trunk, released_as, warn_without_mano
from jaxhands.weights.intershape import intershape as name_map

HEATMAPS = "heatmaps"  # the part that is trained before
_NORMS: dict[str, Norm] = {"": "all", "v1": "none", "v2": "shortcuts"}
_MIDDLE_TIPS = {"v1": (444, 445), "v2": (444, 444)}  # vertices of MANO, right and left
_STRIDE = 8  # of the encoder's map that heatmaps join
_BINS = 16  # of the heatmaps that the encoder sees
_TINY = 1e-8  # heatmaps whose largest value is smaller say nothing


@dataclasses.dataclass(frozen=True)
class Intershape:
  """The system; see `configs/intershape.py` for the sizes and for the paper's rows.

  Attributes:
    heatmaps: InterNet, of the same crop; the part `heatmaps`, frozen.
    hand_model: the config's, of which parameters are estimated.
    crop_hw: size of the input in px, a square.
    release: the paper ("") or a release, see the module.
    depth, width: of the encoder.
    hidden: units of the layers that give parameters.
    refinements, attention, camera, context, shared_shape: of `models.intershape.HandRegression`.
    attention_weight: of the mean square of the rendered attention's difference from that of the true joints. The paper
      says that attention has a loss, but not which one; 0 = none.
    dtype: of the network's arithmetic.
    bn_groups: see `models.norm.BatchNorm`.
    frozen: parts whose norm stays in evaluation mode; the trainer keeps their variables.
  """

  heatmaps: InterNet
  hand_model: str = EMBEDDED
  crop_hw: tuple[int, int] = (256, 256)
  release: Literal["", "v1", "v2"] = ""
  depth: int = 50
  width: int = 64
  hidden: int = 512
  refinements: tuple[models.Level, ...] = ("layer4", "layer3", "layer2")
  attention: models.Attention = "rendered"
  camera: models.CameraSource = "fit"
  context: models.Context = "both"
  shared_shape: bool = False
  attention_weight: float = 0.0
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()

  view = "pair"

  def __post_init__(self):
    if self.crop_hw[0] != self.crop_hw[1]:
      raise ValueError(f"crop_hw={self.crop_hw}: attention is drawn into squares")
    if self.heatmaps.crop_hw != self.crop_hw:
      raise ValueError(f"the heatmaps are of crops of {self.heatmaps.crop_hw}, crop_hw is {self.crop_hw}")
    if self.grid * _STRIDE < self.crop_hw[0]:
      raise ValueError(f"heatmaps of {self.grid} cells are coarser than the encoder's map of stride {_STRIDE}")
    if self.attention_weight and self.attention != "rendered":
      raise ValueError(f"attention_weight={self.attention_weight}: attention={self.attention!r} is not drawn")
    base.check_frozen(self, (HEATMAPS, *self.parts))

  @property
  def parts(self) -> tuple[str, ...]:
    """What the second network is made of: keys of its parameters."""
    names = ["initial"] + [f"{kind}{i}" for i in range(len(self.refinements)) for kind in ("features", "refined")]
    camera = ("camera",) if self.camera == "predicted" else ()
    return ("encoder", "relative", *camera, *(f"{name}_{hand}" for name in names for hand in schema.HANDS))

  @property
  def widened(self) -> tuple[str, ...]:
    """See `base.WidenedSystem`: the encoder's third stage sees the heatmaps, too; so it may start from InterNet's."""
    return tuple(f"params/encoder/layer3_0/{name}/kernel" for name in ("conv1", "downsample_conv"))

  @property
  def needs(self) -> frozenset[str]:
    return self.heatmaps.needs | {"mano", "mano_valid", "camera_img", "camera_valid"}

  @property
  def grid(self) -> int:
    """Cells of a side of the heatmaps."""
    return self.heatmaps.joints_codec.grid_hw[0]

  @property
  def network(self) -> HandRegression:
    return HandRegression(
      depth=self.depth, width=self.width, norm=_NORMS[self.release], hidden=self.hidden, refinements=self.refinements,
      attention=self.attention, camera=self.camera, context=self.context, shared_shape=self.shared_shape,
      kernel_std=0.01 if self.release else 0.0,
      thinned="cell" if self.heatmaps.head == "heatmap3d" else "block", dtype=self.dtype, bn_groups=self.bn_groups,
    )  # fmt: skip

  @property
  def weights(self) -> dict[str, float]:
    """Of the terms of the loss."""
    weights = intershape_losses.WEIGHTS | {"regulariser": 0.1 if self.release == "v2" else 0.05}
    weights |= {"attention": self.attention_weight} if self.attention_weight else {}
    return weights | ({"keypoints": intershape_losses.KEYPOINT_WEIGHT} if self.camera == "predicted" else {})

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    of_release = {"joint": "the release's initial layers (see the module)"} if self.release else {}
    return (
      base.Objective("hands", self.parts, fn=self.loss, starts_small=intershape_losses.STARTS_SMALL | of_release),
    )

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    """Fresh variables of both networks, with the hand model among the constants."""
    key, other = jax.random.split(rng)
    model, image = self.loaded_hand_model(), batch["image"]
    heatmaps = dict(self.heatmaps.network.init(key, image, True))
    reading = jax.eval_shape(self._reading, heatmaps, image)[0]
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), reading)
    hands = dict(self.network.init(other, self._normalised(image), blank, model, True))
    return subtrees.joined(subtrees.nested(HEATMAPS, heatmaps), hands) | {"constants": {"hand_model": model}}

  def loaded_hand_model(self) -> HandModel:
    """That of the config, with the fingertips of the release."""
    model = HandModel.named(self.hand_model)
    if not self.release or model.identity == EMBEDDED:
      return model
    tips = np.array(model.tip_vertices)
    tips[:, 2] = _MIDDLE_TIPS[self.release]
    return dataclasses.replace(model, tip_vertices=tips)

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """InterNet's: crop of both hands; moved, turned, scaled and mirrored in training."""
    return self.heatmaps.host_ops(train)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """InterNet's: `image` in 0..1; in training also colour factors, and its `voxels`."""
    return self.heatmaps.device_ops(batch, rng, train)

  def drawn_targets(self, batch: schema.Batch) -> dict[str, Any]:
    """See `base.DrawnSystem`; those of the heatmaps' network."""
    return self.heatmaps.drawn_targets(batch)

  def _normalised(self, image: jax.Array) -> jax.Array:
    return image - 0.5 if self.release == "v1" else jnp.asarray(colour.normalise(image))

  # ---- the two networks ------------------------------------------------------------

  def read(self, out: Mapping[str, Any]) -> Reading:
    """What the heatmaps say, from InterNet's output, without a gradient.

    Of volumes every fourth bin and every second cell are seen (of 64), attention is the largest value over joints and
    bins, and a joint lies at its maximum. Of the compact form's 2D heatmaps all is seen, with the depths, relative to
    each one's largest value; a joint lies at its mean cell, and a smaller map of attention has the largest of each
    block of cells.
    """
    step = self.grid * _STRIDE // self.crop_hw[0]
    if self.heatmaps.head == "heatmap3d":
      scale = 1.0 if self.release else 1 / self.heatmaps.joints_codec.peak
      volumes = [volume.astype(jnp.float32) * scale for volume in out["volumes"]]
      bins = max(self.heatmaps.bins // _BINS, 1)
      maps = [volume[:, ::step, ::step, :, ::bins] for volume in volumes]
      voxels, heights = (jnp.stack(x, axis=1) for x in zip(*map(codecs.argmax_3d, volumes), strict=True))
      attention = jnp.stack([volume.max((3, 4)) for volume in volumes], axis=1)
    else:
      voxels, cells = self.heatmaps.expectation(out)
      heights = codecs.confidence_of_spread(cells, voxels[..., :2], self.heatmaps.sigma)
      planes = cells / jnp.maximum(cells.max((2, 3), keepdims=True), _TINY)
      depths = jnp.stack(out["depths"], axis=1)
      maps = [jnp.stack([planes, planes * depths], axis=-1)[:, side, ::step, ::step] for side in range(2)]
      attention = planes.max(-1)
    flat = jnp.concatenate([each.reshape(*each.shape[:3], -1) for each in maps], axis=-1)
    peaks = jnp.concatenate([voxels[..., :2], heights[..., None]], axis=-1)
    return jax.lax.stop_gradient(Reading(flat, attention, peaks))

  def _reading(self, heatmaps: base.Variables, image: jax.Array) -> tuple[Reading, jax.Array]:
    """What the heatmaps say, and scores of the hands' presence."""
    out: Any = self.heatmaps.network.apply(heatmaps, image, False)
    return self.read(out), out["hands"]

  def estimates(
    self, variables: base.Variables, image: Float[Array, "b h w 3"], train: bool
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both networks say of images in 0..1, and the second one's batch statistics after `train`.

    Returns:
      `HandRegression`'s estimates, with "hands" [B, 2], scores of their presence, and "weights" [B, 2, 21] of joints in
      the camera's fit; and {"batch_stats": ...}, or nothing.
    """
    reading, hands = self._reading(subtrees.part(variables, HEATMAPS), image)
    own = {
      collection: {name: tree for name, tree in variables.get(collection, {}).items() if name != HEATMAPS}
      for collection in ("params", "batch_stats")
    }
    training = train and "encoder" not in self.frozen
    args = self._normalised(image), reading, variables["constants"]["hand_model"]
    found, state = self.network.apply(own, *args, training, mutable=["batch_stats"])
    return {**found, "hands": hands, "weights": reading.peaks[..., 2]}, dict(state)  # pyright: ignore[reportCallIssue]

  # ---- training --------------------------------------------------------------------

  def loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """Equation 10 of the paper."""
    out, state = self.estimates(variables, batch["image"], True)
    values = self.loss_values(out, self.targets(batch, variables["constants"]["hand_model"]))
    terms = {name: losses.weighted_mean(value, batch["weight"]) for name, value in values.items()}
    return base.LossOut.weighted(terms, state, self.weights)

  def targets(self, batch: schema.Batch, model: HandModel) -> dict[str, Any]:
    """What the losses compare with.

    Returns:
      "joints" [B, 2, 21, 3], mm, camera frame turned as the crop; "joints_valid" [B, 2, 21], with wrist and middle
      finger, which are the unit; "shape" [B, 2, 10] and "shape_valid" [B, 2]; "present" [B, 2]; "cells" [B, 2, 21, 2]
      of the heatmaps and "cells_valid" [B, 2, 21].
    """
    joints, valid = batch["joints_cam"], batch["joints_cam_valid"]
    present, fitted = batch["hand_present"], batch["mano_valid"] & batch["hand_present"]
    if self.release == "v2":
      joints = model.forward_mano(batch["mano"]).keypoints
      valid = valid[..., skeleton.INTERHAND_FROM_MANO21] & fitted[..., None]
    turned = jnp.einsum("bij,bhkj->bhki", crop.view_rotation(batch["crop_from_img"]), joints, precision="highest")
    measured = valid[..., MIDDLE1] & valid[..., skeleton.WRIST] & present
    return {
      "joints": turned,
      "joints_valid": valid & measured[..., None],
      "shape": batch["mano"][..., schema.MANO_SHAPE],
      "shape_valid": fitted,
      "present": present,
      "cells": batch["voxels"][..., :2],
      "cells_valid": batch["cells_valid"] & present[..., None],
    }

  def loss_values(self, out: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Float[Array, " b"]]:
    """The loss terms of each example, without their weights: sums over all estimates, joints and coordinates."""
    terms = intershape_losses.terms(out, targets, self.release == "v2")
    if self.attention_weight:
      terms["attention"] = intershape_losses.attention_error(out, targets, self.grid)
    if self.camera == "predicted":
      terms["keypoints"] = intershape_losses.keypoint_error(out, targets)
    return terms

  # ---- predictions -----------------------------------------------------------------

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """See `schema.PREDICTION`; of the last estimate.

    Each hand has the size that its own shape gives it; equation 2, in the right hand's predicted unit, says where the
    left one is. Both are placed before a known camera as one body, by the joints of the hands that are seen; before an
    unknown one the right wrist is the origin. A joint's confidence is that of its heatmap. Where these do not determine
    the camera of equation 3, or one that mirrors the hand, the hand's confidences are 0, and its joints lie where the
    fit puts them: all are finite, none is to be believed, and nothing places the hand by them.
    """
    found, _ = self.estimates(variables, batch["image"], False)
    last = {key: found[key][:, -1] for key in ("pose", "shape", "joints", "camera")}
    model = variables["constants"]["hand_model"]
    turn = crop.view_rotation(batch["crop_from_img"])
    mano = _mano(model, last["pose"], last["shape"], turn)
    posed = model.forward_mano(mano)
    joints = posed.keypoints

    cells = models.projected(last["joints"], last["camera"])
    joints_crop = self.heatmaps.joints_codec.decode(jnp.pad(cells, ((0, 0),) * 3 + ((0, 1),)))[0]
    joints_img = crop.apply_affine(crop.invert_affine(batch["crop_from_img"]), joints_crop)
    fitted = last["camera"][..., :1] > 0
    height = self.heatmaps.joints_codec.peak if self.release and self.heatmaps.head == "heatmap3d" else 1.0
    confidence = jnp.where(fitted, jnp.clip(found["weights"] / height, 0, 1), 0)
    hand_prob = codecs.HandednessCodec().decode(found["hands"])

    moved = _together(joints, found["relative"], turn) - joints[:, :1, skeleton.WRIST]
    root = _placed(joints + moved[:, :, None], joints_img, confidence * (hand_prob[..., None] > 0.5), batch)
    moved = moved + root[:, None]
    joints, depth = joints + moved[:, :, None], joints[..., 2]
    wrist = joints[..., skeleton.WRIST, 2]
    return {
      "joints_img": joints_img,
      "joints_rel_depth": depth - depth[..., skeleton.WRIST :],
      "rel_root_depth": wrist[:, schema.LEFT] - wrist[:, schema.RIGHT],
      "hand_prob": hand_prob,
      "confidence": confidence,
      "scale_known": jnp.zeros(len(joints), bool),
      "hands_together": jnp.ones(len(joints), bool),
      "joints_cam": joints,
      "vertices_cam": posed.vertices + moved[:, :, None],
      "mano": mano.at[..., schema.MANO_TRANSLATION].add(moved),
    }

  # ---- weights of others -----------------------------------------------------------

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables from a release; or those of a part: the encoder's from torchvision's ResNet, InterNet's from its own.

    Raises:
      ValueError: the system is not that release's; or a key that is unknown, missing or of another shape.
    """
    shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), {"image": jnp.zeros((1, *self.crop_hw, 3))}))
    del shapes["constants"]
    keys = [key.removeprefix("module.") for key in state_dict]
    if "conv1.weight" in keys:
      wanted = subtrees.part(shapes, "encoder")
      paths = ["/".join(path) for path in traverse_util.flatten_dict(wanted)]
      own = wanted["params"]["layer3_0"]["conv1"]["kernel"].shape[2]
      trunk = import_trunk(state_dict, *structure(self.depth), own - self._layer2, paths)
      return subtrees.nested("encoder", check_shapes(trunk, wanted))
    if any(key.startswith("backbone_net.") for key in keys):
      return subtrees.nested(HEATMAPS, self.heatmaps.import_weights(state_dict))
    theirs = released_as(keys)
    if not theirs or theirs != self.release:
      what = f"of Intershape's release {theirs}" if theirs else "neither of a release of Intershape nor of a part of it"
      raise ValueError(
        f"these weights are {what}, system.release is {self.release!r}: 'v2' is the config "
        "intershape:paper,hands,released, 'v1' intershape:paper,hands,released_v1"
      )
    warn_without_mano(theirs, HandModel.named(self.hand_model).identity)
    names = name_map(theirs, structure(self.depth)[0], len(self.refinements), state_dict)
    return check_shapes(convert(state_dict, names), shapes)

  @property
  def _layer2(self) -> int:
    """Channels of the encoder's second stage."""
    return 2 * self.width * (4 if structure(self.depth)[1] == "bottleneck" else 1)


def _mano(model: HandModel, pose: jax.Array, shape: jax.Array, turn: Any) -> jax.Array:
  """The schema's parameters [B, 2, 61] in the camera's frame, without translation, of a pose as the crop sees it."""
  pose = models.with_mean_pose(model, pose)
  seen = rotations.matrix_from_axis_angle(pose[..., :3])
  orient = rotations.axis_angle_from_matrix(matmul(turn[:, None].swapaxes(-1, -2), seen))
  return jnp.concatenate([orient, pose[..., 3:], shape, jnp.zeros_like(orient)], axis=-1)


def _together(joints: jax.Array, relative: jax.Array, turn: Any) -> jax.Array:
  """What moves each hand [B, 2, 3], mm, so that the left one lies from the right one as equation 2 says."""
  middle = joints[..., MIDDLE1, :]
  unit = intershape_losses.length(middle - joints[..., skeleton.WRIST, :])[:, schema.RIGHT, None]
  apart = unit * matmul((jnp.exp(relative[:, :1]) * relative[:, 1:])[:, None], turn)[:, 0]
  left = middle[:, schema.RIGHT] + apart - middle[:, schema.LEFT]
  return jnp.stack([jnp.zeros_like(left), left], axis=1)


def _placed(joints: jax.Array, joints_img: Any, weight: jax.Array, batch: schema.Batch) -> jax.Array:
  """Translation [B, 3] that brings both hands [B, 2, 21, 3] onto their pixels as one body; 0 where nothing says it."""
  known = batch["camera_valid"]
  intrinsics = jnp.where(known[:, None, None], batch["camera_img"], jnp.eye(3))
  whole = [values.reshape(len(values), -1, *values.shape[3:]) for values in (joints, joints_img, weight)]
  root, valid = place.place(whole[0], whole[1], intrinsics, whole[2])
  return jnp.where((valid & known)[:, None], root, 0)


def build(config: Any) -> Intershape:
  """The system that `config.system` describes; `heatmaps` as `system` of InterNet's own config.

  Raises:
    ValueError: an unknown field, with the known ones; or networks that do not fit together.
  """
  heatmaps = build_internet(construct.config_of_part(config, config.system.heatmaps))
  return construct.from_fields(Intershape, config, ("refinements",), heatmaps=heatmaps, hand_model=config.hand_model)
