"""Name map of HASM's release (mmsegmentation, entry "state_dict")."""

from __future__ import annotations

from collections.abc import Sequence

from jaxhands.weights.convert import Tensor, conv, norm
from jaxhands.weights.mit import mmseg, pointwise

# Heads of the release, in its order.
_HEADS = ("left_amodal", "left_visible", "right_amodal", "right_visible")


def hasm(blocks: Sequence[int]) -> list[Tensor]:
  """The tensors of the release, for a trunk of `models.backbones.mit.structure`."""
  tensors = mmseg("backbone.", "backbone/", blocks)
  for stage in range(len(blocks)):
    theirs, ours = f"decode_head.convs.{stage}", f"decoder/narrow{stage + 1}"
    tensors += [*conv(f"{theirs}.conv", f"{ours}/conv"), *norm(f"{theirs}.bn", f"{ours}/bn")]
  for number, head in enumerate(_HEADS, start=1):
    theirs, ours = f"decode_head.fusion_conv{number}", f"decoder/{head}"
    tensors += [Tensor(f"{theirs}.conv.weight", f"params/{ours}/fusion", lambda w: w[:, :, 0, 0].T)]
    tensors += norm(f"{theirs}.bn", f"{ours}/bn")
    tensors += pointwise(f"decode_head.conv_seg{number}", f"{ours}/scores")
  return tensors
