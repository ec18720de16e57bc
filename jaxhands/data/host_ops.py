"""From a record to one example, in NumPy and OpenCV: what a `System.host_ops` is composed of.

    def host_ops(self, train):
      return host_ops.crop_ops(crop_hw=(256, 256), augmentation=augment.INTERNET if train else None)

An op is a frozen dataclass, so that worker processes can receive it, called as `op(example, rng) -> example`. A record
comes as the data source reads it: arrays, encoded pictures (already without those that no one needs), and `view`.
Ops process what is there; `select` then builds exactly the keys that were asked for. What the leading `deterministic`
ops made of a record may be kept in memory: later ops replace values of the example and never write into them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from jaxhands import schema
from jaxhands.data import augment
from jaxhands.geometry import crop
from jaxhands.hands import mirror

cv2.setNumThreads(0)  # examples are already made in parallel

Example = dict[str, Any]

_REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
# Record keys that one batch key is made of; all others have the same name.
_SOURCES = {
  "image": ("picture",), "annotations_valid": ("annotations_mano",),
  "record_hash": ("source",), "root_depth_estimated": ("source",),
} | {kind: tuple(f"{kind}_{hand}" for hand in schema.HANDS) for kind in ("deoccluded", "removed")}  # fmt: skip
ENCODED = ("picture", "parts", "masks", *_SOURCES["deoccluded"], *_SOURCES["removed"])
_TRIES, _OTHER_SIZE, _CLEARANCE = 10, (0.5, 1.2), 1.0  # of `Elsewhere`; the last is half a crop's side, and some more
_ALWAYS = {"record_id", "box_img", "joints_img", "joints_img_valid"}  # what views and crops are made of
_MADE_HERE = {
  "example_id", "weight", "record_hash", "crop_from_img", "root_depth_estimated", "root_depth_estimated_valid",
}  # fmt: skip


def record_keys(needs: Collection[str]) -> frozenset[str]:
  """The keys of a record that the batch keys `needs` are made of; the others need not be read."""
  direct = {source for key in needs for source in _SOURCES.get(key, (key,))}
  return frozenset(_ALWAYS | direct) - _MADE_HERE


def decode_picture(encoded: bytes, reduction: int = 1) -> UInt8[np.ndarray, "P Q 3"]:
  """RGB of an encoded picture at 1 / `reduction` (1, 2, 4) of its size; EXIF orientation is ignored.

  Raises:
    ValueError: bytes that OpenCV cannot read.
  """
  flags = _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
  content = np.frombuffer(encoded, np.uint8)
  try:
    picture = cv2.imdecode(content, flags)
  except cv2.error:  # what stands for a picture that is not there is too small to be reduced
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
  if picture is None:
    raise ValueError(f"a picture of {len(encoded)} bytes cannot be decoded; rebuild the data set's shard")
  return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decode_labels(encoded: bytes) -> UInt8[np.ndarray, "P Q"]:
  """A label map from its PNG.

  Raises:
    ValueError: bytes that OpenCV cannot read.
  """
  labels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
  if labels is None:
    raise ValueError(f"a label map of {len(encoded)} bytes cannot be decoded; rebuild the data set's shard")
  return labels


def warp(
  picture: Shaped[np.ndarray, "P Q *c"], out_from_picture: Float[np.ndarray, "2 3"], out_hw: tuple[int, int],
  nearest: bool = False,
) -> Shaped[np.ndarray, "H W *c"]:  # fmt: skip
  """The crop of a picture (bilinear) or of labels (`nearest`), 0 outside, in the picture's dtype."""
  affine = out_from_picture.astype(np.float64)
  if nearest:
    return cv2.warpAffine(picture, affine, out_hw[::-1], flags=cv2.INTER_NEAREST)
  if picture.dtype == np.uint8 and picture.shape[2:] == (3,):  # of four channels OpenCV 5 is twice as fast
    four = cv2.warpAffine(cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA), affine, out_hw[::-1], flags=cv2.INTER_LINEAR)
    return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)
  return cv2.warpAffine(picture, affine, out_hw[::-1], flags=cv2.INTER_LINEAR)


@dataclasses.dataclass(frozen=True)
class ToView:
  """Shows the record from `example["view"]`: the pair as it is, or one hand as a right hand with a box of its own.

  A hand's box is the tight box of its joints, enlarged 1.2 times; without a joint, the record's box.
  """

  deterministic: ClassVar[bool] = True

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    name = example["view"]
    example["example_id"] = np.int32(schema.example_id(int(example.pop("record_id")), name))
    example["weight"] = np.float32(1)
    if "source" in example:
      example["record_hash"] = schema.record_hash(example.pop("source"), example["box_img"])
    if name != "pair":
      example |= mirror.view(_schema_values(example), name)
      own = np.asarray(crop.box_around(example["joints_img"][0], example["joints_img_valid"][0]))
      example["box_img"] = own if own[2] > 0 and own[3] > 0 else example["box_img"]
    return example


@dataclasses.dataclass(frozen=True)
class Decode:
  """Decodes pictures and label maps; those that are arrays already stay as they are.

  Attributes:
    shrink_to: decode pictures at half or a quarter of their size where the box without augmentation still has this
      many pixels a side. Faster, less aliasing and memory, but not the reference's pixels. 0 = full size.
    box_factor: that of the crop.
  """

  shrink_to: int = 0
  box_factor: float = crop.BOX_FACTOR
  deterministic: ClassVar[bool] = True

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    reduction = 1
    if self.shrink_to and not isinstance(example.get("picture"), np.ndarray):
      side = float(max(example["box_img"][2:])) * self.box_factor
      reduction = max(factor for factor in _REDUCED if factor == 1 or factor * self.shrink_to <= side)
    for key in ENCODED:
      if key in example and not isinstance(example[key], np.ndarray):
        labels = key in ("parts", "masks")
        example[key] = decode_labels(example[key]) if labels else decode_picture(example[key], reduction)
    example["reduction"] = reduction
    return example


@dataclasses.dataclass(frozen=True)
class Elsewhere:
  """Now and then looks where the picture shows no joint, and says that no hand is there.

  So that a system also learns from what is not a hand: arms, backgrounds, the black beyond a picture. The box is about
  as large as the scene's own. A picture without room stays as it is.

  Attributes:
    share: of the pictures.
  """

  share: float

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    if rng.random() >= self.share:
      return example
    height, width = (side * example["reduction"] for side in example["picture"].shape[:2])
    joints = example["joints_img"][example["joints_img_valid"]]
    for _ in range(_TRIES):
      side = max(example["box_img"][2:]) * rng.uniform(*_OTHER_SIZE)
      # The crop may show more than the box; its middle lies in the picture.
      centre = rng.uniform((0, 0), (width, height))
      if (np.abs(joints - centre).max(-1) > _CLEARANCE * side).all():
        break
    else:
      return example
    example["box_img"] = np.array([*(centre - side / 2), side, side], np.float32)
    of_hands = (key for key in _schema_values(example) if schema.BATCH[key].hand_axis is not None)
    return example | {key: np.zeros_like(example[key]) for key in of_hands}


@dataclasses.dataclass(frozen=True)
class Crop:
  """Cuts the input, the label maps and the pictures of the crop frame out of the record, with one affine.

  Attributes:
    crop_hw: size of the network's input in pixels.
    map_hw: size of `parts` and `masks`; they cover the same region.
    box_factor: enlargement of `box_img`.
    augmentation: None = the neutral crop.
    clip: only the part of the box that is in the picture counts (RootNet); see `geometry.crop.clip_box`.

  Raises:
    ValueError: the augmentation mirrors a hand view, which would be a left hand among right ones.
  """

  crop_hw: tuple[int, int]
  map_hw: tuple[int, int]
  box_factor: float = crop.BOX_FACTOR
  augmentation: augment.RandomCrop | None = None
  clip: bool = False

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    box = example["box_img"]
    if self.clip:
      decoded_hw = example["picture"].shape[:2]
      box = crop.clip_box(box, [size * example["reduction"] for size in decoded_hw])
    box = np.asarray(crop.process_box(box, self.crop_hw, self.box_factor))
    draw = self.augmentation.draw(rng, self._share_of_masks(example, box)) if self.augmentation else augment.NEUTRAL
    name = example.pop("view")
    if draw.mirror and name != "pair":
      raise ValueError(f"view {name!r} shows right hands only; give its augmentation mirror_probability=0")
    mirrored = draw.mirror or name == "left"
    if draw.mirror:
      example |= mirror.mirror(_schema_values(example))
    affine = crop.crop_affine(box, self.crop_hw, draw.translation, draw.scale, draw.rotation, mirrored)
    example["crop_from_img"] = affine
    # Pixel i of a picture decoded smaller is the mean of `reduction` pixels from i * reduction on.
    reduction = example.pop("reduction")
    centre = (reduction - 1) / 2
    img_from_decoded = np.array([[reduction, 0, centre], [0, reduction, centre]], np.float32)
    crop_from_decoded = np.asarray(crop.compose_affine(affine, img_from_decoded))
    map_from_img = np.asarray(crop.resize_affine(affine, self.crop_hw, self.map_hw))

    if "picture" in example:
      example["image"] = warp(example["picture"], crop_from_decoded, self.crop_hw)
    maps = {}
    if "parts" in example:
      maps["parts"] = warp(example["parts"], map_from_img, self.map_hw, nearest=True)
    if "masks" in example:
      maps["masks"] = schema.unpack_masks(warp(example["masks"], map_from_img, self.map_hw, nearest=True))
    for key in ("deoccluded", "removed"):
      if _SOURCES[key][0] in example:
        maps[key] = np.stack([warp(example.pop(hand), crop_from_decoded, self.crop_hw) for hand in _SOURCES[key]])
    return example | (mirror.mirror(maps) if mirrored else maps)

  def _share_of_masks(self, example: Example, box: np.ndarray) -> augment.ShareOfMasks | None:
    if "masks" not in example:
      return None
    packed = example["masks"]

    def share(draw: augment.CropDraw) -> float:
      # Unmirrored: a mirror changes places, not counts.
      affine = crop.crop_affine(box, self.crop_hw, draw.translation, draw.scale, draw.rotation)
      map_from_img = np.asarray(crop.resize_affine(affine, self.crop_hw, self.map_hw))
      shown = warp(packed, map_from_img, self.map_hw, nearest=True)
      return np.bitwise_count(shown).sum() / (4 * shown.size)  # a pixel has a bit for each of the four masks

    return share


@dataclasses.dataclass(frozen=True)
class PadPicture:
  """Pads the original picture below and right to `picture_hw`, for systems that need it besides the crop.

  Raises:
    ValueError: the picture is larger, or was decoded smaller than it is.
  """

  picture_hw: tuple[int, int]
  deterministic: ClassVar[bool] = True

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    if "picture" in example:
      picture = example["picture"]
      height, width = picture.shape[:2]
      if height > self.picture_hw[0] or width > self.picture_hw[1]:
        raise ValueError(f"a picture of {height} x {width} does not fit {self.picture_hw}; enlarge picture_hw")
      if example["reduction"] > 1:
        raise ValueError(f"the picture was decoded at 1/{example['reduction']} of its size; set shrink_to=0")
      example["picture"] = np.zeros((*self.picture_hw, 3), np.uint8)
      example["picture"][:height, :width] = picture
    return example


@dataclasses.dataclass(frozen=True)
class PadAnnotations:
  """Exactly `count` rows of `annotations_mano`, padded with 0; of more, the first ones or `random` ones.

  Attributes:
    count: rows.
    random: chosen anew each time.
    keeps_one: the first row is then always the same, one that follows from `example_id`.
  """

  count: int
  random: bool
  keeps_one: bool = False

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    given = example["annotations_mano"]
    if self.keeps_one and len(given):
      chosen = np.random.default_rng(int(example["example_id"])).integers(len(given))
      given = np.roll(given, -chosen, axis=0)
    if self.random and len(given) > self.count:
      fixed = int(self.keeps_one)
      drawn = fixed + np.sort(rng.choice(len(given) - fixed, self.count - fixed, replace=False))
      given = given[np.concatenate([np.arange(fixed), drawn])]
    given = given[: self.count]
    padding = ((0, self.count - len(given)), (0, 0), (0, 0))
    example["annotations_mano"] = np.pad(given, padding)
    example["annotations_valid"] = np.arange(self.count) < len(given)
    return example


def crop_ops(
  crop_hw: tuple[int, int],
  map_hw: tuple[int, int] | None = None,
  augmentation: augment.RandomCrop | None = None,
  box_factor: float = crop.BOX_FACTOR,
  shrink: bool = False,
  clip: bool = False,
  elsewhere: float = 0.0,
) -> tuple[ToView | Decode | Elsewhere | Crop, ...]:
  """The ops that make an example of either view.

  Args:
    crop_hw: size of the network's input in pixels.
    map_hw: size of label maps; None = half the crop's.
    augmentation: None = the neutral crop.
    box_factor: enlargement of `box_img`.
    shrink: decode pictures at a part of their size where the crop has so few pixels anyway; see `Decode`.
    clip: cut the box at the picture's edges first; see `Crop`.
    elsewhere: how often a crop without hands is taken; see `Elsewhere`. Not with label maps, which would show them.
  """
  map_hw = map_hw or (crop_hw[0] // 2, crop_hw[1] // 2)
  decode = Decode(max(crop_hw) if shrink else 0, box_factor)
  away = (Elsewhere(elsewhere),) if elsewhere else ()
  return (ToView(), decode, *away, Crop(crop_hw, map_hw, box_factor, augmentation, clip))


def select(example: Mapping[str, Any], needs: Collection[str]) -> Example:
  """The keys `needs` with the schema's dtypes; `example_id` and `weight` always.

  A key that only other data sets have (estimated depths) is 0 with its flag False.

  Raises:
    ValueError: a key that no op built, with those that are there.
  """
  wanted = set(needs) | {key for key, field in schema.BATCH.items() if field.required}
  optional = {"root_depth_estimated": np.zeros(2, np.float32), "root_depth_estimated_valid": np.zeros(2, bool)}
  values = optional | dict(example)
  missing = sorted(wanted - set(values))
  if missing:
    raise ValueError(f"no host op builds {missing}; the example has {sorted(example)}")
  return {key: np.asarray(values[key], schema.BATCH[key].dtype) for key in sorted(wanted)}


def _schema_values(example: Example) -> Example:
  """Keys of the schema that mirroring changes at once; pictures and label maps are mirrored when they are cropped."""
  return {key: value for key, value in example.items() if key in schema.BATCH and key not in ENCODED}
