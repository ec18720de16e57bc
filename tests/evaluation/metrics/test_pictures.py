"""PSNR, SSIM and perceptual distance of recovered crops against NumPy and SciPy."""

import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from jaxhands.evaluation.metrics import pictures

SIDE = 24


def _case():
  rng = np.random.default_rng(0)
  image, truth = (rng.integers(0, 256, (3, *shape), dtype=np.uint8) for shape in ((SIDE, SIDE, 3), (2, SIDE, SIDE, 3)))
  masks = np.zeros((3, 2, 2, SIDE, SIDE), np.uint8)
  masks[:, 0, :, 4:16, 4:16] = 1
  masks[:, 1, :, 10:20, 10:20] = 1
  masks[:, 0, 1, 10:16, 10:16] = 0  # the left hand is in front
  masks[2] = 0
  batch = {
    "image": image, "removed": truth, "removed_valid": np.array([[1, 1], [1, 0], [1, 1]], bool), "masks": masks,
    "masks_valid": np.ones((3, 2, 2), bool), "example_id": np.array([1, 4, 8], np.int32),  # of one hand, of pairs
  }  # fmt: skip
  return {key: jnp.asarray(value) for key, value in batch.items()}, rng.random((3, 2, SIDE, SIDE, 3)).astype(np.float32)


def _hole(hand):
  """Hidden or the other one's: of the right hand all that the left one shows; of the left hand the right one's rest."""
  hole = np.zeros((SIDE, SIDE), bool)
  if hand == 0:
    hole[10:20, 10:20] = True
  else:
    hole[4:16, 4:16] = True
    hole[10:16, 10:16] = False
  return hole


def _values(name, prediction, batch, features=None):
  (metric,) = [m for m in pictures.metrics(features) if m.name == name]
  assert metric.quantity.needs <= set(batch)
  return tuple(np.asarray(x) for x in metric.quantity.fn(prediction, batch))


def test_what_counts():
  batch, recovered = _case()
  _, weight = _values("psnr", {"recovered": recovered}, batch)
  np.testing.assert_array_equal(weight, [[1, 0], [1, 0], [0, 0]])
  # The other hand's whole mask is not needed (released AIH), its visible one is.
  for kind, counted in ((0, 1), (1, 0)):
    lacking = batch | {"masks_valid": batch["masks_valid"].at[0, 1, kind].set(False)}
    assert _values("psnr", {"recovered": recovered}, lacking)[1][0, 0] == counted


def test_psnr_and_ssim_of_the_holes():
  batch, recovered = _case()
  batch["example_id"] = jnp.zeros_like(batch["example_id"])
  batch["removed_valid"] = jnp.ones_like(batch["removed_valid"])
  psnr, _ = _values("psnr", {"recovered": recovered}, batch)
  ssim, weight = _values("ssim", {"recovered": recovered}, batch)
  np.testing.assert_array_equal(weight, [[1, 1], [1, 1], [0, 0]])
  for example in range(2):
    for hand in range(2):
      seen, truth = recovered[example, hand].astype(float), np.asarray(batch["removed"])[example, hand] / 255.0
      hole = _hole(hand)
      expected = 10 * np.log10(1 / ((seen - truth) ** 2)[hole].mean())
      np.testing.assert_allclose(psnr[example, hand], expected, rtol=1e-4)

      def blur(x):
        return ndimage.gaussian_filter(x, (1.5, 1.5, 0), truncate=5 / 1.5, mode="mirror")

      a, b = blur(seen), blur(truth)
      similar = (2 * a * b + 1e-4) * (2 * (blur(seen * truth) - a * b) + 9e-4)
      similar /= (a**2 + b**2 + 1e-4) * (blur(seen**2) - a**2 + blur(truth**2) - b**2 + 9e-4)
      np.testing.assert_allclose(ssim[example, hand], similar.mean(-1)[hole].mean(), rtol=1e-3, atol=1e-4)


def test_the_truth_is_best_and_the_rest_of_the_picture_does_not_matter():
  batch, recovered = _case()
  truth = np.asarray(batch["removed"]) / np.float32(255)
  _, weight = _values("psnr", {"recovered": truth}, batch)
  counted = weight > 0
  assert (_values("psnr", {"recovered": truth}, batch)[0][counted] > 90).all()
  np.testing.assert_allclose(_values("ssim", {"recovered": truth}, batch)[0][counted], 1, rtol=1e-4)
  features = lambda image: [image, image[:, ::2]]  # noqa: E731
  np.testing.assert_allclose(_values("perceptual", {"recovered": truth}, batch, features)[0][counted], 0, atol=1e-6)
  assert (_values("perceptual", {"recovered": recovered}, batch, features)[0][counted] > 0.01).all()
  outside = ~np.stack([_hole(0), _hole(1)])[None, ..., None]
  changed = np.where(outside, 0.3, recovered)
  for name in ("psnr", "perceptual"):
    before, after = (_values(name, {"recovered": x}, batch, features)[0] for x in (recovered, changed))
    np.testing.assert_allclose(after[counted], before[counted], rtol=1e-5)


def test_baselines():
  batch, recovered = _case()
  found = {b.name: b.fn({"recovered": recovered}, batch)["recovered"] for b in pictures.baselines()}
  image = np.asarray(batch["image"]) / 255.0
  np.testing.assert_allclose(found["picture as it is"], np.stack([image, image], 1), rtol=1e-6)
  hole = _hole(0)
  np.testing.assert_allclose(found["mean colour"][0, 0][hole][0], image[0][~hole].mean(0), rtol=1e-5)
  np.testing.assert_allclose(np.asarray(found["mean colour"])[0, 0][~hole], image[0][~hole], rtol=1e-6)
