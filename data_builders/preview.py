"""Contact sheets of a finished data set: every stored label drawn over the stored picture, one record a row.

`python -m data_builders.preview FOLDER [--records N] [--mano DIR]` reads the data set as any user does, through TFDS.
The meshes are posed by the stored parameters and projected by the stored camera, so that a sheet shows whether the
labels agree.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from data_builders.built import open_folder, raw_records, read_record
from data_builders.command import clear_exit
from data_builders.shards import BuildError, clear_errors
from jaxhands.drawing.overlay import HAND_RGB, paint, paint_masks, skeleton, write_words
from jaxhands.hands.mano_files import ManoFileError
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import PARENTS
from jaxhands.schema import HANDS, NUM_PARTS, unpack_masks
from jaxhands.terminal.arguments import Parser

PANEL_PX = 240
ROWS = 8
_YELLOW = (255, 225, 60)
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates

Image = np.ndarray  # [n, n, 3] uint8 RGB


def write_sheets(folder: pathlib.Path, records: int, mano: str = "") -> list[pathlib.Path]:
  """Draws records, spread evenly over all splits, into `FOLDER/preview`.

  Args:
    folder: a finished data set.
    records: how many.
    mano: the user's MANO files, for data sets with parameters of MANO; "" = the embedded hand model.
  Returns:
    The sheets' paths.
  Raises:
    BuildError: the folder is no finished data set, or a damaged one; the hand model cannot be read; the disk is full.
  """
  model = _load_model(mano)
  if not (folder / "dataset_info.json").exists():
    raise BuildError(f"{folder} is no finished data set: it has no dataset_info.json")
  builder = open_folder(str(folder))
  everything = [(name, index) for name, info in builder.info.splits.items() for index in range(info.num_examples)]
  picked = [
    everything[i] for i in np.linspace(0, len(everything) - 1, min(records, len(everything))).round().astype(int)
  ]
  sources = {split: raw_records(builder, split) for split in {split for split, _ in picked}}

  def row_of(split: str, index: int) -> Image:
    record = read_record(builder, sources[split], split, index, builder.info.features, {})
    return draw_record(record, model=model)

  target = folder / "preview"
  target.mkdir(exist_ok=True)
  for old in target.glob("sheet_*.png"):
    old.unlink()
  sheets = []
  for start in range(0, len(picked), ROWS):
    rows = [row_of(split, index) for split, index in picked[start : start + ROWS]]
    path = target / f"sheet_{start // ROWS:03d}.png"
    with clear_errors(target):  # cv2.imwrite does not notice every full disk
      path.write_bytes(cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1].tobytes())
    sheets.append(path)
  return sheets


def show_or_tell(folder: pathlib.Path, records: int | None, mano: str = "") -> None:
  """Draws records, if any are asked for, and prints where they are; else how to draw some. Errors of `write_sheets`."""
  if records:
    print(*write_sheets(folder, records, mano), sep="\n")
  else:
    print(f"Look at them: python -m data_builders.preview {folder}")


def _load_model(mano: str) -> HandModel:
  try:
    return HandModel.from_mano(mano) if mano else HandModel.default()
  except ManoFileError as error:
    raise BuildError(str(error)) from error


def draw_record(record: Mapping[str, Any], size: int = PANEL_PX, model: HandModel | None = None) -> Image:
  """One row: skeletons and box, depth, mesh, parts, masks, then per hand the de-occluded and distractor-free picture.

  Args:
    record: as TFDS decodes it.
    size: side of a panel in pixels.
    model: hand model whose meshes are drawn where the parameters are its own; None: the embedded one.
  Returns:
    Picture [size, panels * size, 3].
  """
  side = max(record["picture"].shape[:2])
  drawers = (_draw_skeletons, _draw_depth, _mesh_drawer(model or HandModel.default()), _draw_parts, _draw_masks)
  panels = [draw(_fitted(record["picture"], side, size), record, size / side) for draw in drawers]
  for kind in ("deoccluded", "removed"):
    for hand, name in enumerate(HANDS):
      valid = record[f"{kind}_valid"][hand]
      panel = _fitted(record[f"{kind}_{name}"], side, size) if valid else np.zeros((size, size, 3), np.uint8)
      panels.append(write_words(panel, f"{kind} {name}" + ("" if valid else ": none"), 0))
  return np.concatenate(panels, axis=1)


def _fitted(picture: Image, side: int, size: int) -> Image:
  square = np.zeros((side, side, picture.shape[2]), np.uint8)
  square[: picture.shape[0], : picture.shape[1]] = picture
  # An affine and not cv2.resize: pixel centres stay at integer coordinates, as in the labels.
  shrink = np.array([[size / side, 0, 0], [0, size / side, 0]])
  nearest = picture.shape[2] == 1
  flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
  small = cv2.warpAffine(square, shrink, (size, size), flags=flags)
  return small[..., None] if nearest else small


def _point(xy: np.ndarray) -> tuple[int, int]:
  x, y = np.clip(xy * 2**_SHIFT, -1e6, 1e6).round().astype(int)
  return int(x), int(y)


def _draw_skeletons(panel: Image, record: Mapping[str, Any], scale: float) -> Image:
  """Joints (rings where they are not visible), bones, box, identities."""
  valid, depth = record["joints_img_valid"], record["joints_cam"][..., 2]
  joints = np.where(valid[..., None], record["joints_img"] * scale, 0)
  panel = paint(panel, skeleton(joints, valid, 1.5, visible=record["joints_visible"], depth=depth))
  x, y, width, height = record["box_img"] * scale
  cv2.rectangle(
    panel, _point(np.array([x, y])), _point(np.array([x + width, y + height])), _YELLOW, 1, cv2.LINE_AA, _SHIFT
  )
  present = " ".join(name for name, is_there in zip(HANDS, record["hand_present"], strict=True) if is_there)
  write_words(panel, f"{record['record_id']} {present}", 0)
  write_words(panel, f"subject {record['subject_id']} scene {record['scene_id']}", 1)
  return write_words(panel, f"frame {record['frame']} camera {record['camera_id']}", 2)


def _draw_depth(panel: Image, record: Mapping[str, Any], scale: float) -> Image:
  """Projected camera joints, coloured by depth: red near, blue far, 200 mm about the mean."""
  panel = panel // 3
  valid = record["joints_cam_valid"]
  if not (valid.any() and record["camera_valid"]):
    return write_words(panel, "no camera joints", 0)
  joints = record["joints_cam"]
  homogeneous = joints @ record["camera_img"].T
  projected = homogeneous[..., :2] / np.where(valid, joints[..., 2], 1)[..., None] * scale
  depth = joints[..., 2]
  level = np.clip((depth - depth[valid].mean()) / 200 + 0.5, 0, 1)
  colours = cv2.applyColorMap(np.uint8(255 * (1 - level)).reshape(-1, 1), cv2.COLORMAP_JET)[:, 0, ::-1].reshape(
    2, 21, 3
  )
  for hand, joint in np.argwhere(valid):
    parent = PARENTS[joint]
    if parent >= 0 and valid[hand, parent]:
      ends = _point(projected[hand, joint]), _point(projected[hand, parent])
      cv2.line(panel, *ends, (150, 150, 150), 1, cv2.LINE_AA, _SHIFT)
  for hand, joint in np.argwhere(valid):
    colour = tuple(int(c) for c in colours[hand, joint])
    cv2.circle(panel, _point(projected[hand, joint]), 3 << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)
  roots = "/".join(
    f"{z:.0f}" if ok else "-" for z, ok in zip(record["root_depth"], record["root_depth_valid"], strict=True)
  )
  return write_words(panel, f"wrists at {roots} mm", 0)


def _mesh_drawer(model: HandModel) -> Callable[[Image, Mapping[str, Any], float], Image]:
  """Draws the outline of every triangle of the hand model, posed and projected from what is stored."""

  def draw(panel: Image, record: Mapping[str, Any], scale: float) -> Image:
    if not record["mano_valid"].any():
      return write_words(panel, "no hand model", 0)
    if record["hand_model"].decode() != model.identity:
      return write_words(panel, f"mesh of {record['hand_model'].decode()}: --mano", 0)
    posed = model.forward_mano(record["mano"])
    for hand, colour in enumerate(HAND_RGB.values()):
      if record["mano_valid"][hand]:
        homogeneous = posed.vertices[hand] @ record["camera_img"].T
        projected = homogeneous[:, :2] / homogeneous[:, 2:] * scale
        edges = (projected[model.faces[hand]] * 2**_SHIFT).round().astype(np.int32)
        drawn = panel.copy()
        cv2.polylines(drawn, list(edges), True, colour, 1, cv2.LINE_AA, _SHIFT)
        panel = cv2.addWeighted(drawn, 0.5, panel, 0.5, 0)
    return write_words(panel, f"mesh of {model.identity}", 0)

  return draw


def _part_colours() -> np.ndarray:
  hue = np.concatenate([[0], np.arange(1, NUM_PARTS) * 53 % 180]).astype(np.uint8)
  value = np.concatenate([[0], np.repeat([255, 190], 16)]).astype(np.uint8)
  hsv = np.stack([hue, np.full(NUM_PARTS, 230, np.uint8), value], axis=-1)
  return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def _draw_parts(panel: Image, record: Mapping[str, Any], scale: float) -> Image:
  if not record["parts_valid"]:
    return write_words(panel, "no parts", 0)
  parts = _fitted(record["parts"], max(record["picture"].shape[:2]), panel.shape[0])[..., 0]
  mixed = (0.35 * panel + 0.65 * _part_colours()[np.minimum(parts, NUM_PARTS - 1)]).astype(np.uint8)
  return write_words(np.where(parts[..., None] > 0, mixed, panel // 2), "parts", 0)


def _draw_masks(panel: Image, record: Mapping[str, Any], scale: float) -> Image:
  """Visible masks filled, amodal masks outlined."""
  if not record["masks_valid"].any():
    return write_words(panel, "no masks", 0)
  masks = unpack_masks(_fitted(record["masks"], max(record["picture"].shape[:2]), panel.shape[0])[..., 0])
  return write_words(paint_masks(panel, masks), "masks: amodal outlined", 0)


def main() -> None:
  parser = Parser(prog="python -m data_builders.preview", description="Contact sheets of a finished data set.")
  parser.add_argument("folder", type=pathlib.Path, help="a finished data set")
  parser.add_argument("--records", type=int, default=24, help="how many records to draw (default: %(default)s)")
  parser.add_argument("--mano", default="", metavar="DIR", help="your MANO files, to draw their meshes")
  args = parser.parse_args()
  with clear_exit("data_builders.preview"):
    if args.records < 1:
      raise BuildError(f"records is {args.records}, expected 1 or more")
    show_or_tell(args.folder, args.records, args.mano)


if __name__ == "__main__":
  main()
