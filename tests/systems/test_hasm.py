"""HASM on small networks: losses, masks at the pixels of label maps, both forms, weights of a trunk alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import hdr, internet
from jaxhands import schema
from jaxhands.data import colour
from jaxhands.models.backbones.resnet import structure
from jaxhands.systems import construct, subtrees
from jaxhands.systems.hdr.hasm import HASM, mask_losses
from jaxhands.weights.convert import check_shapes
from jaxhands.weights.resnet import import_torchvision
from tests.parity.cases import Case

SMALL = functools.partial(
  HASM, crop_hw=(64, 64), map_hw=(32, 32), backbone="b0", width=4, decoder_features=8, drop_path=0.0, dropout=0.0
)
SIZE = 3


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  values = {
    "image": rng.integers(0, 256, (SIZE, 64, 64, 3), np.uint8),
    "masks": rng.integers(0, 2, (SIZE, 2, 2, 32, 32), np.uint8),
    "masks_valid": np.ones((SIZE, 2, 2), bool),
    "example_id": np.arange(SIZE, dtype=np.int32),
    "weight": np.ones(SIZE, np.float32),
  }
  schema.check(values, needs=SMALL().needs)
  return {key: jnp.asarray(value) for key, value in values.items()}


@functools.cache
def _loss(**fields):
  """Loss, terms and gradient of fresh variables, compiled once."""
  system = SMALL(**fields)
  variables = jax.jit(system.init)(jax.random.key(1), {"image": jnp.zeros((1, 64, 64, 3))})

  def run(params, batch):
    out = system.loss({**variables, "params": params}, batch, jax.random.key(0))
    return out.loss, out.terms

  value_and_grad = jax.jit(jax.value_and_grad(run, has_aux=True))
  return lambda batch: value_and_grad(variables["params"], batch)


@pytest.mark.parametrize("fields", [{}, {"released": True}, {"backbone": "resnet18"}], ids=str)
def test_what_is_not_annotated_does_not_count(batch, fields):
  """Neither masks without annotation nor padding; everything else reaches every parameter."""
  batch = SMALL().device_ops(batch, jax.random.key(2), True)
  given = dict(batch, masks_valid=batch["masks_valid"].at[0, 1, 0].set(False), weight=batch["weight"].at[2].set(0))
  other = dict(given, masks=batch["masks"].at[0, 1, 0].set(1).at[2].set(0))
  results = [_loss(**fields)(values) for values in (given, other)]
  jax.tree.map(np.testing.assert_array_equal, *results)
  (loss, terms), gradient = results[0]
  np.testing.assert_allclose(loss, sum(value for name, value in terms.items() if name != "accuracy"), rtol=1e-6)
  assert 0 < terms["accuracy"] < 1
  assert terms["left_amodal"] < terms["left_visible"]  # one of two examples is masked, and the mean counts it
  idle = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if not leaf.any()]
  assert not idle


def test_both_forms_are_a_cross_entropy_of_the_same_log_odds(batch):
  """Two scores of background and foreground against the score of their difference."""
  scores = jnp.asarray(np.random.default_rng(3).normal(0, 2, (SIZE, 16, 16, 2, 2, 2)), jnp.float32)
  paper, released = SMALL(), SMALL(released=True)
  log_odds = released.log_odds(scores)
  np.testing.assert_allclose(log_odds, paper.log_odds(scores[..., 1:] - scores[..., :1]), atol=1e-5)
  full = SMALL(released=True, map_hw=(64, 64)).log_odds(scores)
  np.testing.assert_allclose(log_odds, full[..., ::2, ::2], atol=1e-5)  # pixel i of a map is pixel 2 i of the crop
  expected = jax.image.resize(scores[..., 1] - scores[..., 0], (SIZE, 64, 64, 2, 2), "bilinear")
  np.testing.assert_allclose(full, jnp.moveaxis(expected, (1, 2), (3, 4)), atol=1e-5)


def test_predictions_are_normalised_masks(batch):
  system = SMALL()
  prepared = system.device_ops(batch, jax.random.key(0), False)
  expected = colour.normalise(np.asarray(batch["image"], np.float32) / 255)
  np.testing.assert_allclose(prepared["image"], expected, atol=1e-5)
  variables = jax.jit(system.init)(jax.random.key(1), prepared)
  found = jax.jit(lambda v, b: system.predict(v, b, jax.random.key(0)))(variables, prepared)
  schema.check(found, schema.PREDICTION, dims={"B": SIZE})
  assert found["masks"].shape == (SIZE, 2, 2, 32, 32)
  assert ((found["masks"] > 0) & (found["masks"] < 1)).all()


def test_losses_are_the_cross_entropy_of_each_mask(batch):
  rng = np.random.default_rng(1)
  log_odds = rng.normal(0, 2, (SIZE, 2, 2, 32, 32)).astype(np.float32)
  valid = rng.random((SIZE, 2, 2, 32, 32)) < 0.7
  entropy, right = mask_losses(jnp.asarray(log_odds), batch["masks"], jnp.asarray(valid))
  probability = 1 / (1 + np.exp(-log_odds.astype(np.float64)))
  truth = np.asarray(batch["masks"]) > 0
  expected = -np.log(np.where(truth, probability, 1 - probability)) * valid
  np.testing.assert_allclose(entropy, expected.mean((3, 4)), rtol=1e-5)
  np.testing.assert_allclose(right, (((log_odds > 0) == truth) & valid).mean((3, 4)), rtol=1e-6)


def _nvidia(state_dict):
  """A trunk as mmsegmentation names it, renamed and repacked as NVIDIA gives it, with a classifier."""
  found = {"head.weight": np.zeros((1000, 256), np.float32), "head.bias": np.zeros(1000, np.float32)}
  inner = {
    "0.projection": "patch_embed{}.proj", "0.norm": "patch_embed{}.norm", "2": "norm{}",
    "attn.attn.out_proj": "attn.proj", "attn.sr": "attn.sr", "attn.norm": "attn.norm", "norm1": "norm1",
    "norm2": "norm2", "ffn.layers.0": "mlp.fc1", "ffn.layers.1": "mlp.dwconv.dwconv", "ffn.layers.4": "mlp.fc2",
  }  # fmt: skip
  for key, value in state_dict.items():
    _, stage, rest = key.split(".", 2)
    name, kind = rest.rsplit(".", 1)
    number = int(stage) + 1
    if not rest.startswith("1."):
      found[f"{inner[name].format(number)}.{kind}"] = value
      continue
    block, name = name.split(".", 2)[1:] if name.count(".") > 1 else (*name.split(".")[1:], "")
    prefix = f"block{number}.{block}."
    if kind.startswith("in_proj"):
      query, keys_and_values = np.split(value, [len(value) // 3])
      found[f"{prefix}attn.q.{kind.removeprefix('in_proj_')}"] = query
      found[f"{prefix}attn.kv.{kind.removeprefix('in_proj_')}"] = keys_and_values
    else:
      value = value[:, :, 0, 0] if name in ("ffn.layers.0", "ffn.layers.4") and kind == "weight" else value
      found[f"{prefix}{inner[name]}.{kind}"] = value
  return found


def test_the_trunk_alone_in_both_namings(goldens):
  case = Case(goldens, "hasm/b0")
  trunk = {
    key.removeprefix("backbone."): value for key, value in case.state_dict().items() if key.startswith("backbone.")
  }
  system = HASM((64, 64), (64, 64), released=True, backbone="b0")
  whole = system.import_weights(case.state_dict())["params"]["backbone"]
  for given in (trunk, _nvidia(trunk)):
    found = system.import_weights(given)
    assert set(found["params"]) == {"backbone"}
    jax.tree.map(np.testing.assert_array_equal, found["params"]["backbone"], whole)
  with pytest.raises(ValueError, match=r"missing: block1\.0\.norm1\.weight"):
    system.import_weights({k: v for k, v in _nvidia(trunk).items() if k != "block1.0.norm1.weight"})


def test_a_resnet_in_place_of_mit_starts_from_internet():
  """The trunk of the weights that come with the package has the variables of InterNet's."""
  hasm_config, internet_config = hdr.get_config("kept,hasm"), internet.get_config("kept")
  of_both = [
    jax.eval_shape(system.init, jax.random.key(0), {"image": jnp.zeros((1, *system.crop_hw, 3))})
    for system in map(construct.load, (hasm_config, internet_config))
  ]
  trunks = [subtrees.part(variables, "backbone") for variables in of_both]
  assert {"params", "batch_stats"} == set(trunks[0])
  check_shapes(*trunks)


def test_torchvisions_weights_are_a_resnets_start(goldens):
  state_dict = Case(goldens, "resnet50").state_dict()
  found = HASM(backbone="resnet50").import_weights(state_dict)
  expected = import_torchvision(state_dict, *structure(50))
  jax.tree.map(np.testing.assert_array_equal, subtrees.part(found, "backbone"), expected)


def test_sizes_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match=r"map_hw=\(48, 64\) does not divide crop_hw=\(64, 64\)"):
    SMALL(map_hw=(48, 64))
  with pytest.raises(ValueError, match=r"freeze=\['head'\]"):
    SMALL(frozen=("head",))
  with pytest.raises(ValueError, match="the release has MiT-B5"):
    SMALL(backbone="resnet18", released=True)
  for name, words in (("b9", "no MiT-b9"), ("resnet", "no MiT-resnet"), ("resnet7", "no ResNet-7")):
    with pytest.raises(ValueError, match=words):
      SMALL(backbone=name)


@pytest.mark.parametrize("variant", ["tiny,hasm,no_removal", "demo,hdrm,render_only", "synth,shpe,with_aih"])
def test_switches_without_effect_are_refused(variant):
  with pytest.raises(ValueError, match="changes nothing"):
    hdr.get_config(variant)


@pytest.mark.parametrize("size", ["demo", "kept"])
@pytest.mark.parametrize("part", ["pipeline", "hasm", "hdrm_finetune"])
def test_released_is_refused_where_hasm_is_a_resnet(size, part):
  with pytest.raises(ValueError, match=f"released changes nothing of {part} at size {size}"):
    hdr.get_config(f"{size},{part},released")


@pytest.mark.parametrize("variant", ["demo,hdrm,released", "kept,shpe,released"])
def test_released_is_left_to_parts_without_hasm(variant):
  assert hdr.get_config(variant).system.released
