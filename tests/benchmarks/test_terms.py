"""No term of a loss begins so small that nothing is learnt of it, but where a system says why."""

import jax
import numpy as np
import pytest

from benchmarks import terms
from jaxhands.systems import base, construct
from jaxhands.train import step
from tests.contract import test_systems

# Words of variants with their own.
BALANCES = {"tiny", "literal_losses", "released", "released_v1", "hasm", "hdrm", "shpe"}
ANYWAY = {"intershape"}  # whose frozen part only tells where to look


def _begins_alone(name, variant, stage):
  """A frozen part has weights of another run, without which what it says is not what training begins with."""
  frozen = dict(test_systems._stages(name, variant))[stage].freeze
  return set(variant.split(",")) <= BALANCES and (name in ANYWAY or not frozen)


def _by_night(one):
  """By day the first system tells whether the measure works; losses' weights are rarely changed."""
  marks = () if one.values[:2] == ("internet", "tiny") else (pytest.mark.nightly,)
  return pytest.param(*one.values, id=one.id, marks=marks)


TRAINED = [_by_night(one) for one in test_systems.TINY if _begins_alone(*one.values)]


@pytest.mark.parametrize(("name", "variant", "stage"), TRAINED)
def test_no_term_starts_below_one_percent(name, variant, stage):
  config = dict(test_systems._stages(name, variant))[stage]
  system = construct.load(config)
  if not system.objectives:
    pytest.skip("is assembled, not trained")
  batch = terms.example_batch(system, 4)
  variables = jax.jit(step.make_init(system, config.seed))(batch)
  for objective in system.objectives:
    norms = terms.gradient_norms(system, objective, variables, batch, config.freeze)
    whole = norms.pop("loss")
    assert set(objective.starts_small) <= set(norms), f"{objective.name}: {objective.starts_small} are no terms"
    small = {term: f"{norm / whole:.2%}" for term, norm in norms.items() if norm < 0.01 * whole}
    assert set(small) <= set(objective.starts_small), f"{objective.name}: {small} of {whole}"


def test_norms_are_those_of_single_gradients():
  """Of a loss with a closed form: 2 x of x^2, times its weight; the trunk is what both terms reach."""

  class Two:
    objectives = ()

    def device_ops(self, batch, rng, train):
      return batch

  def loss(variables, batch, rng):
    trunk, head = variables["params"]["trunk"], variables["params"]["head"]
    found = {"square": (trunk**2).sum(), "line": (trunk.sum() + head.sum()), "shown": trunk.sum()}
    return base.LossOut(3 * found["square"] + found["line"], found, {}, {"square": 3.0, "shown": 0.0})

  objective = base.Objective("both", ("trunk", "head"), (), fn=loss)
  system = Two()
  system.objectives = (objective,)
  variables = {"params": {"trunk": np.array([1.0, 2.0], np.float32), "head": np.ones(5, np.float32)}}
  norms = terms.gradient_norms(system, objective, variables, {})
  expected = {"square": 6 * 5**0.5, "line": 2**0.5, "loss": (7**2 + 13**2) ** 0.5}
  assert norms.keys() == expected.keys()
  np.testing.assert_allclose([norms[key] for key in expected], list(expected.values()), rtol=1e-6)
