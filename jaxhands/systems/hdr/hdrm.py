"""HDRM, de-occlusion and removal: a hand's crop is made a crop of this hand alone, whole (Meng et al., ECCV 2022).

HDRNet fills the part of the hand that the other one hides, and what the other one hides of the background; it learns
from pictures without the other hand and from a discriminator that is trained beside it.

The masks that say where the holes are come with the data (`masks="true"`), or from HASM, which is then a part of the
system, `hasm`, to be filled from its run and frozen. HASM sees the hand's crop here: AIH's pictures are such crops,
and the pair that they were cut from is not kept.

Where paper and release differ, `released` chooses:

* a partial convolution is scaled by the size of its window over what of it is valid (Liu et al., whom the paper cites),
  or by one over what is valid;
* the visible part of the other hand is removed (paper, equation 2), or its amodal mask;
* predicted masks are hands where enough pixels belong together (`holes.trusted`; the paper does not say), or anywhere.

In both: the discriminator's power iterations advance with the two passes of its own loss, not with the generator's as
well; its learning rate and momentum are its optimizer's (`configs/hdr.py`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxhands import losses, schema
from jaxhands.data import augment, colour, host_ops
from jaxhands.geometry import crop
from jaxhands.geometry.arrays import Array
from jaxhands.models import discriminator as gan
from jaxhands.models.backbones import vgg
from jaxhands.models.discriminator import Discriminator
from jaxhands.models.hdrnet import HDRNet
from jaxhands.models.partial_conv import Mask
from jaxhands.systems import base, construct, subtrees
from jaxhands.systems.hdr import holes
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.hdr import discriminator as discriminator_map
from jaxhands.weights.hdr import hdrnet as hdrnet_map
from jaxhands.weights.vgg import read as read_vgg

GENERATOR, DISCRIMINATOR, SEGMENTER = "hdrnet", "discriminator", "hasm"
Features = Callable[[Float[Array, "b h w 3"]], Sequence[jax.Array]]
_AUGMENTATION = dataclasses.replace(augment.INTERNET, mirror_probability=0.0)  # the view shows right hands already
_VISIBLE = 1
_RECONSTRUCTION = ("hole_occluded", "hole_distractor", "valid")


@dataclasses.dataclass(frozen=True)
class HDRM:
  """The system; see `docs/systems/hdr.md` for the sizes.

  Attributes:
    crop_hw: size of the input in px, a multiple of 2 ** levels.
    released: the release's conventions instead of the paper's (see the module).
    masks: "true" ones of the data, or those that `hasm` "predicted".
    hasm: the system that predicts them; None with true masks.
    width, levels, transformers: of `models.hdrnet.HDRNet`.
    discriminator_width: of `models.discriminator.Discriminator`.
    over: which holes predictions fill; the paper's ablations without removal ("occluded") and without de-occlusion
      ("distractor").
    dilation: px by which predictions enlarge the holes, odd, or 0 (`holes.composite`).
    adversarial, l1, perceptual, style: weights of the losses; without an adversarial one there is no discriminator.
    vgg: file of VGG-16's weights (`weights.vgg`); "" leaves the perceptual and the style loss out.
    box_factor: enlargement of the hand's box, which is the tight one of its joints 1.2 times.
    dtype: of the networks' arithmetic.
    frozen: parts whose norm stays in evaluation mode.
  """

  crop_hw: tuple[int, int] = (256, 256)
  released: bool = False
  masks: Literal["true", "predicted"] = "true"
  hasm: base.System | None = None
  width: int = 64
  levels: int = 8
  transformers: bool = True
  discriminator_width: int = 64
  over: holes.Over = "both"
  dilation: int = 9
  adversarial: float = 0.1
  l1: float = 3.0
  perceptual: float = 0.1
  style: float = 250.0
  vgg: str = ""
  box_factor: float = crop.BOX_FACTOR
  dtype: jnp.dtype | type = jnp.float32
  frozen: tuple[str, ...] = ()

  view = "hand"
  unread = ("rough",)  # of `config.data`, see `configuration.rules.check_read`: `hasm` has it, and is not trained here

  def __post_init__(self):
    if (self.masks == "predicted") != (self.hasm is not None):
      raise ValueError(f"masks={self.masks!r}, but there is {'a' if self.hasm else 'no'} system hasm to predict them")
    base.check_frozen(self, (GENERATOR, DISCRIMINATOR, SEGMENTER))

  @property
  def needs(self) -> frozenset[str]:
    return frozenset({"image", "crop_from_img", "masks", "masks_valid", "removed", "removed_valid"})

  @property
  def predicts_with(self) -> tuple[str, ...]:
    """Not the discriminator, which the release does not need either."""
    return (GENERATOR,) if self.hasm is None else (GENERATOR, SEGMENTER)

  @property
  def generator(self) -> HDRNet:
    return HDRNet(self.width, self.levels, self.transformers, self.released, self.dtype)

  @property
  def discriminator(self) -> Discriminator:
    return Discriminator(self.discriminator_width, self.dtype)

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    fresh = {"adversarial": "a fresh discriminator knows nothing yet that the generator should learn"}
    small = fresh if self.adversarial else {}
    generator = base.Objective(
      "generator", (GENERATOR,), (f"batch_stats/{GENERATOR}",), fn=self.generator_loss, starts_small=small
    )
    if not self.adversarial:
      return (generator,)
    owned = (f"{gan.STATE}/{DISCRIMINATOR}",)
    return (generator, base.Objective("discriminator", (DISCRIMINATOR,), owned, fn=self.discriminator_loss))

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    """Fresh variables: He's for partial convolutions, PVT's for transformers, deviation 0.02 for the discriminator.

    With `masks="predicted"` the part `hasm` is fresh, too, to be filled from its run. VGG-16 is a constant.
    """
    generator_key, discriminator_key, segmenter_key = jax.random.split(rng, 3)
    image = batch["image"]
    x, mask = holes.network_input(image, holes.find(_binary(batch["masks"])))
    parts = [subtrees.nested(GENERATOR, self.generator.init(generator_key, x, mask, True))]
    if self.adversarial:
      seen = jnp.zeros((*image.shape[:3], 5))
      parts.append(subtrees.nested(DISCRIMINATOR, self.discriminator.init(discriminator_key, seen, True)))
    if self.hasm is not None:
      parts.append(subtrees.nested(SEGMENTER, self.hasm.init(segmenter_key, {**batch, "image": batch["hasm_image"]})))
    if self.vgg:
      parts.append({"constants": {"vgg": read_vgg(self.vgg)}})
    return subtrees.joined(*parts)

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """Crop of the hand with label maps as large; HDR's augmentation in training."""
    return host_ops.crop_ops(
      self.crop_hw, self.crop_hw, _AUGMENTATION if train else None, box_factor=self.box_factor, shrink=True
    )

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image`, in training with `truth`, normalised with ImageNet's mean and deviation; both in the same colours."""
    colour_key, segmenter_key = jax.random.split(rng)
    image = batch["image"].astype(jnp.float32) / 255
    ready = dict(batch)
    if train:
      factor = colour.channel_factors(colour_key, len(image))
      image = colour.jittered(image, factor)
      truth = batch["removed"][:, 0].astype(jnp.float32) / 255
      ready["truth"] = colour.normalise(colour.jittered(truth, factor))
    if self.hasm is not None:
      ready["hasm_image"] = self.hasm.device_ops({**batch, "image": 255 * image}, segmenter_key, False)["image"]
    return ready | {"image": colour.normalise(image)}

  def find_holes(self, variables: base.Variables, batch: schema.Batch) -> holes.Holes:
    """Where this hand's crop is to be recovered, by the masks of the data or of the frozen `hasm`."""
    masks = batch["masks"]
    if self.hasm is not None:
      shown = {**batch, "image": batch["hasm_image"]}
      predicted_masks = self.hasm.predict(subtrees.part(variables, SEGMENTER), shown, jax.random.key(0))["masks"]
      predicted_masks = predicted_masks if self.released else holes.trusted(predicted_masks)[0]
      masks = jax.image.resize(predicted_masks, (*predicted_masks.shape[:3], *self.crop_hw), "linear")
    masks = jax.lax.stop_gradient(_binary(masks))
    return holes.find(masks, "amodal" if self.released else "visible")

  def generate(self, variables: base.Variables, image: Any, found: holes.Holes, train: bool) -> tuple[Any, Any]:
    """HDRNet's output, and its batch statistics."""
    x, mask = holes.network_input(image, found)
    training = train and GENERATOR not in self.frozen
    return self.generator.apply(subtrees.part(variables, GENERATOR), x, mask, training, mutable=["batch_stats"])

  def recover(self, variables: base.Variables, image: Float[Array, "b h w 3"], found: holes.Holes) -> jax.Array:
    """Normalised crops with their holes filled."""
    output, _ = self.generate(variables, image, found, False)
    return holes.composite(output, image, found, self.over, self.dilation)

  def generator_loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """Reconstruction, perceptual, style and adversarial loss (paper, equation 4)."""
    both_holes = self.find_holes(variables, batch)
    output, state = self.generate(variables, batch["image"], both_holes, True)
    params = variables.get("constants", {}).get("vgg")
    features = functools.partial(vgg.pools, params) if params is not None else None
    values = recovery_terms(output, batch["truth"], both_holes, features)
    if self.adversarial:
      scores, _ = self._scores(variables, output, both_holes, train=False)
      values["adversarial"] = losses.adversarial(scores, "generator")
    weight = _weight(batch)
    terms = {name: losses.weighted_mean(value, weight) for name, value in values.items()}
    return base.LossOut.weighted(terms, subtrees.nested(GENERATOR, state), self.weights)

  def discriminator_loss(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> base.LossOut:
    """Half the cross-entropies of true pictures and of the generator's, one power iteration for each."""
    both_holes = self.find_holes(variables, batch)
    fake = jax.lax.stop_gradient(self.generate(variables, batch["image"], both_holes, True)[0])
    weight, terms = _weight(batch), {}
    roles: tuple[tuple[Literal["real", "fake"], jax.Array], ...] = (("real", batch["truth"]), ("fake", fake))
    for role, picture in roles:
      scores, state = self._scores(variables, picture, both_holes, train=True)
      variables = {**variables, gan.STATE: {**variables[gan.STATE], **subtrees.nested(DISCRIMINATOR, state)[gan.STATE]}}
      terms[role] = losses.weighted_mean(losses.adversarial(scores, role), weight)
    state = {gan.STATE: {DISCRIMINATOR: variables[gan.STATE][DISCRIMINATOR]}}
    return base.LossOut((terms["real"] + terms["fake"]) / 2, terms, state, {"real": 0.5, "fake": 0.5})

  def _scores(
    self, variables: base.Variables, picture: jax.Array, found: holes.Holes, train: bool
  ) -> tuple[jax.Array, Any]:
    """The discriminator's scores of pictures with the masks of the hand's visible part and of the background."""
    shown = jnp.concatenate([picture, found.visible[..., None], found.background[..., None]], axis=-1)
    training = train and DISCRIMINATOR not in self.frozen
    return self.discriminator.apply(subtrees.part(variables, DISCRIMINATOR), shown, training, mutable=[gan.STATE])  # pyright: ignore[reportReturnType]

  @property
  def weights(self) -> dict[str, float]:
    """Of the generator's terms (paper, equation 4)."""
    weights = dict.fromkeys(_RECONSTRUCTION, self.l1) | {"adversarial": self.adversarial}
    for hole in ("occluded", "distractor"):
      weights |= {f"perceptual_{hole}": self.perceptual, f"style_{hole}": self.style}
    return weights

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """`recovered` alone, of hand 0; see `schema.PREDICTION`."""
    recovered = self.recover(variables, batch["image"], self.find_holes(variables, batch))
    recovered = jnp.clip(colour.denormalise(recovered), 0, 1)
    return {"recovered": jnp.stack([recovered, jnp.zeros_like(recovered)], axis=1)}

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables of the generator, or of the discriminator, from the release's files.

    Raises:
      ValueError: a key that is unknown, missing or of another shape.
    """
    of_discriminator = any(key.startswith(("conv1.", "features.0.")) for key in state_dict)
    x = jnp.zeros((1, *self.crop_hw, 8))
    if of_discriminator:
      kept = {key: value for key, value in state_dict.items() if not key.startswith("features.0.")}
      variables, name = convert(kept, discriminator_map("")), DISCRIMINATOR
      shapes = jax.eval_shape(lambda: self.discriminator.init(jax.random.key(0), x[..., :5], True))
    else:
      kept = {key: value for key, value in state_dict.items() if ".mask_conv." not in key}
      variables, name = convert(kept, hdrnet_map("", self.levels)), GENERATOR
      mask = Mask((x[..., 0],), (8,))
      shapes = jax.eval_shape(lambda: self.generator.init(jax.random.key(0), x, mask, True))
    return subtrees.nested(name, check_shapes(variables, shapes))


def recovery_terms(
  output: Float[Array, "b h w 3"], truth: Float[Array, "b h w 3"], found: holes.Holes, features: Features | None
) -> dict[str, Any]:
  """What separates a recovered picture from the truth, both normalised, of each example.

  Mean absolute differences over all pixels: where the hand is hidden, where the other hand was, and elsewhere. With
  `features`, the perceptual and the style loss of each hole alone, everything around it being 0.
  """
  masks = {"occluded": found.occluded[..., None], "distractor": found.distractor[..., None]}
  difference = jnp.abs(output - truth)
  terms = {f"hole_{name}": (mask * difference).mean((1, 2, 3)) for name, mask in masks.items()}
  terms["valid"] = ((1 - masks["occluded"]) * (1 - masks["distractor"]) * difference).mean((1, 2, 3))
  if features is not None:
    # Both holes as one batch: half the graph.
    in_holes = (jnp.concatenate([mask * picture for mask in masks.values()]) for picture in (output, truth))
    output_features, true_features = map(features, in_holes)
    for kind, distance in (("perceptual", losses.feature_distance), ("style", losses.style_distance)):
      of_holes = jnp.split(distance(output_features, true_features), len(masks))
      terms |= {f"{kind}_{name}": values for name, values in zip(masks, of_holes, strict=True)}
  return terms


def _binary(masks: jax.Array) -> jax.Array:
  """0 | 1 from masks or their probabilities."""
  return (masks > 0.5).astype(jnp.float32)


def _weight(batch: schema.Batch) -> jax.Array:
  """0 for examples without a true picture, this hand's masks, or the other one's visible one.

  The other hand's whole mask may be missing, as in the released AIH's rendered pictures.
  """
  valid = batch["masks_valid"]
  known = batch["removed_valid"][:, 0] & valid[:, 0].all(-1) & valid[:, 1, _VISIBLE]
  return jnp.where(known, batch["weight"], 0)


def build(config: Any) -> HDRM:
  """The system that `config.system` describes, `hasm` as `system` of its own config; see `construct.from_fields`."""
  inner = config.system.get("hasm")
  hasm = construct.load(construct.config_of_part(config, {**inner, "map_hw": config.data.crop_hw})) if inner else None
  return construct.from_fields(HDRM, config, hasm=hasm, vgg=config.vgg)
