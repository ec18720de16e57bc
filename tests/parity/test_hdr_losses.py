"""HDRM's reconstruction, perceptual, style and smoothness losses, and their gradient, against the release."""

import jax
import pytest

from jaxhands import losses
from jaxhands.models.backbones import vgg
from jaxhands.systems import base
from jaxhands.systems.hdr import holes
from jaxhands.systems.hdr.hdrm import HDRM, recovery_terms
from jaxhands.weights.vgg import import_vgg
from tests.parity.cases import Case, close
from tests.parity.hdr import every, holes_of, nchw, normalised

TERMS = {
  "hole_occluded": "hole_deocclusion", "hole_distractor": "hole_removal", "valid": "valid",
  "perceptual_occluded": "prc_deocclusion", "perceptual_distractor": "prc_removal",
  "style_occluded": "style_deocclusion", "style_distractor": "style_removal",
}  # fmt: skip

LAYERS = 9  # seven convolutions; Gram matrices, their sums


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "hdr_losses")


@pytest.fixture(scope="module")
def weights(case):
  return import_vgg(case.state_dict())


@pytest.fixture(scope="module")
def found(case, weights):
  """Terms, their weighted total and its gradient, features of the truth."""

  @jax.jit
  def run(output, truth, found, weights):
    def total(output):
      terms = recovery_terms(output, truth, found, lambda image: vgg.pools(weights, image))
      terms = {name: value.mean() for name, value in terms.items()}
      return base.LossOut.weighted(terms, {}, HDRM().weights).loss, terms

    return jax.value_and_grad(total, has_aux=True)(output), vgg.pools(weights, truth)

  truth = normalised(case.image("truth"))
  with jax.default_matmul_precision("float32"):
    ((total, terms), gradient), pools = run(normalised(case.image("output")), truth, holes_of(case), weights)
  return {"total": total, "terms": terms, "gradient": gradient, "pools": pools, "truth": truth}


def test_terms(case, found):
  for ours, theirs in TERMS.items():
    close(found["terms"][ours], case[theirs], LAYERS)


def test_total_and_gradient(case, found):
  close(found["total"], case["weighted_total"], LAYERS)
  # Absolute values and maxima of nearly equal features turn their sign within rounding.
  close(nchw(found["gradient"])[:, :, ::4, ::4], case["grad_output"], LAYERS, 500)


def test_features(case, found):
  for i, pool in enumerate(found["pools"], start=1):
    maps = nchw(pool)[..., ::4, ::4]
    close(maps[:, every(maps.shape[1], 16)], case[f"vgg_pool{i}"], LAYERS)
  close(losses.gram(found["pools"][0])[:, ::4, ::4], case["gram_pool1"], LAYERS)


def test_total_variation(case, found):
  """Of the undilated composite, which starts from the truth here, as the README says."""
  truth = found["truth"]
  close(losses.total_variation(truth).mean(), case["tv_gt"], LAYERS)
  output = normalised(case.image("output"))
  made = holes.composite(output, truth, holes_of(case), dilation=0)
  close(losses.total_variation(made).mean(), case["tv"], LAYERS)
