"""VGG-16's weights up to its third pooling, from a file of the user's.

Keras' `.h5` (needs `pip install 'jaxhands[vgg]'`), or torchvision's file as it is published (or `.npz`). Their inputs
differ: torchvision's networks see RGB normalised with ImageNet's mean and deviation, Keras' see BGR in 0..255 without
a mean. The latter's first layer is changed, so that all take the former.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.paths import expanded
from jaxhands.weights import files
from jaxhands.weights.convert import IGNORED, Tensor, conv, convert

Params = dict[str, Any]
_CONVOLUTIONS = (2, 2, 3)  # of the three blocks
_WIDTH = 64  # of the first block; it doubles
_IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


@functools.lru_cache(maxsize=1)
def read(path: str) -> Params:
  """Parameters of `models.backbones.vgg.pools` from a file.

  Raises:
    FileNotFoundError: there is none.
    ModuleNotFoundError: h5py is missing.
    ValueError: neither Keras' nor torchvision's, or a layer is missing or has another shape; the message names it.
  """
  file = expanded(path)
  if not file.is_file():
    raise FileNotFoundError(f"config.vgg: there is no file {file}")
  if file.suffix in (".h5", ".hdf5"):
    params = _from_keras(file)
  else:
    params = import_vgg(files.state_dict(files.read(file)))
  channels = 3
  for layer, block in _layers():
    expected = (3, 3, channels, channels := _WIDTH << block)
    if params[layer]["kernel"].shape != expected:
      raise ValueError(f"{file}: the kernel of {layer} is {params[layer]['kernel'].shape}, VGG-16 has {expected}")
  return params


def import_vgg(state_dict: Mapping[str, np.ndarray]) -> Params:
  """Parameters from torchvision's `features.N`, or from HDR's extractor, which calls them `enc_BLOCK.N`.

  Later layers and the classifier are left out.

  Raises:
    ValueError: see `convert`.
  """
  of_hdr = "enc_1.0.weight" in state_dict
  tensors, number = [], 0
  for block, count in enumerate(_CONVOLUTIONS, start=1):
    for i in range(1, count + 1):
      theirs = f"enc_{block}.{2 * (i - 1)}" if of_hdr else f"features.{number}"
      tensors += conv(theirs, f"conv{block}_{i}", bias=True)
      number += 2  # a ReLU follows each convolution
    number += 1  # and a pooling each block
  known = {tensor.source for tensor in tensors}
  rest = (
    [] if of_hdr else [key for key in state_dict if key not in known and key.startswith(("features.", "classifier."))]
  )
  return convert(state_dict, [*tensors, *(Tensor(key, IGNORED) for key in rest)])["params"]


def _from_keras(file: pathlib.Path) -> Params:
  """Of Keras' layers `blockN_convM`, wherever in the file they lie; or of blocks of `conv2d`, as Keras 3 writes."""
  try:
    import h5py  # pyright: ignore[reportMissingImports]
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"reading {file} needs h5py: pip install 'jaxhands[vgg]'") from error
  arrays: dict[str, np.ndarray] = {}

  def keep(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
      arrays[name] = np.asarray(item)

  with h5py.File(file) as content:
    content.visititems(keep)
  params: Params = {}
  for layer, _ in _layers():
    block, number = layer[4], int(layer[6])
    theirs = f"block{block}_conv{number}"
    nested = f"block{block}/layers/conv2d{f'_{number - 1}' if number > 1 else ''}/"
    of_layer = [value for name, value in arrays.items() if theirs in name.split("/") or name.startswith(nested)]
    kernels, biases = ([value for value in of_layer if value.ndim == rank] for rank in (4, 1))
    if len(kernels) != 1 or len(biases) != 1:
      raise ValueError(f"{file} has no layer {theirs!r} with one kernel and one bias; it has {sorted(arrays)[:6]}")
    params[layer] = {"kernel": kernels[0].astype(np.float32), "bias": biases[0].astype(np.float32)}
  return params | {"conv1_1": _for_normalised_rgb(params["conv1_1"])}


def _for_normalised_rgb(first: Params) -> Params:
  """The first layer for RGB normalised with ImageNet's mean and deviation, instead of BGR in 0..255 without a mean.

  Of x, normalised, the old input is 255 (deviation x + mean) - old mean. The factor goes into the kernel. The two means
  differ by half of 255 grey levels at most, which is left out: as a bias it would be wrong where the picture is padded.
  """
  kernel = first["kernel"][:, :, ::-1] * (255 * _IMAGENET_STD)[:, None]
  return {"kernel": np.ascontiguousarray(kernel), "bias": first["bias"]}


def _layers() -> list[tuple[str, int]]:
  """Name and block (from 0) of each convolution."""
  return [(f"conv{block + 1}_{i + 1}", block) for block, count in enumerate(_CONVOLUTIONS) for i in range(count)]
