"""Name map of RootNet's release (`snapshot_*.pth.tar`, entry "network")."""

from __future__ import annotations

from collections.abc import Sequence

from jaxhands.weights.convert import Tensor, conv, conv_transpose, norm
from jaxhands.weights.resnet import resnet


def rootnet(blocks: Sequence[int], kind: str) -> list[Tensor]:
  """The 340 tensors of the release, for a trunk of `models.backbones.resnet.structure`."""
  tensors = resnet("backbone.", "backbone/", blocks, kind)
  for i in range(3):
    tensors += conv_transpose(f"root.deconv_layers.{3 * i}", f"upsampler/deconv{i}")
    tensors += norm(f"root.deconv_layers.{3 * i + 1}", f"upsampler/bn{i}")
  tensors += conv("root.xy_layer", "position/conv", bias=True)
  # A 1x1 convolution on the mean of the map is a fully connected layer.
  gamma = Tensor("root.depth_layer.weight", "params/depth/kernel", lambda w: w[:, :, 0, 0].T)
  return [*tensors, gamma, Tensor("root.depth_layer.bias", "params/depth/bias")]
