"""Name maps of Intershape's two releases, and of an ImageNet trunk as its encoder.

The releases list joints as their MANO layers do, and so does their network of heatmaps. Ours have InterHand2.6M's order
everywhere: channels of joints change places on the way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from jaxhands import schema
from jaxhands.hands import skeleton
from jaxhands.hands.model import EMBEDDED
from jaxhands.weights.convert import IGNORED, Tensor, Variables, conv, linear, norm
from jaxhands.weights.internet import internet
from jaxhands.weights.resnet import import_torchvision

Release = Literal["v1", "v2"]
_ORDERS = {"v1": skeleton.INTERHAND_FROM_SNAP, "v2": skeleton.INTERHAND_FROM_MANO21}
_HEATMAPS, _REGRESSION = "heatmap_predictor.", "mesh_reg."
_HAND_MODEL = f"{_REGRESSION}mano_layer."  # MANO's own arrays, which nobody may pass on
_BINS = 16  # of each heatmap that the encoder sees
_MAPS = 2 * skeleton.NUM_JOINTS * _BINS
_NEW_STD = 0.01  # of the weights that an ImageNet trunk lacks
_log = logging.getLogger(__name__)


def intershape(release: Release, blocks: Sequence[int], refinements: int, keys: Iterable[str]) -> list[Tensor]:
  """The tensors of a release, 545 of the first and 568 of the second, and those of MANO in it, which are left out.

  Args:
    release: whose names and order of joints.
    blocks: of both ResNets' stages, made of bottlenecks.
    refinements: number of them.
    keys: of the file, for the names of what its MANO layers hold.
  """
  order = _ORDERS[release]
  tensors = [_in_our_order(_moved(tensor), order) for tensor in internet(blocks, "bottleneck")]
  tensors += _encoder(release, blocks, order)
  for hand in schema.HANDS:
    tensors += _parameters(f"{_REGRESSION}{hand}_mano_branch", f"initial_{hand}")
    for i in range(refinements):
      tensors += _parameters(f"{_REGRESSION}cascaded_{hand}_mano_branch_list.{i}", f"refined{i}_{hand}")
      for theirs, ours in (("conv1", "conv1"), ("conv2", "conv2"), ("conv3", "conv3"), ("downsample", "shortcut")):
        source = f"{_REGRESSION}cascaded_{hand}_feature_extractor_list.{i}.{theirs}"
        tensors += conv(source, f"features{i}_{hand}/{ours}")
  tensors += linear(f"{_REGRESSION}trans_branch.decoder.0", "relative/hidden")
  tensors += linear(f"{_REGRESSION}trans_branch.final_layer", "relative/scores")
  bare = (key.removeprefix("module.") for key in keys)  # as `convert` reads them
  return tensors + [Tensor(key, IGNORED) for key in bare if key.startswith(_HAND_MODEL)]


def released_as(keys: Iterable[str]) -> Release | None:
  """Which release names its tensors so; None = neither."""
  found = set(keys)
  if f"{_REGRESSION}base_net.conv1.weight" not in found:
    return None
  return "v2" if f"{_REGRESSION}base_net.bn1.weight" in found else "v1"


def warn_without_mano(release: Release, identity: str) -> None:
  """Says so where the hand model of this identity is not MANO, whose parameters both releases estimate."""
  if identity == EMBEDDED:
    _log.warning(
      "Intershape's release %s estimates MANO's parameters, and the hand model is %s: meshes and parameters will be "
      "wrong; give --hand-model MANO_DIR (in Python hand_model=, in a config hand_model), the folder of MANO's files",
      release, identity,
    )  # fmt: skip


def import_trunk(
  state_dict: Any, blocks: Sequence[int], kind: str, map_channels: int, paths: Iterable[str]
) -> Variables:
  """The encoder's variables from torchvision's ResNet, without the norms that the encoder does not have.

  The channels of heatmaps, which the trunk knows nothing of, start as small normal values, the same at every import.

  Args:
    state_dict: of the file.
    blocks, kind: as `models.backbones.resnet.structure` says.
    map_channels: of the heatmaps that layer3 sees besides.
    paths: of the encoder's variables, like "params/conv1/kernel".
  Raises:
    ValueError: see `convert`.
  """
  wanted, rng = set(paths), np.random.default_rng(0)

  def kept(tree: Any, prefix: str) -> Any:
    found = {}
    for key, value in tree.items():
      path = f"{prefix}/{key}"
      if isinstance(value, dict):
        value = kept(value, path)
      elif path not in wanted:
        continue
      elif path in ("params/layer3_0/conv1/kernel", "params/layer3_0/downsample_conv/kernel"):
        new = rng.normal(0, _NEW_STD, (*value.shape[:2], map_channels, value.shape[3]))
        value = np.concatenate([value, new.astype(np.float32)], axis=2)
      if not isinstance(value, dict) or value:
        found[key] = value
    return found

  trunk = import_torchvision(state_dict, blocks, kind)
  return {key: tree for key, value in trunk.items() if (tree := kept(value, key))}


def _encoder(release: Release, blocks: Sequence[int], order: np.ndarray) -> list[Tensor]:
  source = f"{_REGRESSION}base_net."
  tensors = conv(f"{source}conv1", "encoder/conv1")
  if release == "v2":
    tensors += norm(f"{source}bn1", "encoder/bn1")
  else:  # a classifier that nothing uses
    tensors += [Tensor(f"{source}fc.{name}", IGNORED) for name in ("weight", "bias")]
  shortcut = "downsample.0" if release == "v2" else "downsample"
  for stage, count in enumerate(blocks, start=1):
    for i in range(count):
      theirs, ours = f"{source}layer{stage}.{i}.", f"encoder/layer{stage}_{i}/"
      pairs = [(f"conv{k}", f"conv{k}") for k in (1, 2, 3)] + ([(shortcut, "downsample_conv")] if i == 0 else [])
      for there, here in pairs:
        (found,) = conv(f"{theirs}{there}", f"{ours}{here}")
        if (stage, i) == (3, 0) and here in ("conv1", "downsample_conv"):
          found = _after(found, lambda kernel: _maps_in_our_order(kernel, order))
        tensors.append(found)
      if i == 0 and release == "v2":
        tensors += norm(f"{theirs}downsample.1", f"{ours}downsample_bn")
  return tensors


def _parameters(source: str, target: str) -> list[Tensor]:
  """The layers that give one hand's parameters."""
  tensors = [one for i in range(4) for one in linear(f"{source}.base_layer.{2 * i}", f"{target}/hidden{i}")]
  return tensors + linear(f"{source}.pose_reg", f"{target}/pose") + linear(f"{source}.shape_reg.0", f"{target}/shape")


def _moved(tensor: Tensor) -> Tensor:
  """A tensor of InterNet as a part of Intershape, there and here."""
  assert isinstance(tensor.target, str)
  collection, _, path = tensor.target.partition("/")
  target = IGNORED if tensor.target == IGNORED else f"{collection}/heatmaps/{path}"
  return tensor._replace(source=_HEATMAPS + tensor.source, target=target)


def _in_our_order(tensor: Tensor, order: np.ndarray) -> Tensor:
  """Of what gives heatmaps, channels are (joint, bin)."""
  if ".joint_conv_" not in tensor.source:
    return tensor
  return _after(tensor, lambda w: w.reshape(skeleton.NUM_JOINTS, -1, *w.shape[1:])[order].reshape(w.shape))


def _maps_in_our_order(kernel: np.ndarray, order: np.ndarray) -> np.ndarray:
  """Of an OIHW kernel that sees heatmaps, the last input channels are (hand, joint, bin)."""
  own, maps = np.split(kernel, [kernel.shape[1] - _MAPS], axis=1)
  ordered = maps.reshape(len(maps), 2, skeleton.NUM_JOINTS, _BINS, *maps.shape[2:])[:, :, order]
  return np.concatenate([own, ordered.reshape(maps.shape)], axis=1)


def _after(tensor: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
  """The tensor, changed in the reference's layout first."""
  return tensor._replace(transform=lambda w, transform=tensor.transform: transform(change(w)))
