"""A made-up download of AIH in its authors' layout: discs for hands, every name and number known."""

from __future__ import annotations

import pathlib

import cv2
import numpy as np

SIZE = 256
LETTERS = ("r", "l")
BRANCH = "machine_annot"
IDS = {0: [11, 12, 30], 1: [7, 40]}  # in the filtered lists, by hand
STILL = [[0.0, 0.0], 1.0, 0.0, [1.0, 1.0, 1.0]]
MOVED = [np.array([0.05, -0.08]), np.float64(1.1), 20.0, [1.0, 0.9, 1.1]]
RECIPES = [
  {"loop_side": "right", "loop_side_idx": 0, "another_side_idx": 1, "r_aug_list": STILL, "l_aug_list": MOVED},
  {"loop_side": "left", "loop_side_idx": 0, "another_side_idx": 2, "r_aug_list": MOVED, "l_aug_list": STILL},
  {"loop_side": "right", "loop_side_idx": 1, "another_side_idx": -1000, "r_aug_list": MOVED, "l_aug_list": None},
]
SPLITS = {"render": ("train", "val"), "syn": ("train", "test")}


def picture(seed: int) -> np.ndarray:
  noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
  return cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def disc(x: int, y: int, radius: int) -> np.ndarray:
  return cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (x, y), radius, 1, -1)


def target(hand: int) -> np.ndarray:
  """Amodal mask of the hand that a picture of AIH_Render is centred on."""
  return disc(120 + 20 * hand, 128, 40)


def other(hand: int) -> np.ndarray:
  return disc(90 + 70 * hand, 110, 30)


def single(hand: int, number: int) -> np.ndarray:
  """Amodal mask of a single hand of AIH_Syn."""
  return disc(128 + number % 3, 120 + 10 * hand, 45)


def _write(path: pathlib.Path, content: np.ndarray) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  assert cv2.imwrite(str(path), content[..., ::-1] if content.ndim == 3 else content)


def write(folder: pathlib.Path) -> None:
  """Writes both parts below `folder`."""
  for split in SPLITS["render"]:
    inside = folder / "AIH_render" / BRANCH / split
    for hand, letter in enumerate(LETTERS):
      for number in range(2):
        name = f"{split}_{letter}_{number}"
        visible = np.where(other(hand) > 0, 2 - hand, np.where(target(hand) > 0, 1 + hand, 0)).astype(np.uint8)
        _write(inside / "images" / f"{letter}_images" / "IH" / f"{name}.jpg", picture(number))
        _write(inside / "images" / f"{letter}_images" / "DR_gt" / f"{name}.jpg", picture(10 + number))
        _write(inside / "labels" / f"in_{letter}_images" / f"{letter}_amodal" / f"{name}.png", target(hand))
        _write(inside / "labels" / f"in_{letter}_images" / "rl_visible" / f"{name}.png", visible)
  syn = folder / "AIH_syn"
  for name in ("filtered_list", "syn_cfgs"):
    (syn / name).mkdir(parents=True)
  for split in SPLITS["syn"]:
    for hand, letter in enumerate(LETTERS):
      side = ("right", "left")[hand]
      listing = "".join(f"{number}\n" for number in IDS[hand])
      (syn / "filtered_list" / f"{BRANCH}_{split}_sh_{side}_filtered.txt").write_text(listing)
      for number in IDS[hand]:
        inside = syn / BRANCH / split
        _write(inside / "images" / f"{letter}_images" / f"{number}.jpg", picture(20 + number))
        _write(inside / "labels" / f"in_{letter}_images" / f"{letter}_amodal" / f"{number}.png", single(hand, number))
    entries = np.empty(len(RECIPES), object)
    entries[:] = [{**recipe, "occlusion_rate": np.float32(0.3)} for recipe in RECIPES]
    np.save(syn / "syn_cfgs" / f"all_{BRANCH}_{split}_syn_cfgs.npy", entries)
