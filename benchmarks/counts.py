"""What a program does, counted: operations and bytes of a traced one, collectives of a compiled one.

XLA's own analysis counts the body of a loop once; here it counts as often as it runs.
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core

_PLATFORM = "tpu"
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
Moved = collections.Counter[tuple[str, str]]  # (kind, "number" or "bytes")


class Cost(NamedTuple):
  """What XLA counts of a program before it compiles it, which is the same on every machine.

  Attributes:
    operations: on floating-point numbers.
    bytes: that all operations read and write, as if none were fused with another.
  """

  operations: float
  bytes: float


def cost(traced: Any) -> Cost:
  """Of a traced function (`jax.jit(fn).trace(...)`), in the form that accelerators run.

  On one CPU device the gradients of large kernels are loops (`models.conv_forms`), which the other form is without. A
  `while_loop`, of which nobody knows how often it runs, counts once.

  Raises:
    NotImplementedError: JAX's default device is no CPU; others count nothing before they compile.
  """
  first, more = _by_xla(traced), repeats(traced)
  return Cost(first.operations + more.operations, first.bytes + more.bytes)


def repeats(traced: Any) -> Cost:
  """What XLA leaves out of `cost`: all but the first run of each loop's body."""
  operations = moved = 0.0
  for jaxpr, length in _scans(traced.jaxpr.jaxpr):
    body = jax.jit(core.jaxpr_as_fun(jaxpr)).trace(*jaxpr.in_avals)
    each, inner = _by_xla(body), repeats(body)
    operations += (length - 1) * each.operations + length * inner.operations
    moved += (length - 1) * each.bytes + length * inner.bytes
  return Cost(operations, moved)


def _by_xla(traced: Any) -> Cost:
  found = traced.lower(lowering_platforms=(_PLATFORM,)).cost_analysis()
  if found is None:
    raise NotImplementedError(f"nothing is counted on {jax.default_backend()!r}; set jax_platforms to 'cpu'")
  return Cost(found["flops"], found["bytes accessed"])


def _scans(jaxpr: core.Jaxpr) -> Iterator[tuple[core.ClosedJaxpr, int]]:
  """Bodies of loops that lie in no other loop, and how often each runs."""
  for equation in jaxpr.eqns:
    if equation.primitive.name == "scan":
      yield equation.params["jaxpr"], equation.params["length"]
      continue
    inner = equation.params
    if (platforms := inner.get("branches_platforms")) is not None:  # of `jax.lax.platform_dependent`
      runs = next(i for i, names in enumerate(platforms) if names is None or _PLATFORM in names)
      inner = {"branches": inner["branches"][runs]}
    for part in jax.tree.leaves(list(inner.values()), is_leaf=_is_jaxpr):
      if _is_jaxpr(part):
        yield from _scans(getattr(part, "jaxpr", part))


def _is_jaxpr(value: Any) -> bool:
  return isinstance(value, core.ClosedJaxpr | core.Jaxpr)


def collectives(program: str) -> dict[str, tuple[int, int]]:
  """Kind -> how many, and the bytes of their results on one device, in the text of a compiled program."""
  bodies: dict[str, list[str]] = {}
  entry = name = ""
  for line in program.splitlines():
    if head := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
      name = head[2]
      entry = name if head[1] else entry
    bodies.setdefault(name, []).append(line)
  moved = _moved(entry, bodies)
  return {kind: (moved[kind, "number"], moved[kind, "bytes"]) for kind in _COLLECTIVES if moved[kind, "number"]}


def _moved(name: str, bodies: dict[str, list[str]]) -> Moved:
  """Of one computation of a program, with those that it calls."""
  total: Moved = collections.Counter()
  for line in bodies[name]:
    if found := re.search(rf"= (.+?) ({'|'.join(_COLLECTIVES)})(?:-start)?\(", line):
      arrays = re.findall(r"(\w+)\[([\d,]*)\]", found[1])
      total[found[2], "number"] += 1
      total[found[2], "bytes"] += sum(
        _BYTES.get(kind, 4) * math.prod(int(size) for size in shape.split(",") if size) for kind, shape in arrays
      )
    trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
    for called in re.findall(r"(?:body|calls|to_apply|branch_computations)=\{?((?:%?[\w.\-]+(?:, )?)+)", line):
      for part in called.split(", "):
        if (inner := part.lstrip("%")) in bodies:
          for key, count in _moved(inner, bodies).items():
            total[key] += count * (int(trips[1]) if trips else 1)
  return total
