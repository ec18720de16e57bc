"""HDR, the whole: each hand's crop is made a crop of this hand alone, and a single-hand estimator sees its pose there.

One graph on the device, from the picture to both hands in one camera frame:

* HASM sees the crop of both hands, cut out of the picture here, and gives four masks;
* the box around a hand's whole (amodal) mask, `hand_factor` times, is its crop; the left hand's is mirrored, and both
  hands of all pictures go on as one batch;
* HDRM fills what is hidden and removes the other hand, by the same four masks;
* any system of one hand (`shpe`, or InterNet with `view="hand"`) gives the pose, which is then mirrored back, mapped
  to the picture, and placed in front of the camera (`geometry.place`), each hand by its size there. By `one_depth` two
  hands are then brought to one depth: neither paper nor release say how far apart they are.

A hand whose mask is too small or scattered (`holes.trusted`) is absent: its probability says so, and the rest of what
is predicted of it comes from the whole picture (as in the release) and means nothing. Sizes in mm are those of a mean
hand.

Where paper and release differ, `released` of HDRM chooses, also here: masks of a hand's crop are where more than half
of a pixel is inside, or where all four pixels around are (the release truncates after a bilinear warp, so that every
mask loses a pixel at its edge); and whether masks are cleared of what is no hand, or one pixel of them is one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.data import colour, host_ops
from jaxhands.geometry import crop, lift, masks, place
from jaxhands.hands import bones, mirror, skeleton
from jaxhands.systems import base, construct, subtrees
from jaxhands.systems.hdr import hdrm, holes
from jaxhands.systems.hdr.hasm import HASM
from jaxhands.systems.hdr.hdrm import HDRM

SEGMENTER, GENERATOR, ESTIMATOR = "hasm", hdrm.GENERATOR, "pose"
Values = dict[str, Any]
_AMODAL = 0
_LEAST_PX = 8.0  # side of a mask's box at least, so that a stray pixel has a crop, too
_INSIDE = 1 - 1e-3  # of a mask's bilinear value, where all four pixels around are in it
_KEY = 0  # nothing here is random
_OF_HANDS = ("joints_img", "joints_rel_depth", "confidence", "joints_cam")  # of a pose, what has the hand axis


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """The system; see `docs/systems/hdr.md` for the sizes. It is assembled of trained parts: `hasm`, `hdrnet` and `pose`.

  Attributes:
    hasm: gives masks; its `box_factor` enlarges the box of both hands.
    hdrm: recovers crops; `hdrm.over` says which holes are filled.
    pose: estimates one hand, shown as a right one, in crops of `hand_hw`.
    crop_hw: size of HASM's input in px.
    hand_hw: size of the crops of one hand in px.
    picture_hw: room for a picture in px.
    recover: False: poses are those of the crops as they are.
    masks: "predicted" ones, or the "true" ones of the data, where they have them.
    hand_factor: enlargement of the box of a hand's whole mask.
    oversampling: crops of hands are means of so many samples a pixel and direction.
    one_depth: wrists of two hands are moved to one depth; see `geometry.place.at_one_depth`.
    compare: with `recover`, poses are also those of the crops as they are, to be shown beside: a second look.
  """

  hasm: HASM
  hdrm: HDRM
  pose: base.System
  crop_hw: tuple[int, int]
  hand_hw: tuple[int, int]
  picture_hw: tuple[int, int]
  recover: bool = True
  masks: Literal["predicted", "true"] = "predicted"
  hand_factor: float = 2.0
  oversampling: int = 1
  one_depth: bool = False
  compare: bool = False

  view = "pair"
  objectives = ()

  def __post_init__(self):
    if self.pose.view != "hand":
      raise ValueError(f"pose is a system of view={self.pose.view!r}, expected one that sees one hand (view='hand')")
    if self.masks not in ("predicted", "true"):
      raise ValueError(f"masks={self.masks!r}, expected 'predicted' or 'true'")

  @property
  def needs(self) -> frozenset[str]:
    truth = {"masks", "masks_valid"} if self.masks == "true" else set()
    return frozenset({"picture", "picture_hw", "crop_from_img", "camera_img", "camera_valid"} | truth)

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    """Fresh variables of all parts, to be filled from their runs."""
    segmenter_key, generator_key, estimator_key = jax.random.split(rng, 3)
    hand = jnp.zeros((1, *self.hand_hw, 3))
    x, mask = holes.network_input(hand, holes.find(jnp.zeros((1, 2, 2, *self.hand_hw))))
    return subtrees.joined(
      subtrees.nested(SEGMENTER, self.hasm.init(segmenter_key, {"image": jnp.zeros((1, *self.crop_hw, 3))})),
      subtrees.nested(GENERATOR, self.hdrm.generator.init(generator_key, x, mask, True)),
      subtrees.nested(ESTIMATOR, self.pose.init(estimator_key, {"image": hand})),
    )

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """The whole picture in a frame of `picture_hw`, and the affine of the crop of both hands."""
    *before, cut = host_ops.crop_ops(self.crop_hw, self.crop_hw, box_factor=self.hasm.box_factor)
    return (*before, host_ops.PadPicture(self.picture_hw), cut)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """The batch as it is: every part prepares what it sees."""
    return dict(batch)

  @property
  def prediction_steps(self) -> tuple[tuple[str, Callable[[base.Variables, Values], Values]], ...]:
    """See `systems.base.TimedSystem`."""
    before = (("masks", self.find_masks), ("crops", self.cut_hands))
    recovery = (("recovery", self.recovered),) if self.recover else ()
    beside = (("pose without recovery", self.see_before),) if self.recover and self.compare else ()
    return (*before, *recovery, ("pose", self.see_pose), *beside)

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """See `schema.PREDICTION`; with `compare`, also the joints that are seen without recovery."""
    values = dict(batch)
    for _, step in self.prediction_steps:
      values |= step(variables, values)
    has_mask, prob = values["hand_found"], values["hand_prob"]
    together = (has_mask & values["hand_placed"]).all(-1)
    joints_cam, wrist_depth = values["joints_cam"], values["joints_cam"][..., skeleton.WRIST, 2]
    relative = wrist_depth[:, schema.LEFT] - wrist_depth[:, schema.RIGHT]
    prediction = {
      "joints_img": values["joints_img"],
      "joints_rel_depth": values["joints_rel_depth"],
      "rel_root_depth": jnp.where(together, relative, 0),
      "hand_prob": prob,
      "confidence": jnp.where(has_mask[..., None], values["confidence"], 0),
      "scale_known": jnp.zeros(len(prob), bool),
      "joints_cam": joints_cam,
      "hands_together": together & self.one_depth,
      "masks": values["all_masks"],
      "hand_crops": self._shown(values["hand_images"]),
      "hand_crop_from_img": values["hand_crop_from_img"],
    }
    if self.recover:
      prediction["recovered"] = self._shown(values["recovered_images"])
    if "joints_img_unrecovered" in values:
      prediction["joints_img_unrecovered"] = values["joints_img_unrecovered"]
    return prediction

  # ---- the steps ----------------------------------------------------------------

  def find_masks(self, variables: base.Variables, values: Values) -> Values:
    """`all_masks` [B, 2, 2, h, w]: probabilities by hand and kind, in the crop of both hands."""
    cut = functools.partial(crop.warp, out_hw=self.crop_hw)
    key = jax.random.key(_KEY)
    batch = self.hasm.device_ops({"image": jax.vmap(cut)(values["picture"], values["crop_from_img"])}, key, False)
    all_masks = self.hasm.predict(subtrees.part(variables, SEGMENTER), batch, key)["masks"]
    if self.masks == "true":
      all_masks = jnp.where(values["masks_valid"][..., None, None], values["masks"].astype(all_masks.dtype), all_masks)
    return {"all_masks": all_masks}

  def cut_hands(self, variables: base.Variables, values: Values) -> Values:
    """Crops of the hands by their whole masks; left hands are mirrored.

    Returns:
      "hand_images" [B, 2, H, W, 3], normalised; "hand_masks" [B, 2, 2, 2, H, W], 0 | 1: in each hand's crop the masks
      by hand (this, other) and kind; "hand_crop_from_img" [B, 2, 2, 3]; "hand_prob" and "hand_found" [B, 2].
    """
    found_masks = values["all_masks"]
    if self.hdrm.released:
      prob = found_masks[:, :, _AMODAL].max((2, 3))
    else:
      found_masks, prob = holes.trusted(found_masks)
    affine, has_mask = self.hand_affines(found_masks, values["crop_from_img"], values["picture_hw"])
    cut = functools.partial(crop.warp_smoothly, out_hw=self.hand_hw, oversampling=self.oversampling)
    pictures = jax.vmap(jax.vmap(cut, (None, 0)))(values["picture"], affine)
    return {
      "hand_images": colour.normalise(pictures / 255),
      "hand_masks": self._masks_of_hands(found_masks, values["crop_from_img"], affine),
      "hand_crop_from_img": affine,
      "hand_prob": prob,
      "hand_found": has_mask,
    }

  def hand_affines(
    self,
    found_masks: Float[jax.Array, "b 2 2 h w"],
    crop_from_img: Float[jax.Array, "b 2 3"],
    picture_hw: Any,
  ) -> tuple[Float[jax.Array, "b 2 2 3"], Bool[jax.Array, "b 2"]]:
    """Affines from the picture to each hand's crop, and which hands have a mask; the others see the whole picture."""
    boxes, has_mask = masks.hand_boxes(found_masks, crop_from_img, self.crop_hw)
    size = jnp.maximum(boxes[..., 2:], _LEAST_PX)
    boxes = jnp.concatenate([boxes[..., :2] + (boxes[..., 2:] - size) / 2, size], axis=-1)
    extent = picture_hw[:, ::-1].astype(jnp.float32)
    whole = jnp.concatenate([jnp.zeros_like(extent), extent], axis=-1)[:, None]
    boxes = jnp.where(
      has_mask[..., None],
      crop.process_box(boxes, self.hand_hw, self.hand_factor),
      crop.process_box(whole, self.hand_hw, 1.0),
    )
    return jnp.asarray(crop.crop_affine(boxes, self.hand_hw, mirror=np.arange(2) == schema.LEFT)), jnp.asarray(has_mask)

  def recovered(self, variables: base.Variables, values: Values) -> Values:
    """`recovered_images` [B, 2, H, W, 3], normalised: each hand's crop with its holes filled."""
    both_holes = holes.find(_as_one_batch(values["hand_masks"]), "amodal" if self.hdrm.released else "visible")
    pictures = self.hdrm.recover(variables, _as_one_batch(values["hand_images"]), both_holes)
    return {"recovered_images": _by_hand(pictures)}

  def see_pose(self, variables: base.Variables, values: Values) -> Values:
    """Of `_poses`, from the recovered crops, or the crops as they are; at one depth if the system says so."""
    pose = self._poses(variables, values, values["recovered_images" if self.recover else "hand_images"])
    if self.one_depth:
      pose["joints_cam"] = self._at_one_depth(pose["joints_cam"], values["hand_found"] & pose["hand_placed"])
    return pose

  def see_before(self, variables: base.Variables, values: Values) -> Values:
    """`joints_img_unrecovered` [B, 2, 21, 2], px: what is seen of the crops as they are, to be shown beside."""
    return {"joints_img_unrecovered": self._poses(variables, values, values["hand_images"])["joints_img"]}

  # ---- pose of both hands ----------------------------------------------------------

  def _poses(self, variables: base.Variables, values: Values, images: Float[jax.Array, "b 2 h w 3"]) -> Values:
    """`_OF_HANDS`, unmirrored, from normalised crops; "hand_placed" [B, 2]: the hand is in front of the camera."""
    known = values["camera_valid"][:, None, None]
    # Some camera must be taken where none is known; whoever knows better moves the hands as a whole.
    camera = jnp.where(known, values["camera_img"], lift.normalised_camera(values["picture_hw"]))
    of_left = mirror.mirror({"camera_img": camera})["camera_img"]
    batch = {
      "image": 255 * colour.denormalise(_as_one_batch(images)),
      "crop_from_img": _as_one_batch(values["hand_crop_from_img"]),
      "camera_img": _as_one_batch(jnp.stack([camera, of_left], axis=1)),
      "camera_valid": jnp.ones(2 * len(camera), bool),
    }
    key = jax.random.key(_KEY)
    batch = self.pose.device_ops(batch, key, False)
    pose: dict[str, Any] = dict(self.pose.predict(subtrees.part(variables, ESTIMATOR), batch, key))
    lifted = lift.lift(pose, batch, "place", bones=bones.mean_bones())
    pose = {"joints_cam": lifted.joints_cam} | pose
    of_views = {name: _by_hand(pose[name]) for name in _OF_HANDS}
    right = {name: value[:, 0] for name, value in of_views.items()}
    left = mirror.mirror({name: value[:, 1] for name, value in of_views.items()})
    hands = {name: jnp.stack([right[name][:, 0], left[name][:, 1]], axis=1) for name in _OF_HANDS}
    return hands | {"hand_placed": _by_hand(lifted.valid)[..., 0]}

  def _at_one_depth(self, joints_cam: Any, known: Any) -> Any:
    """Hands at one depth where both are known: moved, not scaled, so that they leave their pixels a little."""
    wrists = joints_cam[..., skeleton.WRIST, :]
    moved = place.at_one_depth(wrists) - wrists
    return joints_cam + jnp.where(known.all(-1)[:, None, None], moved, 0)[..., None, :]

  def _masks_of_hands(
    self,
    found_masks: Float[jax.Array, "b 2 2 h w"],
    crop_from_img: Float[jax.Array, "b 2 3"],
    hand_crop_from_img: Float[jax.Array, "b 2 2 3"],
  ) -> Float[jax.Array, "b 2 2 2 hh ww"]:
    """By crop (right, left), hand (this, other) and kind."""
    if self.hdrm.released:
      found_masks = (found_masks > 0.5).astype(jnp.float32)
    planes = found_masks.reshape(len(found_masks), 4, *self.crop_hw).transpose(0, 2, 3, 1)
    img_from_crop = crop.invert_affine(crop_from_img)
    img_from_crops = jnp.stack([img_from_crop, img_from_crop], axis=1)
    hand_crop_from_crop = jnp.asarray(crop.compose_affine(hand_crop_from_img, img_from_crops))
    cut = functools.partial(crop.warp, out_hw=self.hand_hw)
    cut_out = jax.vmap(jax.vmap(cut, (None, 0)))(planes, hand_crop_from_crop)
    cut_out = cut_out.transpose(0, 1, 4, 2, 3).reshape(*cut_out.shape[:2], 2, 2, *self.hand_hw)
    of_right, of_left = cut_out[:, 0], cut_out[:, 1, ::-1]
    inside = jnp.stack([of_right, of_left], axis=1) > (_INSIDE if self.hdrm.released else 0.5)
    return inside.astype(jnp.float32)

  def _shown(self, images: Float[jax.Array, "b 2 h w 3"]) -> Float[jax.Array, "b 2 h w 3"]:
    return jnp.clip(colour.denormalise(images), 0, 1)

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> base.Variables:
    """Variables of one part, from the release's file for it: HASM's, HDRM's generator's, or the pose estimator's.

    Raises:
      ValueError: a key that is unknown, missing or of another shape.
    """
    keys = tuple(state_dict)
    if any(key.startswith(("backbone.layers", "decode_head.")) for key in keys):
      return subtrees.nested(SEGMENTER, self.hasm.import_weights(state_dict))
    if any(key.startswith(("enc_", "dec_")) for key in keys):
      return self.hdrm.import_weights(state_dict)
    return subtrees.nested(ESTIMATOR, self.pose.import_weights(state_dict))


def _as_one_batch(values: Any) -> Any:
  """[B, 2, ...] -> [2B, ...]."""
  return values.reshape(-1, *values.shape[2:])


def _by_hand(values: Any) -> Any:
  """Undoes `_as_one_batch`."""
  return values.reshape(-1, 2, *values.shape[1:])


def build(config: Any) -> Pipeline:
  """The system that `config.system` describes; `hasm`, `hdrm` and `pose` as `system` of their own configs.

  Raises:
    ValueError: an unknown field, with the known ones; or parts that do not fit together.
  """
  system = config.system
  hand_hw = tuple(system.hand_hw)
  for name in ("hasm", "hdrm"):
    if system[name].name != f"hdr.{name}":
      raise ValueError(f"system.{name} is {system[name].name!r}, expected 'hdr.{name}'")
  hasm = {**system.hasm, "map_hw": config.data.crop_hw}
  parts: dict[str, Any] = {"hasm": construct.load(construct.config_of_part(config, hasm))}
  parts |= {
    name: construct.load(construct.config_of_part(config, system[name], crop_hw=hand_hw)) for name in ("hdrm", "pose")
  }
  return construct.from_fields(Pipeline, config, tuples=("picture_hw",), hand_hw=hand_hw, **parts)
