"""Name map of `ConditionalGlow` of the normalizing-flow library that ProHMR uses (a fork of nflows)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jaxhands.weights.convert import IGNORED, Tensor, linear, norm


def glow(source: str, target: str, layers: int, blocks: int, kept: Sequence[int]) -> list[Tensor]:
  """The tensors of a flow.

  Args:
    source: prefix of their names, with its dot ("" or "flow.").
    target: path of the flow in the variables, with its slash ("" or "flow/").
    layers, blocks: of the flow.
    kept: dimensions that the coupling of each layer keeps; the first layer of its net takes them before the features.
  """
  tensors: list[Tensor] = []
  for layer in range(layers):
    actnorm, lu, coupling = (f"{source}_transform._transforms.{3 * layer + i}" for i in range(3))
    tensors += [
      Tensor(f"{actnorm}.{name}", f"params/{target}actnorm_{layer}/{name}") for name in ("log_scale", "shift")
    ]
    names = {"lower_entries": "lower", "upper_entries": "upper", "unconstrained_upper_diag": "diagonal", "bias": "bias"}
    tensors += [Tensor(f"{lu}.{theirs}", f"params/{target}lu_{layer}/{ours}") for theirs, ours in names.items()]
    flags = (f"{actnorm}.initialized", f"{coupling}.identity_features", f"{coupling}.transform_features")
    tensors += [Tensor(name, IGNORED) for name in flags]
    net, ours = f"{coupling}.transform_net", f"net_{layer}"
    first = tuple(f"params/{target}{ours}/{name}/kernel" for name in ("from_kept", "from_context"))
    tensors.append(Tensor(f"{net}.initial_layer.weight", first, _first_layer(kept[layer])))
    tensors.append(Tensor(f"{net}.initial_layer.bias", f"params/{target}{ours}/from_context/bias"))
    for block in range(blocks):
      for i in range(2):
        theirs, mine = f"{net}.blocks.{block}", f"{target}{ours}/block_{block}"
        tensors += norm(f"{theirs}.batch_norm_layers.{i}", f"{mine}/bn{i}")
        tensors += linear(f"{theirs}.linear_layers.{i}", f"{mine}/linear{i}")
    tensors += linear(f"{net}.final_layer", f"{target}{ours}/last")
  return [*tensors, Tensor(f"{source}dummy_buffer", IGNORED)]


def _first_layer(kept: int) -> Callable[[np.ndarray], list[np.ndarray]]:
  return lambda weight: np.split(weight.T, [kept])
