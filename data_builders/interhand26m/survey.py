"""What of a split can be built: its annotations joined, checked, and put on the disk as one table of records."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from data_builders.interhand26m import checks, json_stream
from data_builders.interhand26m.annotations import (
  Cameras,
  Frames,
  find,
  read_cameras,
  read_data,
  read_joints,
  read_mano,
)
from data_builders.interhand26m.layout import SPLITS, SplitFiles
from data_builders.interhand26m.tables import ROW, Split
from data_builders.pictures import look_at
from data_builders.problems import Problems
from data_builders.schema import MAX_RECORD_ID
from data_builders.shards import BuildError
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel
from jaxhands.schema import HANDS

Say = Callable[[str, int, int], None]  # what is done, how much of it, how much there is

_UNKNOWN, _HUMAN, _MACHINE = range(3)  # places in `tables.KINDS`
_IDS_OF_SPLIT = (MAX_RECORD_ID + 1) // 4
_SCENES_OF_SPLIT = 1_000_000
_AT_ONCE = 4096

_T = TypeVar("_T")


def source_name(split: str, picture: str) -> str:
  """How a record names its picture."""
  return f"{split}/{picture}"


def survey(
  files: SplitFiles,
  folder: pathlib.Path,
  branch: str,
  human_ids: np.ndarray | None,
  model: HandModel | None,
  problems: Problems,
  say: Say,
) -> Split | None:
  """Reads and checks a split and writes its table into `folder`.

  Args:
    files: of the split.
    folder: an empty one.
    branch: of `layout.BRANCHES`.
    human_ids: V1.0: ids of the annotations that people made; None where they are not known.
    model: the user's MANO; None leaves fitted parameters out, and their file may be missing.
    problems: gets what is wrong.
    say: told how far it is.
  Returns:
    None when an annotation file is missing or broken, which is then among the problems.
  """
  split = files.split
  needed = {"data", "camera", "joint_3d"} | ({"mano"} if model is not None else set())
  for role in sorted(needed - set(files.annotations)):
    problems.add("missing annotation file", split, str(getattr(files, role)))

  def read(role: str, reader: Callable[..., _T], *arguments: Any) -> _T | None:
    path = files.annotations.get(role)
    if path is None:
      return None
    size = path.stat().st_size

    def progress(characters: int) -> None:
      say(f"{split}: reading {path.name}", characters, size)

    try:
      return reader(path, *arguments, split, problems, progress)
    except json_stream.JsonError as error:
      problems.add("broken annotation file", split, str(error))
    except OSError as error:
      problems.add("broken annotation file", split, f"{path}: {error.strerror}")
    return None

  cameras = read("camera", read_cameras)
  frames = read("joint_3d", read_joints, folder)
  fits = read("mano", read_mano, folder) if model is not None else None
  data = read("data", read_data, folder)
  if cameras is None or frames is None or data is None or (model is not None and fits is None):
    return None
  np.savez(folder / "cameras.npz", **dataclasses.asdict(cameras))
  pictures, entries, sequences = data
  joined = _join(pictures, entries, files, folder, problems)
  try:
    kind = _kinds(joined, files, branch, human_ids, folder, problems)
  except json_stream.JsonError as error:
    problems.add("broken annotation file", split, str(error))
    return None
  chosen = joined.order[{"ALL": kind >= 0, "H": kind == _HUMAN, "M": kind == _MACHINE}[branch][joined.order]]
  scene_of_sequence = _scene_ids(sequences, split)
  with (folder / "rows").open("wb") as table, (folder / "picture_hw").open("wb") as sizes:
    for start in range(0, len(chosen), _AT_ONCE):
      say(f"{split}: checking pictures and joints", start, len(chosen))
      some = chosen[start : start + _AT_ONCE]
      rows = _rows(joined, some, kind, scene_of_sequence)
      rows = _located(rows, joined.pictures["capture"][joined.picture[some]], cameras, frames, fits)
      pictured = joined.pictures[joined.picture[some]]
      stated_hw = np.stack([pictured["height"], pictured["width"]], -1)
      for row, hw in _checked(rows, stated_hw, folder, files, cameras, frames, problems):
        table.write(row.tobytes())
        sizes.write(hw.tobytes())
  for name in ("pictures", "annotations"):
    (folder / name).unlink()
  found = Split(folder)
  if model is not None and fits is not None:
    _check_fits(found, fits, model, problems, split, say)
  return found


@dataclasses.dataclass(frozen=True)
class _Joined:
  """Annotations with their pictures; `order` are those that can be used, as the reference lists them."""

  pictures: np.ndarray
  entries: np.ndarray
  picture: np.ndarray  # of each entry
  record_id: np.ndarray  # of each entry
  order: np.ndarray


def _join(
  pictures: np.ndarray, entries: np.ndarray, files: SplitFiles, folder: pathlib.Path, problems: Problems
) -> _Joined:
  split, file = files.split, files.data.name
  by_id = np.argsort(pictures["image_id"], kind="stable")
  picture = find(pictures["image_id"][by_id], by_id, entries["image_id"])
  for entry in entries["annotation_id"][picture < 0]:
    problems.add("annotation without picture entry", split, f"{file} annotation {entry}")
  claimed, times = np.unique(pictures["image_id"], return_counts=True)
  unclear = np.isin(entries["image_id"], claimed[times > 1])  # which of the pictures is meant
  for entry in entries[unclear]:
    problems.add(
      "picture id twice", split, f"{file} annotation {entry['annotation_id']}", f"picture {entry['image_id']}"
    )
  lonely = ~np.isin(pictures["image_id"], entries["image_id"])
  for row in pictures[lonely]:
    problems.add("picture entry without annotation", split, _name(folder, row))
  # Ids do not change with what else is on the disk: the rank among all annotations of the file.
  ids, first, rank = np.unique(entries["annotation_id"], return_index=True, return_inverse=True)
  again = np.ones(len(entries), bool)
  again[first] = False
  for entry in entries["annotation_id"][again]:
    problems.add("annotation id twice", split, f"{file} annotation {entry}")
  if len(ids) > _IDS_OF_SPLIT:
    raise BuildError(f"{files.data} has {len(ids):,} annotations; a split may have {_IDS_OF_SPLIT:,}")
  usable = np.flatnonzero((picture >= 0) & ~again & ~unclear)
  order = usable[np.argsort(entries["hand_present"][usable].all(-1), kind="stable")]
  return _Joined(pictures, entries, picture, rank + SPLITS.index(split) * _IDS_OF_SPLIT, order)


def _name(folder: pathlib.Path, row: Any) -> str:
  with (folder / "names").open("rb") as names:
    names.seek(row["name_start"])
    return names.read(row["name_length"]).decode()


def _kinds(
  joined: _Joined,
  files: SplitFiles,
  branch: str,
  human_ids: np.ndarray | None,
  folder: pathlib.Path,
  problems: Problems,
) -> np.ndarray:
  """Who annotated each entry; of frames that both did, the people's annotation is the one in the file of all."""
  ids = joined.entries["annotation_id"]
  if human_ids is not None:
    for unknown in human_ids[~np.isin(human_ids, ids)]:
      problems.add("human id without annotation", files.split, f"annotation {unknown}")
    return np.where(np.isin(ids, human_ids), _HUMAN, _MACHINE)
  if files.version == "V1.0":
    return np.full(len(ids), _MACHINE if files.split == "val" else _UNKNOWN)
  if branch != "ALL":
    return np.full(len(ids), _HUMAN if branch == "H" else _MACHINE)
  if files.split == "val":
    return np.full(len(ids), _MACHINE)
  if files.human_data is None or not files.human_data.is_file():
    return np.full(len(ids), _UNKNOWN)
  human = {
    value["file_name"]
    for at, value in json_stream.values(files.human_data, 2)
    if at[:1] == ("images",) and isinstance(value, dict) and "file_name" in value
  }
  names, kinds = (folder / "names").read_bytes(), np.full(len(ids), _MACHINE)
  for entry, picture in enumerate(joined.pictures[joined.picture]):
    start = picture["name_start"]
    if names[start : start + picture["name_length"]].decode() in human:
      kinds[entry] = _HUMAN
  return kinds


def _scene_ids(sequences: list[tuple[int, str]], split: str) -> np.ndarray:
  """Number of each (capture, sequence): its place in their order, after those of the splits before."""
  rank = {sequence: number for number, sequence in enumerate(sorted(sequences))}
  return np.array([rank[sequence] for sequence in sequences], np.int64) + SPLITS.index(split) * _SCENES_OF_SPLIT


def _rows(joined: _Joined, some: np.ndarray, kind: np.ndarray, scene_of_sequence: np.ndarray) -> np.ndarray:
  rows = np.zeros(len(some), ROW)
  entries, pictures = joined.entries[some], joined.pictures[joined.picture[some]]
  for key in ("annotation_id", "box", "joint_valid", "hand_present", "hand_present_valid"):
    rows[key] = entries[key]
  for key in ("subject", "frame", "name_start", "name_length"):
    rows[key] = pictures[key]
  rows["record_id"], rows["kind"] = joined.record_id[some], kind[some]
  rows["camera_id"], rows["scene_id"] = pictures["camera"], scene_of_sequence[pictures["sequence"]]
  return rows


def _located(
  rows: np.ndarray,
  capture: np.ndarray,
  cameras: Cameras,
  frames: Frames,
  fits: Frames | None,
) -> np.ndarray:
  rows["camera"] = cameras.find(capture, rows["camera_id"])
  rows["joints"] = frames.find(capture, rows["frame"])
  rows["mano"] = -1 if fits is None else fits.find(capture, rows["frame"])
  return rows


def _checked(
  rows: np.ndarray,
  stated_hw: np.ndarray,
  folder: pathlib.Path,
  files: SplitFiles,
  cameras: Cameras,
  frames: Frames,
  problems: Problems,
) -> Iterator[tuple[Any, np.ndarray]]:
  """The rows that can be built, with flags of usable joints only, and their pictures' sizes; `stated_hw`: annotated."""
  names = _names(rows, folder)
  looked = [look_at(files.pictures / name) for name in names]
  hw = np.array([size for _, size in looked], np.int32).reshape(-1, 2)
  there = np.asarray((rows["camera"] >= 0) & (rows["joints"] >= 0))
  joints_cam, joints_img = _joints(rows, there, cameras, frames)
  annotated = rows["joint_valid"] & there[:, None, None]
  not_finite, absurd = checks.joint_faults(joints_cam, annotated)
  usable = checks.usable_joints(annotated, not_finite | absurd)
  away = checks.away_from_box(joints_img, usable, rows["box"])
  far = checks.far_outside(joints_img, hw) & usable & ~away[:, None, None]
  rows["joint_valid"] = checks.usable_joints(annotated, not_finite | absurd | far)
  bad_box = ~np.asarray(np.isfinite(rows["box"]).all(-1) & (rows["box"][:, 2:] > 0).all(-1))
  sizes_mm = checks.hand_sizes_mm(joints_cam, annotated & ~not_finite)
  small = np.asarray((sizes_mm < checks.SMALLEST_HAND_MM).any(-1))
  other_size = (hw > 0).all(-1) & (stated_hw > 0).all(-1) & (hw != stated_hw).any(-1)
  boxes = [str(box.tolist()) for box in rows["box"]]
  faults: list[tuple[str, Callable[[int], str], np.ndarray]] = [
    ("missing camera", lambda row: "", rows["camera"] < 0),
    ("missing 3D joints", lambda row: "", rows["joints"] < 0),
    ("bad box", lambda row: boxes[row], bad_box),
    (
      "box beside the picture",
      lambda row: f"{boxes[row]}, {_size(hw[row])}",
      ~bad_box & checks.beside(rows["box"], hw),
    ),
    ("joints away from the box", lambda row: boxes[row], ~bad_box & away),
    ("hand too small", lambda row: f"{np.nanmin(sizes_mm[row]):.2g} mm; are the joints in metres?", small),
    ("hand type against the joints", lambda row: "", checks.against_joints(rows["hand_present"], annotated)),
    ("picture of another size", lambda row: f"{_size(hw[row])}, annotated {_size(stated_hw[row])}", other_size),
  ]
  masked = (("joint not finite", not_finite), ("absurd joint", absurd), ("joint far outside the picture", far))
  for number, row in enumerate(rows):
    found = [(kind, detail(number)) for kind, detail, holds in faults if holds[number]]
    fault, _ = looked[number]
    for kind, detail in [*found, fault] if fault else found:
      problems.add(kind, files.split, names[number], detail)
    for kind, flags in masked:
      if flags[number].any():
        problems.add(kind, files.split, names[number], checks.name_joints(flags[number]))
    if not found and not fault:
      yield row, hw[number]


def _joints(rows: np.ndarray, there: np.ndarray, cameras: Cameras, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
  """Joints [n, 2, 21, 3] (camera, mm), and pixels [n, 2, 21, 2] of those that are finite and in front of the camera.

  Args:
    rows: of `ROW`.
    there: [n], rows with camera and joints; those of others are 0.
    cameras, frames: what they point into.
  """
  joints_cam, joints_img = np.zeros((len(rows), 2, 21, 3)), np.zeros((len(rows), 2, 21, 2))
  world, at = frames.values[rows["joints"][there]], rows["camera"][there]
  joints_cam[there] = to_camera(world, cameras.rotation[at], cameras.position_mm[at])
  in_front = np.isfinite(joints_cam[there]).all(-1, keepdims=True) & (joints_cam[there][..., 2:] > 0)
  pinhole = np.asarray(camera.intrinsics(cameras.focal_px[at], cameras.centre_px[at]))[:, None]
  joints_img[there] = np.where(in_front, camera.project(np.where(in_front, joints_cam[there], 1.0), pinhole), 0)
  return joints_cam, joints_img


def _names(rows: np.ndarray, folder: pathlib.Path) -> list[str]:
  found = []
  with (folder / "names").open("rb") as names:
    for row in rows:
      names.seek(row["name_start"])
      found.append(names.read(row["name_length"]).decode())
  return found


def _size(hw: np.ndarray) -> str:
  return f"{hw[1]} x {hw[0]} pixels"


def to_camera(world: np.ndarray, rotation: np.ndarray, position_mm: np.ndarray) -> np.ndarray:
  """World joints [n, 2, 21, 3] in their cameras' frames, in float64: R (W - C)."""
  # What is not finite stays so, without a warning.
  with np.errstate(invalid="ignore", over="ignore"):
    return np.einsum("nij,nhkj->nhki", rotation, world - position_mm[:, None, None])


def _check_fits(split: Split, fits: Frames, model: HandModel, problems: Problems, name: str, say: Say) -> None:
  """Sets `mano_valid`: of hands in the picture that have a fit near the joints."""
  path = split.folder / "rows"
  if not path.stat().st_size:
    return
  rows = np.memmap(path, ROW, "r+")
  fit, first = np.unique(rows["mano"], return_index=True)
  fit, first = fit[fit >= 0], first[fit >= 0]
  good = np.zeros((len(fits.values) + 1, 2), bool)  # the last one is that of rows without a fit
  for start in range(0, len(fit), _AT_ONCE):
    say(f"{name}: checking MANO fits", start, len(fit))
    some, row = fit[start : start + _AT_ONCE], rows[first[start : start + _AT_ONCE]]
    mano, joints = fits.values[some], split.joints_world[row["joints"]]
    distance_mm = checks.fit_distance_mm(model, mano, joints, row["joint_valid"])
    far = distance_mm > checks.FARTHEST_FIT_MM
    good[some] = np.isfinite(mano).all(-1) & ~far
    for number, hand in np.argwhere(far):
      where = f"{pathlib.PurePath(split.name(row[number])).parts[0]} frame {row['frame'][number]} {HANDS[hand]} hand"
      problems.add("MANO fit far from the joints", name, where, f"{distance_mm[number, hand]:.1f} mm")
  rows["mano_valid"] = good[rows["mano"]] & rows["hand_present"]
  rows.flush()
