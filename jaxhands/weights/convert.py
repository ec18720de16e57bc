"""Turns a torch `state_dict` (as NumPy arrays) into variables, every tensor used exactly once.

A name map is a list of `Tensor`, made with `conv`, `conv_transpose`, `linear`, `norm` and their like below and with
`Tensor` itself for anything else:

    tensors = [*conv("layer1.0.conv1", "backbone/layer1_0/conv1"), *norm("layer1.0.bn1", "backbone/layer1_0/bn1")]
    variables = convert(state_dict, tensors)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Variables = dict[str, Any]
IGNORED = ""  # target of a tensor that is known and left out


class Tensor(NamedTuple):
  """One tensor of the reference.

  Attributes:
    source: its key in the `state_dict`.
    target: path in the variables, e.g. "params/backbone/conv1/kernel"; `IGNORED` to leave it out. Several paths for a
      tensor in which the reference packs several of ours.
    transform: array in the reference's layout -> array in ours; for several targets, an array for each.
  """

  source: str
  target: str | tuple[str, ...]
  transform: Callable[[np.ndarray], Any] = np.asarray

  @property
  def targets(self) -> tuple[str, ...]:
    return (self.target,) if isinstance(self.target, str) else self.target


def conv(source: str, target: str, bias: bool = False) -> list[Tensor]:
  """A 2D convolution: OIHW -> HWIO."""
  kernel = Tensor(f"{source}.weight", f"params/{target}/kernel", lambda w: w.transpose(2, 3, 1, 0))
  return [kernel, *_bias(source, target, bias)]


def conv_transpose(source: str, target: str, bias: bool = False) -> list[Tensor]:
  """A 2D transposed convolution for `models.conv.Deconv`: IOHW -> HWOI."""
  kernel = Tensor(f"{source}.weight", f"params/{target}/kernel", lambda w: w.transpose(2, 3, 1, 0))
  return [kernel, *_bias(source, target, bias)]


def linear(source: str, target: str, bias: bool = True) -> list[Tensor]:
  """A fully connected layer: OI -> IO."""
  return [Tensor(f"{source}.weight", f"params/{target}/kernel", np.transpose), *_bias(source, target, bias)]


def packed_linear(source: str, targets: Sequence[str], joint: str = ".") -> list[Tensor]:
  """Fully connected layers that share their input and lie in one tensor, output after output: OI -> IO of each.

  Args:
    source: name of the layer.
    targets: paths of ours, in order.
    joint: between the layer's name and "weight" or "bias".
  """
  count = len(targets)
  return [
    Tensor(f"{source}{joint}weight", tuple(f"params/{t}/kernel" for t in targets), lambda w: np.split(w.T, count, 1)),
    Tensor(f"{source}{joint}bias", tuple(f"params/{t}/bias" for t in targets), lambda b: np.split(b, count)),
  ]


def layer_norm(source: str, target: str) -> list[Tensor]:
  """A layer norm."""
  return [Tensor(f"{source}.weight", f"params/{target}/scale"), Tensor(f"{source}.bias", f"params/{target}/bias")]


def norm(source: str, target: str) -> list[Tensor]:
  """A batch norm with its running statistics; the step counter of the reference is left out."""
  return [
    Tensor(f"{source}.weight", f"params/{target}/scale"),
    Tensor(f"{source}.bias", f"params/{target}/bias"),
    Tensor(f"{source}.running_mean", f"batch_stats/{target}/mean"),
    Tensor(f"{source}.running_var", f"batch_stats/{target}/var"),
    Tensor(f"{source}.num_batches_tracked", IGNORED),
  ]


def convert(state_dict: Mapping[str, np.ndarray], tensors: Iterable[Tensor]) -> Variables:
  """Variables from a reference's `state_dict`; a prefix "module." (torch's data parallel wrapper) is dropped.

  Raises:
    ValueError: a key that no entry of `tensors` reads, one read twice, one that is needed and missing, or two
      entries with the same target; or a tensor whose shape is that of another layer. The message names them.
  """
  state_dict = {key.removeprefix("module."): np.asarray(value) for key, value in state_dict.items()}
  tensors = list(tensors)
  used = Counter(tensor.source for tensor in tensors)
  written = Counter(target for tensor in tensors for target in tensor.targets if target != IGNORED)
  _refuse("tensors that the name map does not know", [key for key in state_dict if key not in used])
  # What is left out may be missing: ImageNet weights from before torch 0.4.1 have no step counters.
  needed = [tensor.source for tensor in tensors if tensor.target != IGNORED]
  _refuse("tensors that are missing", [key for key in needed if key not in state_dict])
  _refuse("tensors that the name map reads twice", [key for key, count in used.items() if count > 1])
  _refuse("variables that the name map writes twice", [key for key, count in written.items() if count > 1])

  variables: Variables = {}
  for tensor in tensors:
    if tensor.target == IGNORED:
      continue
    for target, value in zip(tensor.targets, _transformed(tensor, state_dict[tensor.source]), strict=True):
      *parents, leaf = target.split("/")
      node = variables
      for parent in parents:
        node = node.setdefault(parent, {})
      node[leaf] = value
  return variables


def _transformed(tensor: Tensor, stored: np.ndarray) -> list[np.ndarray]:
  """An array for each target, whose transform knows one number of dimensions."""
  try:
    arrays = tensor.transform(stored)
    found = [
      np.ascontiguousarray(array, np.float32) for array in ([arrays] if isinstance(tensor.target, str) else arrays)
    ]
    if len(found) != len(tensor.targets):
      raise ValueError(f"it makes {len(found)} of {len(tensor.targets)} tensors")
    return found
  except (ValueError, IndexError, TypeError) as error:
    raise ValueError(f"{tensor.source} has shape {stored.shape}, that of no such layer: {error}") from error


def check_shapes(variables: Variables, expected: Variables) -> Variables:
  """The converted `variables`, which have the paths and shapes of `expected` (arrays or `jax.ShapeDtypeStruct`).

  Raises:
    ValueError: names paths that only one of the two has, or whose shapes differ.
  """
  shapes = {path: tuple(leaf.shape) for path, leaf in _leaves(variables)}
  wanted = {path: tuple(leaf.shape) for path, leaf in _leaves(expected)}
  _refuse("variables that the weights lack", [path for path in wanted if path not in shapes])
  _refuse("variables that the network lacks", [path for path in shapes if path not in wanted])
  different = [path for path, shape in wanted.items() if shapes[path] != shape]
  _refuse("shapes that differ", [f"{path} is {shapes[path]}, the network has {wanted[path]}" for path in different])
  return variables


def _bias(source: str, target: str, bias: bool) -> list[Tensor]:
  return [Tensor(f"{source}.bias", f"params/{target}/bias")] if bias else []


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, f"{prefix}{key}/")
    else:
      yield f"{prefix}{key}", value


def _refuse(what: str, keys: list[str]) -> None:
  if keys:
    shown = ", ".join(keys[:8]) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
    raise ValueError(f"{what}: {shown}")
