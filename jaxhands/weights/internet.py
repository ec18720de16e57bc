"""Name map of InterNet's release (`snapshot_*.pth.tar`, entry "network")."""

from __future__ import annotations

from collections.abc import Sequence

from jaxhands.weights.convert import Tensor, conv, conv_transpose, linear, norm
from jaxhands.weights.resnet import resnet

# Branch 1 of the release holds joints 0..20, which are the right hand's on InterHand2.6M.
_BRANCHES = {"right": 1, "left": 2}


def internet(blocks: Sequence[int], kind: str) -> list[Tensor]:
  """The 389 tensors of the release, for a trunk of `models.backbones.resnet.structure`."""
  tensors = resnet("backbone_net.resnet.", "backbone/", blocks, kind)
  for hand, branch in _BRANCHES.items():
    for i in range(3):
      theirs = f"pose_net.joint_deconv_{branch}"
      tensors += conv_transpose(f"{theirs}.{3 * i}", f"upsampler_{hand}/deconv{i}")
      tensors += norm(f"{theirs}.{3 * i + 1}", f"upsampler_{hand}/bn{i}")
    tensors += conv(f"pose_net.joint_conv_{branch}.0", f"heatmap_{hand}/conv", bias=True)
  for theirs, ours in (("root_fc", "root_depth"), ("hand_fc", "handedness")):
    tensors += linear(f"pose_net.{theirs}.0", f"{ours}/hidden")
    tensors += linear(f"pose_net.{theirs}.2", f"{ours}/scores")
  return tensors
