"""How strongly each term of a loss pulls when training begins: `python -m benchmarks.terms [CONFIG:VARIANT ...]`.

For each objective, the norm of the gradient of each term, its weight included, by the parameters that all of its terms
reach, the trunk; and its share of the whole loss's. A term far below the others is not learnt until they are. Variables
are fresh, as training from scratch begins, the examples rendered ones. `--steps N` shows the same after N steps.
"""

from __future__ import annotations

import argparse
import functools
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic.records import make_record
from jaxhands import schema
from jaxhands.data import host_ops
from jaxhands.runs import stages
from jaxhands.systems import base, construct
from jaxhands.train import loop, state, step

DEFAULT = ("internet:demo", "rootnet:demo", "digit:demo", "hdr:demo", "intershape:demo", "handflow:demo")
_OF_RECORDS = SyntheticConfig(variant="demo", hands="pair", pictures="all")


@functools.cache
def _record(index: int) -> dict[str, Any]:
  return make_record(_OF_RECORDS, "train", index)


def example_batch(system: base.System, size: int) -> dict[str, np.ndarray]:
  """A training batch of rendered pairs of hands."""
  views = ("pair",) if system.view == "pair" else schema.HANDS
  examples = []
  for index in range(size):
    made, rng = {**_record(index // len(views)), "view": views[index % len(views)]}, np.random.default_rng(index)
    for op in system.host_ops(True):
      made = op(made, rng)
    examples.append(host_ops.select(made, system.needs))
  return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def gradient_norms(
  system: base.System, objective: base.Objective, variables: base.Variables, batch: schema.Batch, freeze: Any = ()
) -> dict[str, float]:
  """Norm of each term's gradient by the trunk, and of the whole loss's, called "loss".

  Args:
    system: of the objective.
    objective: whose terms are compared.
    variables: at which.
    batch: as the host ops leave it.
    freeze: as in a config.
  """
  trained = state.shares(system.objectives, variables, freeze)[objective.name].trained
  names: list[str] = []

  def norms(variables: base.Variables, batch: schema.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    prepared = system.device_ops(batch, jax.random.key(0), True)

    def terms(part: Any) -> jax.Array:
      out = objective.fn(state.merge(variables, part), prepared, jax.random.key(1))
      weights = {name: out.weights.get(name, 1.0) for name in out.terms}
      names[:] = [name for name, weight in weights.items() if weight]
      return jnp.stack([weights[name] * out.terms[name] for name in names] + [out.loss])

    values, pull = jax.vjp(terms, state.keep(variables, trained))
    squares = jax.lax.map(lambda one: jax.tree.map(lambda x: jnp.square(x).sum(), pull(one)[0]), jnp.eye(len(values)))
    return values, state.leaves(squares)

  values, squares = jax.device_get(jax.jit(norms)(variables, batch))
  np.testing.assert_allclose(values[:-1].sum(), values[-1], rtol=1e-4, err_msg=f"{objective.name}: terms and loss")
  pulls = np.sum(list(squares.values()), axis=0) > 0  # a term may have nothing to say of these examples
  trunk = [square for square in squares.values() if (square > 0)[pulls].all()]
  return dict(zip([*names, "loss"], np.sqrt(np.sum(trunk, axis=0)).tolist(), strict=True))


def at_start(config: Any, size: int, steps: int = 0) -> dict[str, dict[str, float]]:
  """`gradient_norms` of each objective of a config, with fresh variables or after some steps on one batch."""
  system = construct.load(config)
  batch = jax.tree.map(jnp.asarray, example_batch(system, size))
  variables = jax.jit(step.make_init(system, config.seed))(batch)
  if steps and system.objectives:
    _, _, shares, _, transforms = loop.prepare(system, config, batch, examples=10_000)
    constants = variables.pop("constants", {})
    opt = {name: transforms[name].init(state.keep(variables, share.trained)) for name, share in shares.items()}
    now = state.State(jnp.int32(0), variables, opt, {})
    update = jax.jit(step.make_train_step(system, shares, transforms, config.seed))
    for number in range(steps):
      now, _ = update(now, constants, batch, number)
    variables = now.variables | ({"constants": constants} if constants else {})
  return {
    objective.name: gradient_norms(system, objective, variables, batch, config.freeze)
    for objective in system.objectives
  }


def main() -> None:
  parser = argparse.ArgumentParser(description="Gradient norms of all terms at the trunk when training begins.")
  parser.add_argument("variants", nargs="*", default=DEFAULT, metavar="CONFIG:VARIANT")
  parser.add_argument("--batch", type=int, default=4, help="examples (default: %(default)s)")
  parser.add_argument("--steps", type=int, default=0, help="of training before (default: %(default)s)")
  args = parser.parse_args()
  for variant in args.variants:
    name, _, words = variant.partition(":")
    try:
      whole = importlib.import_module(f"configs.{name}").get_config(words)
    except (ImportError, ValueError) as error:
      parser.error(str(error))
    for stage, config in stages.of(whole):
      for objective, norms in at_start(config, args.batch, args.steps).items():
        whole = norms.pop("loss")
        print(f"{variant}{'/' if stage else ''}{stage}, {objective}: {whole:.3g}")
        for term, norm in norms.items():
          print(f"  {term:22s}{norm:10.3g}{100 * norm / whole:9.2f} %", flush=True)


if __name__ == "__main__":
  main()
