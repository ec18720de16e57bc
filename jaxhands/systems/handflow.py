"""HandFlowNet (Wang et al., VMV 2022): a distribution over the poses of two hands that one picture may show.

A ResNet's pooled features condition a flow over both hands as one vector (`hands.vector`): rotations, shape, place and
scale. It is trained on several annotations of each picture (`data_builders.multihands`) where these exist, on its one
fit otherwise, and by joints alone where there is none.

What a distribution is, is the business of one Linen module (`models.distribution`); all else is shared with the
baselines of `systems.handflow_baselines`. What the paper leaves open, and what is done then: docs/systems/handflow.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxhands import losses, schema
from jaxhands.data import augment, colour, host_ops, rough
from jaxhands.geometry import camera, crop, lift, rotations
from jaxhands.hands import skeleton, vector
from jaxhands.hands.model import EMBEDDED, HandModel
from jaxhands.models import distribution
from jaxhands.models.backbones.resnet import ResNet, structure
from jaxhands.models.distribution import Flow, Network
from jaxhands.models.flow.affine_coupling import SMALLEST_SCALE
from jaxhands.models.flow.halves import Halves
from jaxhands.systems import base, construct, subtrees
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.glow import glow as name_map
from jaxhands.weights.resnet import import_torchvision

PARTS = ("backbone", "distribution")
_UNIT_MM = 100.0  # of the joints' squared errors
_STRIDE = 32  # of the ResNet's last map
_NEAREST_MM = 10.0  # to the camera, of points that are projected
_NEAR = 0.1  # of a hand's size in the picture, as `evaluation.metrics.confidence` has it
_TRAINED_SAMPLES = 2  # of each picture, whose projections are compared (paper)


@dataclasses.dataclass(frozen=True)
class PoseDistribution:
  """What all systems of this paper share; see `configs/handflow.py`.

  Attributes:
    crop_hw: size of the input in px.
    depth, width: of the ResNet.
    pooled: the distribution sees the mean of the ResNet's last map (paper); else every cell of it, without which the
      few channels of a narrow ResNet do not say where anything is.
    hidden: units of the distribution's layers.
    dropout: share of units that is dropped there, in training.
    annotations: of a picture in a step of training; of more, random ones and always the one that stands for the mode.
    compared: annotations of a picture in an evaluation.
    samples: of a prediction.
    multihands: learn from all annotations of a picture, not from its one fit alone.
    noise: deviation of what is added to annotations in training (ProHMR).
    mode_weight, joints_weight, projection_weight, projection_samples_weight, orthonormality_weight: of the losses.
    normalised: pictures are less ImageNet's mean and divided by its deviation, as torchvision's weights want it; else
      in 0..1, as InterNet's trunk wants it.
    hand_model: of all parameters, as a config names it.
    shrink, rough, augmentation, dtype, bn_groups, frozen: as of other systems. The distribution stays float32.
  """

  crop_hw: tuple[int, int] = (224, 224)
  depth: int = 50
  width: int = 64
  pooled: bool = True
  hidden: int = 1024
  dropout: float = 0.5
  annotations: int = 100
  compared: int = 100
  samples: int = 100
  multihands: bool = True
  noise: float = 0.005
  mode_weight: float = 0.01
  joints_weight: float = 0.05
  projection_weight: float = 0.05
  projection_samples_weight: float = 0.01
  orthonormality_weight: float = 0.1
  normalised: bool = True
  hand_model: str = EMBEDDED
  shrink: bool = False
  rough: bool = False
  augmentation: augment.Augmentation = augment.INTERNET
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()

  view = "pair"
  needs = frozenset({
    "image", "crop_from_img", "camera_img", "camera_valid", "picture_hw", "joints_cam", "joints_cam_valid",
    "joints_img", "joints_img_valid", "joints_visible", "mano", "mano_valid", "annotations_mano", "annotations_valid",
  })  # fmt: skip

  def __post_init__(self):
    base.check_frozen(self, PARTS)
    for name in ("annotations", "compared", "samples"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more")

  @property
  def distribution(self) -> Any:
    """The module of this system."""
    raise NotImplementedError

  @property
  def fit_weights(self) -> dict[str, float]:
    """Of the losses of annotations that `Distribution.fit` gives."""
    raise NotImplementedError

  @property
  def context(self) -> int:
    """Length of a picture's features."""
    channels = self.width * 8 * (4 if structure(self.depth)[1] == "bottleneck" else 1)
    return channels if self.pooled else channels * math.prod(-(-side // _STRIDE) for side in self.crop_hw)

  @property
  def code(self) -> vector.HandsVector:
    return vector.HandsVector(self.crop_hw)

  @property
  def network(self) -> Network:
    return Network(self.distribution, self.depth, self.width, self.pooled, self.dtype, self.bn_groups, self.frozen)

  @property
  def weights(self) -> dict[str, float]:
    """Of all losses that are computed; those of weight 0 are not."""
    weights = {
      "mode": self.mode_weight, "joints": self.joints_weight, "projection": self.projection_weight,
      "projection_samples": self.projection_samples_weight, "orthonormality": self.orthonormality_weight,
    }  # fmt: skip
    return {name: weight for name, weight in (self.fit_weights | weights).items() if weight}

  @property
  def starts_small(self) -> Mapping[str, str]:
    """See `base.Objective`."""
    return {}

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    return (base.Objective("pose", PARTS, fn=self.loss, starts_small=self.starts_small),)

  # ---- data --------------------------------------------------------------------------

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of both hands; moved, turned, scaled and mirrored in training; annotations padded or drawn."""
    ops = host_ops.crop_ops(self.crop_hw, augmentation=self.augmentation if train else None, shrink=self.shrink)
    count = self.annotations if train else self.compared
    return (*ops, host_ops.PadAnnotations(count, random=train, keeps_one=train))

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` as `normalised` says; in training also colour factors."""
    image = batch["image"].astype(jnp.float32) / 255
    if train:
      image = colour.scale_channels(image, rng)
      if self.rough:
        image = rough.roughened(image, jax.random.fold_in(rng, 1))
    return {**batch, "image": colour.normalise(image) if self.normalised else image}

  def encoded(
    self, mano: Float[Array, "b a 2 61"], valid: Bool[Array, "b a"], batch: schema.Batch, model: HandModel
  ) -> tuple[Float[Array, "b a 218"], Bool[Array, "b a"]]:
    """Vectors of annotations, and which there are: without the camera there is no scale."""
    rows: Any
    there: Any
    rows, there = self.code.encode(mano, model, batch["crop_from_img"], lift.any_camera(batch))
    return rows, there & valid & batch["camera_valid"][:, None]

  def targets(self, batch: schema.Batch, model: HandModel) -> tuple[Float[Array, "b a 218"], Bool[Array, "b a"]]:
    """Annotations to learn from, the first of a picture its mode's; and which of them there are.

    A picture without several has its one fit. What is not there is a copy of what is, so that norms over all rows of a
    batch see hands.
    """
    fit, fitted = batch["mano"][:, None], batch["mano_valid"].all(-1, keepdims=True)
    if not self.multihands:
      mano, valid = fit, fitted
    else:
      several = batch["annotations_valid"].any(-1, keepdims=True)
      mano = jnp.where(several[..., None, None], batch["annotations_mano"], fit)
      only_first = jnp.arange(mano.shape[1]) == 0
      valid = jnp.where(several, batch["annotations_valid"], fitted & only_first)
    rows, valid = self.encoded(mano, valid, batch, model)
    first = jnp.take_along_axis(rows, jnp.argmax(valid, -1)[:, None, None], 1)
    mean = (rows * valid[..., None]).sum((0, 1)) / jnp.maximum(valid.sum(), 1)
    spare = jnp.where(valid.any(-1)[:, None, None], first, mean)
    return jnp.where(valid[..., None], rows, spare), valid

  # ---- variables ---------------------------------------------------------------------

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    """Fresh variables; the distribution starts from the annotations of this batch, the run's first."""
    model = HandModel.named(self.hand_model)
    rows, valid = self.targets(batch, jax.tree.map(jnp.asarray, model))

    def start(network: Network, image: jax.Array, rows: jax.Array, weight: jax.Array) -> None:
      network.distribution.start(rows, network.features(image, True), weight)

    variables = self.network.init(rng, batch["image"], rows, valid.astype(jnp.float32), method=start)
    return dict(variables) | {"constants": {"hand_model": model}}

  # ---- training ----------------------------------------------------------------------

  def loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """All losses (paper, equation 3)."""
    model = variables["constants"]["hand_model"]
    rows, valid = self.targets(batch, model)
    noise_key, *keys = jax.random.split(rng, 3)
    rows = rows + self.noise * jax.random.normal(noise_key, rows.shape)
    streams: Any = dict(zip(("samples", "dropout"), keys, strict=True))
    without_constants = {kind: tree for kind, tree in variables.items() if kind != "constants"}

    def apply(method: Any, *args: Any) -> Any:
      return self.network.apply(without_constants, *args, method=method, mutable=["batch_stats"], rngs=streams)

    out, state = apply(distribution.trained, batch["image"], rows, _TRAINED_SAMPLES)
    fit = dict(out["fit"])
    if self.weights.get("determinant"):
      # Again, with the same dropped units, so that it teaches the distribution alone and not the backbone.
      (_, again), _ = apply(distribution.fitted, jax.lax.stop_gradient(out["context"]), rows)
      fit["determinant"] = again["determinant"]
    weight = batch["weight"]
    terms = {
      name: losses.weighted_mean(_mean(value, valid), weight * valid.any(-1))
      for name, value in fit.items()
      if name in self.weights
    }
    values = self.pose_losses(out, rows, valid, batch, model)
    terms |= {name: losses.weighted_mean(value, weight) for name, value in values.items() if name in self.weights}
    return base.LossOut.weighted(terms, dict(state), self.weights)

  def pose_losses(
    self, out: Mapping[str, Any], rows: Float[Array, "b a 218"], valid: Bool[Array, "b a"], batch: schema.Batch,
    model: HandModel,
  ) -> dict[str, Float[Array, " b"]]:  # fmt: skip
    """Losses of the mode and of two samples of each picture, which need no annotated parameters but "mode"."""
    drawn = jnp.concatenate([out["mode"], out["samples"]], axis=1)
    joints_cam, joints_crop = self.joints(drawn, batch, model.tips_only())
    error = losses.squared_error(out["mode"][:, 0], rows[:, 0], jnp.broadcast_to(valid[:, :1], rows[:, 0].shape))
    visible = batch["joints_visible"] & batch["joints_img_valid"]
    true_crop = crop.apply_affine(batch["crop_from_img"], batch["joints_img"])
    difference = self.code.normalised(joints_crop) - self.code.normalised(true_crop)[:, None]
    distance = jnp.where(visible[:, None, :, :, None], jnp.abs(difference), 0).sum(-1)
    visible_count = jnp.maximum(visible.sum((1, 2)), 1)[:, None]
    projection = distance.sum((2, 3)) / visible_count
    return {
      "mode": error.sum(-1),
      "joints": losses.right_relative_error(joints_cam[:, 0], batch["joints_cam"], batch["joints_cam_valid"], _UNIT_MM),
      "projection": projection[:, 0],
      "projection_samples": projection[:, 1:].mean(1),
      "orthonormality": vector.orthonormality(out["mode"]).mean(1) + vector.orthonormality(out["samples"]).mean(1),
    }

  def joints(
    self, rows: Float[Array, "b s 218"], batch: schema.Batch, model: HandModel
  ) -> tuple[Float[Array, "b s 2 21 3"], Float[Array, "b s 2 21 2"]]:
    """Joints of vectors: camera frame (mm), and pixels of the crop."""
    intrinsics, affine = lift.any_camera(batch), batch["crop_from_img"]
    decoded = self.code.decode(rows, model, affine, intrinsics)
    joints_cam: Any = model.forward(decoded.rotations, decoded.shape, decoded.translation_mm).keypoints
    joints_img = camera.project(joints_cam.at[..., 2].max(_NEAREST_MM), intrinsics[:, None, None])
    joints_crop: Any = crop.apply_affine(affine, joints_img)
    return joints_cam, joints_crop

  # ---- prediction --------------------------------------------------------------------

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """See `schema.PREDICTION`; both hands are said to be there, for the vector has both.

    A joint's confidence is the share of samples that have it near the mode's place in the picture: nearer than a tenth
    of the hand's size there (`evaluation.metrics.confidence`). One sample more is counted on each side, so that it is
    never 0, and whoever places hands by it also places the least sure.
    """
    model = variables["constants"]["hand_model"]
    rows, valid = self.encoded(batch["annotations_mano"], batch["annotations_valid"], batch, model)
    without_constants = {kind: tree for kind, tree in variables.items() if kind != "constants"}
    streams: Any = {"samples": rng, "dropout": rng}
    out: Any = self.network.apply(
      without_constants, batch["image"], rows, self.samples, method=distribution.predicted, rngs=streams
    )
    samples_cam, samples_crop = self.joints(out["samples"], batch, model.tips_only())
    intrinsics, affine = lift.any_camera(batch), batch["crop_from_img"]
    decoded = self.code.decode(out["mode"], model, affine, intrinsics)
    posed = model.forward(decoded.rotations, decoded.shape, decoded.translation_mm)
    joints_cam = posed.keypoints[:, 0]
    joints_img = camera.project(joints_cam.at[..., 2].max(_NEAREST_MM), intrinsics[:, None])
    joints_crop = crop.apply_affine(affine, joints_img)
    size = crop.box_around(joints_crop, jnp.ones(joints_crop.shape[:-1], bool), margin=1.0)[..., 2:].max(-1)
    far = jnp.linalg.norm(samples_crop - joints_crop[:, None], axis=-1)
    wrist = joints_cam[..., skeleton.WRIST, :]
    angles = rotations.axis_angle_from_matrix(decoded.rotations[:, 0]).reshape(len(joints_cam), 2, 48)
    prediction = {
      "joints_img": joints_img,
      "joints_rel_depth": joints_cam[..., 2] - wrist[..., 2:],
      "rel_root_depth": wrist[:, schema.LEFT, 2] - wrist[:, schema.RIGHT, 2],
      "hand_prob": jnp.ones(joints_cam.shape[:2]),
      "confidence": ((far < _NEAR * size[:, None, :, None]).sum(1) + 1) / (far.shape[1] + 2),
      "scale_known": batch["camera_valid"],
      "joints_cam": joints_cam,
      "root_cam": wrist,
      "root_cam_valid": jnp.repeat(batch["camera_valid"][:, None], 2, 1),
      "vertices_cam": posed.vertices[:, 0],
      "mano": jnp.concatenate([angles, decoded.shape[:, 0], decoded.translation_mm[:, 0]], axis=-1),
      "samples": samples_cam,
    }
    if out["log_prob"] is not None:
      prediction["log_prob"] = out["log_prob"]
    if out["density"] is not None:
      prediction["annotations_log_prob"] = jnp.where(valid, out["density"], 0)
    return prediction

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables of the backbone from torchvision's ResNet; nobody has released this paper's own.

    Raises:
      ValueError: other tensors, or of other shapes.
    """
    if "conv1.weight" not in state_dict:
      raise ValueError(f"nobody has released weights of this system; {sorted(state_dict)[:3]} are not torchvision's")
    trunk = import_torchvision(state_dict, *structure(self.depth))
    image = jnp.zeros((1, *self.crop_hw, 3))
    shapes: Any = jax.eval_shape(lambda: ResNet(self.depth, self.width).init(jax.random.key(0), image, False))
    return subtrees.nested("backbone", check_shapes(trunk, shapes))


@dataclasses.dataclass(frozen=True)
class HandFlow(PoseDistribution):
  """HandFlowNet.

  Attributes:
    layers, blocks, coupling, batch_norm, smallest_scale: of `models.flow.glow.ConditionalGlow`.
    nll_weight: of the negative log-likelihood.
    determinant_weight: of what lets samples spread; it must be less than `nll_weight`, or the flow grows without end.
  """

  layers: int = 4
  blocks: int = 2
  coupling: Literal["additive", "affine"] = "affine"
  batch_norm: bool = True
  smallest_scale: float = 0.25
  nll_weight: float = 1e-3
  determinant_weight: float = 5e-4

  def __post_init__(self):
    super().__post_init__()
    if self.nll_weight and self.determinant_weight >= self.nll_weight:
      raise ValueError(
        f"determinant_weight={self.determinant_weight} is not less than nll_weight={self.nll_weight}: the flow would "
        "grow without end"
      )
    if self.smallest_scale <= 0:
      raise ValueError(f"smallest_scale={self.smallest_scale} is not more than 0: couplings could not be inverted")

  @property
  def distribution(self) -> Flow:
    return Flow(
      vector.SIZE, self.context, self.hidden, self.layers, self.blocks, self.coupling, self.dropout, self.batch_norm,
      self.smallest_scale,
    )  # fmt: skip

  @property
  def fit_weights(self) -> dict[str, float]:
    # Without a likelihood nothing holds the determinant back.
    return {"nll": self.nll_weight, "determinant": self.determinant_weight if self.nll_weight else 0.0}

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables of the backbone (torchvision's ResNet), or of the flow by the names of ProHMR's library.

    Raises:
      ValueError: a key that is unknown, missing or of another shape; or a scale that is not that of the library.
    """
    prefix = "_transform._transforms."
    if not any(key.startswith(prefix) for key in state_dict):
      return super().import_weights(state_dict)
    if self.coupling == "affine" and self.smallest_scale != SMALLEST_SCALE:
      raise ValueError(f"smallest_scale={self.smallest_scale}, and these weights are of {SMALLEST_SCALE}: set it so")
    kept = [len(Halves(vector.SIZE, i % 2 == 1).kept) for i in range(self.layers)]
    flow = convert(state_dict, name_map("", "", self.layers, self.blocks, kept))
    rows, context = jnp.zeros((1, 1, vector.SIZE)), jnp.zeros((1, self.context))
    shapes: Any = jax.eval_shape(lambda: self.distribution.init(jax.random.key(0), rows, context, method="start"))
    return subtrees.nested("distribution", check_shapes(flow, shapes))


def _mean(values: Float[Array, "b a"], valid: Bool[Array, "b a"]) -> Float[Array, " b"]:
  """Of the annotations that there are."""
  return jnp.where(valid, values, 0).sum(-1) / jnp.maximum(valid.sum(-1), 1)


def build(config: Any) -> HandFlow:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(HandFlow, config, hand_model=config.hand_model)
