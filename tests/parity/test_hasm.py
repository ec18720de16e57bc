"""HASM's trunk, decoder, masks and losses against the release: MiT-B5, and MiT-B0 also at sizes no stride divides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.data import colour
from jaxhands.systems.hdr.hasm import HASM, mask_losses
from tests.parity.cases import Case, close

# Heads of the release as (hand, kind), in its order: left amodal, left visible, right amodal, right visible.
HEADS = ((1, 0), (1, 1), (0, 0), (0, 1))
# Name of a run -> folder, prefix of its arrays, trunk.
RUNS = {"b5": ("hasm", "", "b5"), "b0": ("hasm/b0", "", "b0"), "b0 odd": ("hasm/b0", "odd_", "b0")}
EVERY = {"feature1": 8, "feature2": 4, "feature3": 2, "feature4": 1}
# Embeddings; four products of attention and three of the rest in each block; the decoder.
LAYERS = {"b5": 4 + 7 * (3 + 6 + 40 + 3) + 3, "b0": 4 + 7 * (2 + 2 + 2 + 2) + 3}
FIRST_BLOCK = 8
UNSURE = 1e-3  # log odds so near 0 may fall on either side


class Run:
  """One pass through the network: what the golden holds, in its layout."""

  def __init__(self, goldens, folder: str, prefix: str, size: str):
    self.case, self.prefix = Case(goldens, folder), prefix
    image = self.case.image(f"{prefix}image")
    masks = (self.case.image(f"{prefix}labels") > 0.5).transpose(0, 3, 1, 2)  # [B, head of the release, h, w]
    height, width = image.shape[1:3]
    ignored = np.arange(height) < height // 32
    ours = np.zeros((len(image), 2, 2, height, width), np.uint8)
    for channel, (hand, kind) in enumerate(HEADS):
      ours[:, hand, kind] = masks[:, channel]
    self.layers = LAYERS[size]
    self.system = system = HASM((height, width), (height, width), released=True, backbone=size)
    self.variables = system.import_weights(self.case.state_dict())
    self.image = np.asarray(colour.normalise(image))

    def run(variables, image):
      scores, state = system.network.apply(
        variables, image, False, mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.name in ("backbone", "embed1", "stage1_0", "attention", "norm1"),
      )  # fmt: skip
      seen = state["intermediates"]["backbone"]
      block = seen["stage1_0"]
      log_odds = system.log_odds(scores)
      valid = jnp.broadcast_to(~ignored[:, None], ours.shape)
      return {
        "scores": scores,
        "log_odds": log_odds,
        "losses": mask_losses(log_odds, ours, valid),
        "features": seen["__call__"][0],
        "patch_embed1": seen["embed1"]["__call__"][0],
        "attended": seen["embed1"]["__call__"][0] + block["attention"]["__call__"][0],
        "stage1_block0": block["__call__"][0],
      }

    with jax.default_matmul_precision("float32"):
      self.found = jax.tree.map(np.asarray, jax.jit(run)(self.variables, self.image))

  def __getitem__(self, name: str) -> np.ndarray:
    return self.case[f"{self.prefix}{name}"]


@pytest.fixture(scope="module", params=RUNS)
def run(request, goldens) -> Run:
  return Run(goldens, *RUNS[request.param])


def _heads(found: np.ndarray) -> np.ndarray:
  """[B, 2, 2, ...] -> [head of the release, B, ...]."""
  return np.stack([found[:, hand, kind] for hand, kind in HEADS])


def test_first_tokens(run):
  for name, ours in (("patch_embed1", "patch_embed1"), ("stage1_block0_attn", "attended"), ("stage1_block0",) * 2):
    tokens = run.found[ours].reshape(len(run.found[ours]), -1, run.found[ours].shape[-1])
    close(tokens[:, ::37, ::5], run[name], FIRST_BLOCK)


def test_features(run):
  for (name, every), found in zip(EVERY.items(), run.found["features"], strict=True):
    close(found.transpose(0, 3, 1, 2)[:, ::7, ::every, ::every], run[name], run.layers)


def test_scores(run):
  found = _heads(np.moveaxis(run.found["scores"], (3, 4, 5), (1, 2, 3)))  # [head, B, class, row, column]
  expected = run["logits"]
  every = -(-found.shape[-1] // expected.shape[-1])
  close(found[..., ::every, ::every], expected, run.layers)


def test_log_odds_at_full_size(run):
  expected = run["upsampled_logits"]
  close(_heads(run.found["log_odds"])[..., ::9, ::9], expected[:, :, 1] - expected[:, :, 0], run.layers)


def test_masks(run):
  found = _heads(run.found["log_odds"])
  sure = np.abs(found) > UNSURE
  assert sure.mean() > 0.99
  np.testing.assert_array_equal((found > 0)[sure], (run["prediction"] > 0)[sure])


def test_prediction(goldens):
  run = Run(goldens, *RUNS["b0"])
  found = run.system.predict(run.variables, {"image": jnp.asarray(run.image)}, jax.random.key(0))["masks"]
  np.testing.assert_allclose(found, 1 / (1 + np.exp(-run.found["log_odds"].astype(np.float64))), atol=1e-4)


def test_losses(run):
  entropy, right = (_heads(value).mean(1) for value in run.found["losses"])
  close(entropy, run["loss_per_head"], run.layers)
  close(entropy.sum(), run["loss_total"], run.layers)
  np.testing.assert_allclose(100 * right, run["accuracy_per_head"], atol=0.02)  # a few unsure pixels


def test_number_of_parameters(run):
  found = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in run.variables["params"].items()}
  expected = {"backbone": 0, "decoder": 0}
  for name, shape in run.case.json("tensors.json").items():
    if "running" not in name and "num_batches" not in name:
      expected["decoder" if name.startswith("decode_head") else "backbone"] += int(np.prod(shape))
  assert found == expected


def test_import_names_what_does_not_fit(goldens):
  case = Case(goldens, "hasm/b0")
  state_dict = case.state_dict()
  system = HASM((96, 128), (96, 128), released=True, backbone="b0")
  with pytest.raises(ValueError, match=r"does not know: decode_head\.extra\.weight"):
    system.import_weights(state_dict | {"decode_head.extra.weight": np.zeros(1)})
  missing = {key: value for key, value in state_dict.items() if key != "backbone.layers.2.1.1.attn.attn.in_proj_bias"}
  with pytest.raises(ValueError, match=r"missing: backbone\.layers\.2\.1\.1\.attn\.attn\.in_proj_bias"):
    system.import_weights(missing)
  with pytest.raises(ValueError, match=r"params/decoder/right_visible/scores/bias is \(3,\), the network has \(2,\)"):
    system.import_weights(state_dict | {"decode_head.conv_seg4.bias": np.zeros(3)})
  with pytest.raises(ValueError, match=r"system\.released=True"):
    HASM(backbone="b0").import_weights(state_dict)
