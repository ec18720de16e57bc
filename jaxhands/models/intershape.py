"""Intershape's second network: model parameters of both hands from a picture and what its heatmaps say.

Zhang et al. (ICCV 2021), 3.2 and 3.3. A ResNet that also sees the heatmaps; for each hand a first estimate from the
map that is left where its heatmaps are high; then estimates that refine each other: the joints of the last one, drawn
into the picture, say where to look next, in ever finer maps, and both hands' parameters are read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxhands import schema
from jaxhands.geometry import align
from jaxhands.geometry.attention import joint_attention
from jaxhands.hands import skeleton
from jaxhands.hands.model import NUM_ROTATIONS, HandModel
from jaxhands.models.backbones.resnet import Norm, ResNet
from jaxhands.models.conv import Conv
from jaxhands.models.heads.dense import DenseHead

Attention = Literal["rendered", "heatmap", "none"]
CameraSource = Literal["fit", "predicted"]
Context = Literal["both", "own"]
Level = Literal["layer2", "layer3", "layer4"]

MIDDLE1 = skeleton.MCPS[2]  # joint that hands are measured from; its bone to the wrist is their unit of length
_POSE, _SHAPE = 3 * NUM_ROTATIONS, 10
_OUTPUT_STD = 0.01  # of the weights that give parameters: hands begin near the mean pose
_SHOWN_MM = 300.0  # that a crop shows, more or less: where a predicted camera begins


class Reading(NamedTuple):
  """What heatmaps [g, g] of both hands say; cells as `codecs.HeatmapCodec` counts them.

  maps [b, h, w, c]: what the encoder sees of them, at stride 8 · attention [b, 2, g, g]: how surely a cell has any
  joint of a hand · peaks [b, 2, 21, 3]: x and y of each joint in cells, and its weight in the camera's fit.
  """

  maps: jax.Array
  attention: jax.Array
  peaks: jax.Array


class PoseAwareFeatures(nn.Module):
  """Attention, then a bottleneck without norm and a mean over the map (figure 3).

  Attributes:
    features: that come out.
    stride: of the 3x3 convolution, so that all levels end in maps of one size.
    kernel_std: of the initial weights; 0 = He's.
  """

  features: int
  stride: int
  kernel_std: float = 0.0
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], attention: Float[Array, "b h w"] | None
  ) -> Float[Array, "b {self.features}"]:
    def conv(features: int, kernel: int, stride: int, name: str) -> nn.Module:
      init = _init(self.kernel_std)
      return Conv(features, kernel, stride, use_bias=False, dtype=self.dtype, kernel_init=init, name=name)

    inner = x.shape[-1] // 2
    x = attended(x, attention)
    y = nn.relu(conv(inner, 1, 1, "conv1")(x))
    y = nn.relu(conv(inner, 3, self.stride, "conv2")(y))
    y = conv(self.features, 1, 1, "conv3")(y)
    return pooled(nn.relu(y + conv(self.features, 1, self.stride, "shortcut")(x)))


class HandParameters(nn.Module):
  """Fully connected layers with ReLU, then pose and shape of one hand.

  Attributes:
    hidden: units of each layer.
    layers: before the last.
    kernel_std: of the initial weights; 0 = He's.
  """

  hidden: int = 512
  layers: int = 4
  kernel_std: float = 0.0
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b c"]) -> tuple[Float[Array, "b 48"], Float[Array, "b 10"]]:
    """Rotation vectors (rad), to be added to the mean pose, and shape; float32."""
    for i in range(self.layers):
      init = _init(self.kernel_std)
      x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=init, name=f"hidden{i}")(x))

    def output(size: int, name: str) -> jax.Array:
      init = nn.initializers.normal(_OUTPUT_STD)
      return nn.Dense(size, dtype=self.dtype, kernel_init=init, name=name)(x).astype(jnp.float32)

    return output(_POSE, "pose"), output(_SHAPE, "shape")


class HandRegression(nn.Module):
  """Encoder, first estimate and refinement of both hands.

  Attributes:
    depth, width, norm: of the encoder, `backbones.resnet.ResNet`.
    hidden: units of the layers that give parameters; what relates the hands has half of the encoder's channels.
    refinements: maps of the encoder that they see, in order; none = the first estimate is the last.
    attention: what features of a hand are looked for with: its joints as they are "rendered" from the last estimate
      (equation 3), its "heatmap", or "none".
    camera: that draws the joints: the closed-form "fit" to the heatmaps' peaks, without gradient, or "predicted".
    context: parameters that a refinement sees: of "both" hands or its "own".
    shared_shape: both hands have the mean of their shapes.
    kernel_std: of the initial weights behind the encoder; 0 = He's.
    thinned: how heatmap attention comes into smaller maps: of every block of cells the first ("cell", as the releases
      have it), or the largest ("block"), without which a map of few cells misses most joints.
  """

  depth: int = 50
  width: int = 64
  norm: Norm = "all"
  hidden: int = 512
  refinements: Sequence[Level] = ("layer4", "layer3", "layer2")
  attention: Attention = "rendered"
  camera: CameraSource = "fit"
  context: Context = "both"
  shared_shape: bool = False
  kernel_std: float = 0.0
  thinned: Literal["cell", "block"] = "cell"
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], reading: Reading, model: HandModel, train: bool) -> dict[str, Any]:
    """Estimates of both hands, the first one and those of each refinement: S in all.

    Args:
      image: normalised as the encoder wants it.
      reading: of the heatmaps.
      model: whose parameters are estimated.
      train: batch statistics.
    Returns:
      "pose" [B, S, 2, 48], rad, less the model's mean pose; "shape" [B, S, 2, 10]; "joints" [B, S, 2, 21, 3], mm, from
      the base of the middle finger, as the crop sees them; "rest_joints" [B, S, 2, 16, 3] of the unposed hands, mm;
      "relative" [B, 4], logarithm of the scale and the translation of equation 2; "camera" [B, S, 2, 3], scale (cells a
      mm; 0 = it cannot be told) and place (cells) of the base of the middle finger; "attention", a tuple: of each
      refinement the map of each hand [B, 2, n, n].
    """
    encoder = ResNet(self.depth, self.width, norm=self.norm, dtype=self.dtype, bn_groups=self.bn_groups, name="encoder")
    maps = encoder(image, train, reading.maps)
    top = maps["layer4"]
    shared = {"hidden": self.hidden, "kernel_std": self.kernel_std, "dtype": self.dtype}
    head = {"hidden": top.shape[-1] // 2, "kernel_std": _OUTPUT_STD, "dtype": self.dtype}
    tips = model.tips_only()
    grid = reading.attention.shape[-1]

    first = [
      HandParameters(name=f"initial_{hand}", **shared)(pooled(attended(top, self._seen(reading, side, top.shape[1]))))
      for side, hand in enumerate(schema.HANDS)
    ]
    relative = DenseHead(4, name="relative", **head)(pooled(top))
    cameras = DenseHead(6, name="camera", **head)(pooled(top)) if self.camera == "predicted" else None

    def estimate(parameters: list[tuple[jax.Array, jax.Array]]) -> dict[str, Any]:
      found = self._posed(tips, parameters)
      if cameras is None:
        fitted = align.weak_perspective(found["joints"], reading.peaks[..., :2], reading.peaks[..., 2])
        return found | {"camera": jax.lax.stop_gradient(fitted)}
      return found | {"camera": _camera(cameras.reshape(-1, 2, 3), grid)}

    estimates = [estimate(first)]
    drawn: list[jax.Array] = []
    for i, level in enumerate(self.refinements):
      last, seen = estimates[-1], maps[level]
      size, stride = seen.shape[1], seen.shape[1] // top.shape[1]
      if self.attention == "rendered":
        drawn.append(rendered(last["joints"], last["camera"], grid, size))
      parameters = []
      for side, hand in enumerate(schema.HANDS):
        where = drawn[-1][:, side] if self.attention == "rendered" else self._seen(reading, side, size)
        found = PoseAwareFeatures(top.shape[-1], stride, self.kernel_std, self.dtype, name=f"features{i}_{hand}")
        told = (1 - side, side) if self.context == "both" else (side,)
        known = [last[key][:, one] for one in told for key in ("shape", "pose")]
        inputs = jnp.concatenate([*known, found(seen, where), relative], axis=-1)
        parameters.append(HandParameters(name=f"refined{i}_{hand}", **shared)(inputs))
      estimates.append(estimate(parameters))
    stacked = {key: jnp.stack([one[key] for one in estimates], axis=1) for key in estimates[0]}
    return stacked | {"relative": relative, "attention": tuple(drawn)}

  def _seen(self, reading: Reading, side: int, size: int) -> jax.Array | None:
    """A hand's heatmap attention as a map of `size`, see `thinned`; None without attention."""
    if self.attention == "none":
      return None
    seen, step = reading.attention[:, side], reading.attention.shape[-1] // size
    if self.thinned == "cell":
      return seen[:, ::step, ::step]
    return seen[:, : step * size, : step * size].reshape(-1, size, step, size, step).max((2, 4))

  def _posed(self, tips: HandModel, parameters: list[tuple[jax.Array, jax.Array]]) -> dict[str, Any]:
    pose, shape = (jnp.stack(both, axis=1) for both in zip(*parameters, strict=True))
    if self.shared_shape:
      shape = jnp.broadcast_to(shape.mean(1, keepdims=True), shape.shape)
    turns = with_mean_pose(tips, pose).reshape(*pose.shape[:-1], NUM_ROTATIONS, 3)
    joints = tips.forward(turns, shape, jnp.zeros(3)).keypoints
    return {
      "pose": pose,
      "shape": shape,
      "joints": joints - joints[..., MIDDLE1 : MIDDLE1 + 1, :],
      "rest_joints": tips.rest_joints(shape),
    }


def with_mean_pose(model: HandModel, pose: Float[Array, "*b 2 48"]) -> Float[jax.Array, "*b 2 48"]:
  """Rotation vectors of which a flat hand has none, of those that are counted from the model's mean pose."""
  return pose + jnp.pad(model.hands_mean, ((0, 0), (3, 0)))


def projected(joints: Float[Array, "*b 21 3"], camera: Float[Array, "*b 3"]) -> Float[jax.Array, "*b 21 2"]:
  """Cells of joints (mm) in a weak-perspective camera (scale, x, y)."""
  return camera[..., None, :1] * joints[..., :2] + camera[..., None, 1:]


def rendered(
  joints: Float[Array, "b 2 21 3"], camera: Float[Array, "b 2 3"], grid: int, size: int
) -> Float[jax.Array, "b 2 {size} {size}"]:
  """Equation 3 of the joints as a camera for maps of `grid` cells sees them, in maps of `size` cells.

  1 everywhere where the camera has scale 0, which says that it could not be told: then nothing is left out.
  """
  drawn: Any = joint_attention(projected(joints, camera) * np.float32(size / grid), size)
  return jnp.where(camera[..., None, :1] == 0, 1, drawn)


def attended(x: Float[Array, "b h w c"], attention: Float[Array, "b h w"] | None) -> Float[Array, "b h w c"]:
  """A map, every channel times the attention."""
  return x if attention is None else x * attention[..., None].astype(x.dtype)


def pooled(x: Float[Array, "b h w c"]) -> Float[jax.Array, "b c"]:
  """Mean over the map, float32."""
  return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


def _camera(scores: jax.Array, grid: int) -> jax.Array:
  """Scale > 0 and place of a predicted camera; scores of 0 show a hand of a common size in the middle."""
  scale = grid / _SHOWN_MM * jnp.exp(scores[..., :1])
  return jnp.concatenate([scale, grid * (0.5 + scores[..., 1:])], axis=-1)


def _init(std: float) -> nn.initializers.Initializer:
  return nn.initializers.normal(std) if std else nn.initializers.he_normal()
