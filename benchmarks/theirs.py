"""The same subject in PyTorch: its twin, in channels-last layout, ready to be timed, called as `Ours` is."""

from __future__ import annotations

import functools
import resource
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import torch_twins
from benchmarks.ours import NAMES
from benchmarks.subjects import Subject
from benchmarks.torch_twins import layers
from jaxhands import schema

_PICTURES = {"image", "hasm_image", "truth"}
_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Theirs:
  """Functions by name (`run`): "train", "forward" and "one", as in `Ours`.

  What our step does on the device before the network (normalising, colours, targets) is done here once, beforehand, so
  that the twin has less to do. Its optimizer is fused, its attention PyTorch's fastest.

  Args:
    subject: what is timed.
    size: examples of a batch.
    wanted: see `Ours`.
    device: "cpu", or "cuda".
    backend: of `torch.compile`; "" = not compiled.
    half: bfloat16 by `torch.autocast`.
  """

  def __init__(
    self, subject: Subject, size: int, wanted: Collection[str] = NAMES, device: str = "cpu", backend: str = "",
    half: bool = False,
  ):  # fmt: skip
    self._device, self._half = device, half
    self._twin = torch_twins.load(subject.system).to(device=device, memory_format=torch.channels_last)
    compiled = functools.partial(torch.compile, backend=backend) if backend else lambda fn: fn
    self._losses, self._forward = compiled(self._twin.losses), compiled(self._twin)
    self.facts = {"parameters": float(sum(parameter.numel() for parameter in self._twin.parameters()))}
    self._calls: dict[str, Callable[[], Any]] = {}
    if subject.system.objectives and "train" in wanted:
      trained = self._twin.trained()
      optimizers = {name: self._optimizer(subject.config, parts) for name, parts in trained.items()}
      self._calls["train"] = functools.partial(self._train, self._inputs(subject, size, True), trained, optimizers)
    for name, count in ((name, count) for name, count in (("forward", size), ("one", 1)) if name in wanted):
      self._calls[name] = functools.partial(self._predict, self._inputs(subject, count, False))

  @staticmethod
  def _optimizer(config: Any, parts: list[nn.Parameter]) -> torch.optim.Optimizer:
    chosen = config.optimizer
    return _OPTIMIZERS[chosen.name](parts, lr=1e-4, weight_decay=chosen.weight_decay, fused=True)

  def _train(
    self,
    batch: Mapping[str, Tensor],
    trained: Mapping[str, list[nn.Parameter]],
    optimizers: Mapping[str, torch.optim.Optimizer],
  ) -> None:
    self._twin.train()
    with torch.autocast(self._device, torch.bfloat16, enabled=self._half):
      losses = self._losses(batch)
    for position, (name, parts) in enumerate(trained.items()):
      # All gradients are taken at the same variables, as ours are.
      gradients = torch.autograd.grad(losses[name], parts, retain_graph=position + 1 < len(trained), allow_unused=True)
      for part, gradient in zip(parts, gradients, strict=True):
        part.grad = gradient
    for optimizer in optimizers.values():
      optimizer.step()

  def _predict(self, batch: Mapping[str, Tensor]) -> None:
    self._twin.eval()
    with torch.no_grad(), torch.autocast(self._device, torch.bfloat16, enabled=self._half):
      self._forward(batch)

  def _inputs(self, subject: Subject, size: int, train: bool) -> dict[str, Tensor]:
    found = inputs(subject.system, self._twin, subject.batch(size, train), train)
    return {key: value.to(self._device) for key, value in found.items()}

  @property
  def names(self) -> list[str]:
    return list(self._calls)

  def run(self, name: str, calls: int = 1) -> float:
    """Seconds of one call, of so many back to back."""
    begun = time.perf_counter()
    for _ in range(calls):
      self._calls[name]()
    if self._device == "cuda":
      torch.cuda.synchronize()
    return (time.perf_counter() - begun) / calls

  def close(self) -> dict[str, float]:
    """The number of parameters, and the most memory that the process ever had."""
    return self.facts | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def inputs(system: Any, twin: layers.Twin, batch: schema.Batch, train: bool) -> dict[str, Tensor]:
  """What a twin is given for a host's batch of ours; the same random colours each time."""

  def prepare(batch: Any, key: Any) -> Any:
    return twin.prepared(system.device_ops(batch, key, train=train), train)

  return tensors(jax.jit(prepare)(batch, jax.random.key(0)))


def tensors(batch: Mapping[str, Any]) -> dict[str, Tensor]:
  """The same arrays; pictures as [B, 3, h, w]."""
  found = {key: torch.from_numpy(np.array(value)) for key, value in batch.items()}
  return found | {key: found[key].permute(0, 3, 1, 2) for key in _PICTURES & found.keys()}
