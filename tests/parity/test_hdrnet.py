"""HDRNet's generator and its compositing against the release, on HDR's masks and on masks with real holes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.hdrnet import HDRNet
from jaxhands.models.partial_conv import Mask
from jaxhands.systems.hdr import holes
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.hdr import hdrnet
from tests.parity.cases import Case, close
from tests.parity.hdr import every, holes_of, nchw, normalised, thinned

LAYERS = 44  # sixteen partial convolutions and four transformers of seven products
LEVELS = range(1, 9)
UNITS = [f"{part}{level}" for part in ("enc", "dec") for level in LEVELS]
TRANSFORMERS = ("enc3_transformer", "enc5_transformer", "dec5_transformer", "dec3_transformer")
NETWORK = HDRNet(mean=True)


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "hdrnet")


@pytest.fixture(scope="module")
def variables(case):
  """The partial convolutions times their numbers of inputs, as the README says."""
  tensors = case.state_dict()
  scaled = {
    key: value * np.float32(np.prod(value.shape[1:])) if key.endswith("input_conv.weight") else value
    for key, value in tensors.items()
  }
  return convert(scaled, hdrnet(""))


@pytest.fixture(scope="module")
def inputs(case):
  image = normalised(case.image())
  found = holes_of(case)
  x, mask = holes.network_input(image, found)
  holed = Mask(
    tuple(jnp.asarray(plane) for plane in case["hole_network_mask"].astype(np.float32).transpose(1, 0, 2, 3)), (4, 4)
  )
  return {"image": image, "holes": found, "x": x, "hdr": mask, "holed": holed}


@pytest.fixture(scope="module")
def runs(variables, inputs):
  """{"hdr" | "holed": outputs of all units by name, the single plane of their masks, the output}."""

  @jax.jit
  def run(variables, x, mask):
    output, state = NETWORK.apply(variables, x, mask, False, mutable=["intermediates"], capture_intermediates=True)
    seen = {name: value["__call__"][0] for name, value in state["intermediates"].items() if name != "__call__"}
    maps = {name: seen[name] for name in TRANSFORMERS}
    maps |= {"pconv1": seen["enc1_conv"][0], "output": output, "enc1": jax.nn.relu(seen["enc1_conv"][0])}
    maps |= {f"enc{i}": jax.nn.relu(seen[f"enc{i}_bn"]) for i in LEVELS if i > 1}
    maps |= {f"dec{i}": jax.nn.leaky_relu(seen[f"dec{i}_bn"], 0.2) for i in LEVELS if i > 1} | {"dec1": output}
    return maps, {unit: seen[f"{unit}_conv"][1].planes for unit in UNITS}

  with jax.default_matmul_precision("float32"):
    return {kind: jax.tree.map(np.asarray, run(variables, inputs["x"], inputs[kind])) for kind in ("hdr", "holed")}


def test_every_tensor_has_its_place(variables):
  x = jnp.zeros((1, 256, 256, 8))
  mask = Mask((x[..., 0], x[..., 0]), (4, 4))
  check_shapes(variables, jax.eval_shape(lambda: NETWORK.init(jax.random.key(0), x, mask, False)))
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 42_211_611


def test_input(case, inputs):
  np.testing.assert_allclose(nchw(inputs["x"])[:, :, ::8, ::8], case["network_input"], atol=1e-6)
  np.testing.assert_array_equal(np.stack(inputs["hdr"].planes, 1), case["network_mask"])


@pytest.mark.parametrize("unit", [*UNITS, *TRANSFORMERS])
def test_units(case, runs, unit):
  close(thinned(runs["hdr"][0][unit], 16, 16), case[unit], LAYERS)


def test_first_partial_convolution(case, runs):
  for kind, prefix in (("hdr", ""), ("holed", "hole_")):
    close(nchw(runs[kind][0]["pconv1"])[:, ::9, ::16, ::16], case[f"{prefix}pconv1"], LAYERS)


def test_mask_is_trivial_after_the_first_layer(runs):
  assert all((plane == 1).all() for planes in runs["hdr"][1].values() for plane in planes)


@pytest.mark.parametrize("unit", UNITS)
def test_units_with_real_holes(case, runs, unit):
  maps, masks = runs["holed"]
  close(thinned(maps[unit], 8, 8), case[f"hole_{unit}"], LAYERS)
  np.testing.assert_array_equal(masks[unit][0], case[f"hole_{unit}_mask"])


def test_holes_are_real(case):
  """Else the case above would not tell the mask rule from an ordinary convolution."""
  assert (case["hole_enc1_mask"] == 0).any()


def test_output(case, runs):
  for kind, prefix in (("hdr", ""), ("holed", "hole_")):
    close(nchw(runs[kind][0]["output"])[:, :, ::4, ::4], case[f"{prefix}output"], LAYERS)


def test_composite(case, inputs, runs):
  output, found, image = runs["hdr"][0]["output"], inputs["holes"], inputs["image"]
  for name, dilation in (("dilated", 9), ("plain", 0)):
    made = holes.composite(jnp.asarray(output), image, found, dilation=dilation)
    close(nchw(made)[:, :, ::4, ::4], case[f"composite_{name}"], LAYERS)
  np.testing.assert_array_equal(found.region(), case["region"])
  np.testing.assert_array_equal(holes.dilate(found.region(), 9), case["region_dilated"])


def test_ellipse(case):
  size = case["ellipse9"].shape[0]
  point = np.zeros((1, 2 * size + 1, 2 * size + 1), np.float32)
  point[0, size, size] = 1
  half = size // 2
  middle = slice(size - half, size + half + 1)
  np.testing.assert_array_equal(holes.dilate(jnp.asarray(point), size)[0, middle, middle], case["ellipse9"])


def test_thinning_is_the_readme_s():
  assert every(512, 16) == slice(None, None, 32)
  assert every(3, 16) == slice(None, None, 1)
