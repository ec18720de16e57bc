"""What a network is given in a step of training, and a sheet of it: crops after augmentation with all that is said of
them.

Nothing here knows a system: what is drawn follows from the keys of its batch, and from its `drawn_targets`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from jaxhands import schema
from jaxhands.drawing import overlay, two_hands
from jaxhands.geometry import crop
from jaxhands.runs import run_data
from jaxhands.systems import base
from jaxhands.train import step as steps

_PANEL_PX = 224  # at least so large, as a whole multiple of the crop
_GAP_PX = 4
_TITLE_PX = 18

Inputs = dict[str, np.ndarray]


def of_step(data: run_data.RunData, step: int) -> Inputs:
  """The batch of a step of training, counted from 0, as the losses are given it, on the host.

  Pictures of 0..1 or normalised ones, that the system made, come as RGB of 0..255, uint8; targets of a
  `base.DrawnSystem` besides, as "joints_crop", "joints_crop_valid" and "heatmaps".

  Args:
    data: of the run, on this process alone.
    step: the same for all that is random.
  """
  system, config = data.system, data.config
  batch = next(data.train_batches(step))
  inputs = jax.jit(steps.make_inputs(system, config.seed, config.accumulation))
  given: dict[str, Any] = dict(inputs(dict(batch), jnp.int32(step)))
  if isinstance(system, base.DrawnSystem):
    given |= jax.jit(system.drawn_targets)(given)
  black, white = (_normalised(system, batch, value) for value in (0, 255))
  given = {key: np.asarray(value) for key, value in given.items()}
  size = given["image"].shape
  for key, value in given.items():
    if value.dtype.kind == "f" and value.shape == size:  # others, as joints by hand, end in 3 as well
      given[key] = _to_rgb((value - black) / (white - black))
  return given


def _normalised(system: base.System, batch: Mapping[str, np.ndarray], value: int) -> np.ndarray:
  """What the system's normalisation, which is the same for all pixels of a channel, makes of a value [3]."""
  even = {key: rows[:1] for key, rows in batch.items()}
  even |= {"image": np.full_like(even["image"], value)}
  return np.asarray(system.device_ops(even, jax.random.key(0), train=False)["image"])[0, 0, 0]


def _to_rgb(picture: Float[np.ndarray, "b h w 3"]) -> UInt8[np.ndarray, "b h w 3"]:
  return np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8)


def sheet(given: Mapping[str, np.ndarray], title: str, examples: int) -> UInt8[np.ndarray, "h w 3"]:
  """The first examples of a batch, one a row; the columns are those of `panels`.

  Args:
    given: of `of_step`.
    title: a line above them.
    examples: at most.
  """
  count = min(examples, len(given["image"]))
  rows = [np.concatenate(panels({key: value[i] for key, value in given.items()}), axis=1) for i in range(count)]
  whole = np.concatenate(rows)
  head = np.zeros((_TITLE_PX, whole.shape[1], 3), np.uint8)
  return np.concatenate([overlay.write_words(head, title), whole])


def panels(example: Mapping[str, np.ndarray]) -> list[UInt8[np.ndarray, "h w 3"]]:
  """Pictures of one example beside each other: the input; joints as targets, or as the batch has them; heatmaps, parts
  and masks over it, and other pictures, where there are.

  Args:
    example: a row of each array of `of_step`.
  """
  picture = example["image"]
  scale = max(-(-_PANEL_PX // max(picture.shape[:2])), 1)
  large = functools.partial(_enlarged, crop_hw=picture.shape[:2], scale=scale)
  plain = large(picture)
  shown = [overlay.write_words(plain.copy(), _name(example))]
  if "joints_crop" in example:
    joints, valid, name = example["joints_crop"], example["joints_crop_valid"], "targets: joints"
  elif "joints_img" in example:
    joints, valid = crop.apply_affine(example["crop_from_img"], example["joints_img"]), example["joints_img_valid"]
    name = "joints of the batch"
  else:
    joints = valid = name = None
  if joints is not None and valid is not None:
    points = np.where(valid[..., None], joints, 0) * scale + (scale - 1) / 2
    width = two_hands.line_px(*plain.shape[:2])
    shown.append(overlay.write_words(overlay.paint(plain, overlay.skeleton(points, valid, width)), f"{name}"))
  if "heatmaps" in example:
    highest = example["heatmaps"].max(1)  # of each hand's joints
    heat = np.stack([large(hand.astype(np.float32), smooth=True) for hand in highest], axis=-1)
    shown.append(overlay.write_words(_glowing(plain, np.clip(heat, 0, 1)), "targets: heatmaps"))
  if "parts" in example:
    parts = large(example["parts"])
    mixed = (0.35 * plain + 0.65 * two_hands.part_colours()[parts]).astype(np.uint8)
    coloured = np.where(parts[..., None] > 0, mixed, plain // 2)
    shown.append(overlay.write_words(coloured, "parts" if example["parts_valid"] else "no parts"))
  if "masks" in example:
    masks = np.stack([[large(mask) for mask in hand] for hand in example["masks"]])
    known = example["masks_valid"]
    words = "masks: amodal outlined" if known.all() else "some masks are unknown" if known.any() else "no masks"
    shown.append(overlay.write_words(overlay.paint_masks(plain, masks), words))
  for key, value in example.items():
    if key != "image" and value.dtype == np.uint8 and value.shape == picture.shape:
      shown.append(overlay.write_words(large(value), key))
  return [np.pad(panel, ((0, _GAP_PX), (0, _GAP_PX), (0, 0))) for panel in shown]


def _name(example: Mapping[str, np.ndarray]) -> str:
  record, view = schema.record_and_view(int(example["example_id"]))
  words = [f"record {record}", {"pair": "pair", "right": "right hand", "left": "left hand, mirrored"}[view]]
  if "hand_present" in example:
    there = [hand for hand, present in zip(schema.HANDS, example["hand_present"], strict=True) if present]
    words.append(f"shows {' and '.join(there) or 'none'}" if example["hand_present_valid"] else "hands unknown")
  return ", ".join(words)


def _enlarged(
  values: Shaped[np.ndarray, "h w *c"], crop_hw: tuple[int, int], scale: int, smooth: bool = False
) -> Shaped[np.ndarray, "p q *c"]:
  """What covers the crop, with pixel 0 at its pixel 0, on a panel of `scale` pixels for each of the crop's."""
  step = [scale * crop / size for crop, size in zip(crop_hw, values.shape[:2], strict=True)]
  first = (scale - 1) / 2
  panel_from_values = np.array([[step[1], 0, first], [0, step[0], first]])
  flags = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
  size = (crop_hw[1] * scale, crop_hw[0] * scale)
  edge = cv2.BORDER_REPLICATE
  return cv2.warpAffine(np.ascontiguousarray(values), panel_from_values, size, flags=flags, borderMode=edge)


def _glowing(picture: UInt8[np.ndarray, "h w 3"], heat: Float[np.ndarray, "h w 2"]) -> UInt8[np.ndarray, "h w 3"]:
  """The picture, darkened, with the heat of each hand in its colour; where both are, the colours mix."""
  colours = np.array([overlay.HAND_RGB[name] for name in schema.HANDS], float)
  mixed = heat @ colours / np.maximum(heat.sum(-1, keepdims=True), 1e-6)
  share = heat.max(-1, keepdims=True)
  return np.rint((1 - share) * picture / 3 + share * mixed).astype(np.uint8)
