"""What twins are made of. Maps are [B, C, h, w] in channels-last layout; tokens are [B, h, w, C], the same memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jaxhands import schema

Batch = Mapping[str, Tensor]  # as `Twin.prepared` leaves it, with pictures as [B, 3, h, w]


class Twin(nn.Module):
  """A network with its losses."""

  def forward(self, batch: Batch) -> Any:
    """What the network makes of a batch."""
    raise NotImplementedError

  def losses(self, batch: Batch) -> dict[str, Tensor]:
    """The loss of each objective."""
    raise NotImplementedError

  def prepared(self, batch: schema.Batch, train: bool) -> schema.Batch:
    """In JAX: a batch as our `device_ops` leaves it, with what our step makes of it before any network."""
    return batch

  def trained(self) -> dict[str, list[nn.Parameter]]:
    """The parameters that each objective changes; one objective, which changes all, unless a twin says otherwise."""
    return {"loss": [parameter for parameter in self.parameters() if parameter.requires_grad]}


def conv_norm(
  inputs: int, features: int, kernel: int = 3, stride: int = 1, *, bias: bool = False, relu: bool = True,
  dilation: int = 1,
) -> nn.Sequential:  # fmt: skip
  """Convolution, batch norm and, unless told, ReLU."""
  padding = dilation * (kernel // 2)
  conv = nn.Conv2d(inputs, features, kernel, stride, padding, dilation, bias=bias)
  return nn.Sequential(conv, nn.BatchNorm2d(features), *([nn.ReLU(inplace=True)] if relu else []))


class Residual(nn.Module):
  """ReLU of the sum of two ways; `shortcut` None is the input itself."""

  def __init__(self, way: nn.Module, shortcut: nn.Module | None = None):
    super().__init__()
    self.way, self.shortcut = way, shortcut or nn.Identity()

  def forward(self, x: Tensor) -> Tensor:
    return F.relu(self.way(x) + self.shortcut(x), inplace=True)


def residual(kind: str, inputs: int, features: int, stride: int = 1) -> Residual:
  """ResNet's block: two 3x3 convolutions ("basic"), or 1x1, 3x3 and 1x1 ("bottleneck")."""
  if kind == "basic":
    outputs = features
    way = [conv_norm(inputs, features, 3, stride), conv_norm(features, outputs, 3, relu=False)]
  else:
    outputs = 4 * features
    way = [conv_norm(inputs, features, 1), conv_norm(features, features, 3, stride),
           conv_norm(features, outputs, 1, relu=False)]  # fmt: skip
  changes = stride != 1 or inputs != outputs
  return Residual(nn.Sequential(*way), conv_norm(inputs, outputs, 1, stride, relu=False) if changes else None)


def upsampler(kind: str, inputs: int, features: int, doublings: int) -> nn.Sequential:
  """Doublings by transposed convolutions ("deconv"), or by 1x1 ones and a shuffle of their channels."""
  made: list[nn.Module] = []
  for i in range(doublings):
    source = features if i else inputs
    if kind == "deconv":
      made.append(nn.ConvTranspose2d(source, features, 4, 2, 1, bias=False))
    else:
      made += [nn.Conv2d(source, 4 * features, 1, bias=False), nn.PixelShuffle(2)]
    made += [nn.BatchNorm2d(features), nn.ReLU(inplace=True)]
  return nn.Sequential(*made)


def dense_head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
  """Two fully connected layers."""
  return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))


# ---- transformers ----------------------------------------------------------------


class Attention(nn.Module):
  """Of all tokens to those of a map that a strided convolution has made `reduction` times smaller."""

  def __init__(self, channels: int, heads: int, reduction: int):
    super().__init__()
    self.heads = heads
    self.reduction = nn.Conv2d(channels, channels, reduction, reduction) if reduction > 1 else None
    self.norm = nn.LayerNorm(channels) if reduction > 1 else None
    self.query, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
    self.key_value = nn.Linear(channels, 2 * channels)

  def forward(self, x: Tensor) -> Tensor:
    def of_heads(tokens: Tensor) -> Tensor:
      return tokens.reshape(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    source = x
    if self.reduction is not None and self.norm is not None:
      source = self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    key, value = self.key_value(source).chunk(2, -1)
    mixed = F.scaled_dot_product_attention(of_heads(self.query(x)), of_heads(key), of_heads(value))
    return self.out(mixed.transpose(1, 2).reshape(x.shape))


class FeedForward(nn.Module):
  """Fully connected, depthwise 3x3 convolution, GELU, fully connected."""

  def __init__(self, channels: int, ratio: int):
    super().__init__()
    inner = ratio * channels
    self.expand, self.contract = nn.Linear(channels, inner), nn.Linear(inner, channels)
    self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)

  def forward(self, x: Tensor) -> Tensor:
    inner = self.depthwise(self.expand(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return self.contract(F.gelu(inner))


class TransformerBlock(nn.Module):
  """x + attention(norm(x)), then x + feed-forward(norm(x)); an example skips a branch with probability `drop`."""

  def __init__(self, channels: int, heads: int, ratio: int, reduction: int, drop: float = 0.0):
    super().__init__()
    self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
    self.attention, self.ffn, self.drop = Attention(channels, heads, reduction), FeedForward(channels, ratio), drop

  def forward(self, x: Tensor) -> Tensor:
    x = x + self._dropped(self.attention(self.norm1(x)))
    return x + self._dropped(self.ffn(self.norm2(x)))

  def _dropped(self, branch: Tensor) -> Tensor:
    if not self.training or not self.drop:
      return branch
    kept = torch.rand(len(branch), 1, 1, 1, device=branch.device, dtype=branch.dtype) >= self.drop
    return branch * kept / (1 - self.drop)


# ---- losses -----------------------------------------------------------------------


def masked_l1(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
  """Absolute differences, 0 where masked."""
  return torch.where(mask, predicted - target, 0).abs()


def binary_cross_entropy(scores: Tensor, target: Tensor, mask: Tensor) -> Tensor:
  """Of each entry, 0 where masked."""
  return F.binary_cross_entropy_with_logits(scores, target, reduction="none") * mask


def gaussian(centres: Tensor, shape: tuple[int, ...], sigma: float) -> Tensor:
  """Gaussians of height 1 around centres [B, J, n] (x, y[, z]): [B, J, h, w], or [B, J, d, h, w]."""
  made: Tensor | None = None
  for axis, size in enumerate(shape):
    at = torch.arange(size, dtype=centres.dtype, device=centres.device)
    factor = torch.exp(-0.5 / sigma**2 * (at - centres[..., len(shape) - 1 - axis, None]) ** 2)
    made = factor if made is None else made[..., None] * factor[(slice(None), slice(None), *[None] * axis)]
  assert made is not None
  return made


def expectation(weights: Tensor) -> Tensor:
  """Mean (x, y[, z]) under weights [B, J, h, w] or [B, J, d, h, w] that sum to 1."""
  spatial = range(2, weights.ndim)
  means = []
  for axis in reversed(spatial):
    along = weights.sum([other for other in spatial if other != axis])
    means.append((along * torch.arange(along.shape[-1], dtype=along.dtype, device=along.device)).sum(-1))
  return torch.stack(means, -1)


def soft_argmax(scores: Tensor) -> Tensor:
  """Mean index under the softmax of the last axis."""
  return (scores.softmax(-1) * torch.arange(scores.shape[-1], device=scores.device)).sum(-1)


def heatmap_cross_entropy(scores: Tensor, cells: Tensor, mask: Tensor, sigma: float) -> Tensor:
  """Of the softmax over the cells of [B, J, h, w] with a Gaussian around each true cell that sums to 1; [B, J]."""
  target = gaussian(cells, scores.shape[2:], sigma).flatten(2)
  logs = F.log_softmax(scores.flatten(2), -1)
  return -(logs * target / target.sum(-1, keepdim=True)).sum(-1) * mask
