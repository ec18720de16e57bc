"""The whole flow: what it must be by its equations, whatever its weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.flow.glow import ConditionalGlow

SIZE, CONTEXT = 11, 6


def _flow(coupling, dtype=jnp.float32, **changes):
  sizes = {"hidden": 16, "layers": 3, "blocks": 2}
  return ConditionalGlow(SIZE, CONTEXT, coupling=coupling, dtype=dtype, **(sizes | changes))


def _moved(variables, dtype, seed=1):
  """Fresh variables far from the identity that they begin as."""
  rng = np.random.default_rng(seed)

  def move(path, leaf):
    if path[0].key == "batch_stats":
      return jnp.asarray(np.abs(np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape)), dtype)
    return jnp.asarray(np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape), dtype)

  return jax.tree_util.tree_map_with_path(move, variables)


def _inputs(dtype, pictures=3, samples=4):
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.normal(size=(pictures, samples, SIZE)), dtype), jnp.asarray(
    rng.normal(size=(pictures, CONTEXT)), dtype
  )


@pytest.mark.parametrize("coupling", ["additive", "affine"])
def test_inverse_and_determinant_in_float64(coupling):
  with jax.enable_x64(True):
    flow = _flow(coupling, jnp.float64)
    rows, context = _inputs(jnp.float64)
    variables = _moved(flow.init(jax.random.key(0), rows, context, method="start"), jnp.float64)

    def there(rows):
      return flow.apply(variables, rows, flow.apply(variables, context, method="condition"), method="to_noise")

    noise, log_det = there(rows)
    projected = flow.apply(variables, context, method="condition")
    back, log_prob = flow.apply(variables, noise, projected, method="from_noise")
    assert noise.dtype == back.dtype == np.float64
    np.testing.assert_allclose(back, rows, rtol=0, atol=1e-9)
    # Picture b's rows depend on each other in no way: the Jacobian of each row alone.
    for picture, sample in ((0, 0), (2, 3)):
      alone = lambda row, p=picture, s=sample: there(rows.at[p, s].set(row))[0][p, s]  # noqa: E731
      jacobian = jax.jacfwd(alone)(rows[picture, sample])
      np.testing.assert_allclose(log_det[picture, sample], np.linalg.slogdet(jacobian)[1], rtol=0, atol=1e-9)
    normal = -0.5 * (np.asarray(noise) ** 2 + np.log(2 * np.pi)).sum(-1)
    np.testing.assert_allclose(log_prob, normal + log_det, rtol=0, atol=1e-9)
    np.testing.assert_allclose(flow.apply(variables, rows, projected, method="log_prob"), log_prob, rtol=0, atol=1e-9)


def test_density_integrates_to_one():
  """Over a grid, of two dimensions and an affine flow: what a wrong determinant would not do."""
  flow = ConditionalGlow(2, 1, hidden=8, layers=2, blocks=1, dropout=0.0)
  line = np.linspace(-12, 12, 481, dtype=np.float32)
  rows = jnp.asarray(np.stack(np.meshgrid(line, line), -1).reshape(1, -1, 2))
  context = jnp.ones((1, 1))
  variables = _moved(flow.init(jax.random.key(0), rows[:, ::97], context, method="start"), jnp.float32, seed=3)
  variables["params"]["actnorm_0"]["log_scale"] = jnp.zeros(2)

  def density(flow, rows, context):
    return flow.log_prob(rows, flow.condition(context))

  log_prob = flow.apply(variables, rows, context, method=density)
  assert np.exp(np.asarray(log_prob, np.float64)).sum() * (24 / 480) ** 2 == pytest.approx(1, abs=2e-3)


def test_every_layer_starts_with_the_first_batch():
  flow = _flow("affine")
  rows, context = _inputs(jnp.float32, pictures=8, samples=8)
  rows = 5 * rows + 3
  variables = jax.jit(functools.partial(flow.init, method="start"))(jax.random.key(0), rows, context)
  projected = flow.apply(variables, context, method="condition")
  noise, _ = flow.apply(variables, rows, projected, method="to_noise")
  # A fresh matrix is the identity and a fresh net says next to nothing.
  np.testing.assert_allclose(noise.mean((0, 1)), 0, atol=0.05)
  np.testing.assert_allclose(noise.std((0, 1)), 1, atol=0.2)
  for layer in range(flow.layers):
    assert np.abs(variables["params"][f"actnorm_{layer}"]["shift"]).max() > 0


def test_mode_is_more_likely_than_samples_of_an_additive_flow():
  flow = _flow("additive")
  rows, context = _inputs(jnp.float32, samples=64)
  variables = _moved(flow.init(jax.random.key(0), rows, context, method="start"), jnp.float32)
  projected = flow.apply(variables, context, method="condition")
  mode = flow.apply(variables, projected, method="mode")
  _, of_samples = flow.apply(variables, rows, projected, method="from_noise")
  of_mode = flow.apply(variables, mode, projected, method="log_prob")
  assert (of_mode > of_samples.max(-1, keepdims=True)).all()


def test_features_are_projected_once_a_picture():
  """No product over the features has a row for each sample, and all calls share the projections."""
  flow = _flow("affine")
  rows, context = _inputs(jnp.float32, pictures=3, samples=7)
  variables = flow.init(jax.random.key(0), rows, context, method="start")

  def calls(flow: ConditionalGlow, rows, context):
    projected = flow.condition(context)
    return flow.log_prob(rows, projected), flow.from_noise(rows, projected), flow.mode(projected)

  jaxpr = jax.make_jaxpr(functools.partial(flow.apply, method=calls))(variables, rows, context)
  products = [
    [tuple(operand.aval.shape) for operand in equation.invars]
    for equation in jaxpr.jaxpr.eqns
    if equation.primitive.name == "dot_general"
  ]
  over_features = [shapes for shapes in products if (CONTEXT, flow.hidden) in shapes and shapes[0][-1] == CONTEXT]
  # The kept half of an odd layer has five numbers and of an even one six, as many as there are features.
  assert [shapes[0] for shapes in over_features if len(shapes[0]) == 2] == [(3, CONTEXT)] * flow.layers


def test_training_mode_drops_units_and_gathers_statistics():
  flow = _flow("affine")
  rows, context = _inputs(jnp.float32)
  variables = _moved(flow.init(jax.random.key(0), rows, context, method="start"), jnp.float32)

  def density(flow, rows, context):
    return flow.log_prob(rows, flow.condition(context), True)

  def run(key):
    return flow.apply(
      variables, rows, context, method=density, rngs={"dropout": jax.random.key(key)}, mutable=["batch_stats"]
    )

  (first, state), (second, _) = run(0), run(1)
  assert not np.allclose(first, second)
  old, new = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(state["batch_stats"])
  assert all(not np.array_equal(a, b) for a, b in zip(old, new, strict=True))
