"""Finds parameters of a hand model for joints: of a predictions.json, or of a data set that has joints only.

Of a predictions.json, ours or another program's (docs/predictions.md), DIR gets the same file with `mano` of each hand,
how far its joints lie from the model's, and whether the search came to an end; and fits.npz, with meshes.

    python -m jaxhands fit hands/predictions.json --out fitted

Of a data set, NAME:SPLIT or FOLDER:SPLIT, DIR gets fits.npz with the parameters of all its records, by `record_id`.

    python -m jaxhands fit interhand26m:train --out fitted

Joints in space are used where a hand has any, else those in the picture, if its camera is known: then the distance
follows from the size of an average hand. --noise says how far joints usually are from a hand's, in mm and pixels; the
more, the more usual are the poses found. --one-shape gives each hand one shape over the frames of a video, the entries
with a `frame` and the same `file`. --hand-model is the folder of your own MANO files.

What `predict --mesh` does for systems that predict joints alone, later:

    python -m jaxhands fit hands/predictions.json --out fitted --noise 5 --one-shape
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from typing import Any

import numpy as np

from jaxhands import schema
from jaxhands.data import folders
from jaxhands.data.records import DataSet, Records
from jaxhands.hands import fit
from jaxhands.hands.model import EMBEDDED, HandModel
from jaxhands.paths import expanded
from jaxhands.prediction import joint_files
from jaxhands.prediction.fit_meshes import weights
from jaxhands.runs import folder as files
from jaxhands.train import distributed

_AT_ONCE = 1024  # records of a data set
_NEEDS = frozenset({
  "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "camera_img", "camera_valid", "record_hash",
})  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input", metavar="FILE|DATA_SET", help="predictions.json, its folder, or NAME:SPLIT of a data set"
  )
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR", help="folder for the results")
  parser.add_argument("--hand-model", default=EMBEDDED, metavar="DIR", help=f"MANO's files (default: {EMBEDDED})")
  parser.add_argument("--noise", type=_noise, default=(2.0, 2.0), metavar="MM[,PX]", help="of joints (default: 2,2)")
  parser.add_argument(
    "--one-shape", action="store_true", help="a video shows one person: each hand has one shape in all its frames"
  )


def main(args: argparse.Namespace) -> int:
  """Reads, fits, writes."""
  path = expanded(args.input)
  path = path / "predictions.json" if (path / "predictions.json").is_file() else path
  model = HandModel.named(args.hand_model)
  how = fit.How(joint_mm=args.noise[0], joint_px=args.noise[1])
  if path.is_file():
    given = joint_files.JointFile.read(path)
    distributed.use_compilation_cache()
    found = _of_file(model, how, given, args.one_shape)
    joint_files.write(args.out / "predictions.json", given.with_parameters(found))
    pictures = given.content["pictures"]
    more = {
      "vertices_cam": model.vertices_of(found.mano) * found.valid[..., None, None],
      "files": np.array([str(picture.get("file", "")) for picture in pictures], str),
      "frame": np.array([-1 if picture.get("frame") is None else picture["frame"] for picture in pictures], np.int32),
    }
    present = given.present
  else:
    if ":" not in args.input:
      raise ValueError(f"{args.input}: there is no such file; data sets are written NAME:SPLIT, or FOLDER:SPLIT")
    if args.one_shape:
      raise ValueError("--one-shape is for the videos of a predictions.json; records of a data set are of many people")
    name, variant, split = folders.parse(args.input)
    records = Records(DataSet(str(folders.find(name, variant)), split), "pair", _NEEDS)
    distributed.use_compilation_cache()
    found, present, more = _of_records(model, how, records)
  _write(args.out / "fits.npz", found, more)
  print(_summary(found, present))
  return 0


def _of_file(model: HandModel, how: fit.How, given: joint_files.JointFile, one_shape: bool) -> fit.Fitted:
  """Of all pictures; with `one_shape` the frames of each video together."""
  clips = given.clips if one_shape else []
  others = np.setdiff1d(np.arange(len(given.present)), np.concatenate([np.zeros(0, int), *clips]))
  parts = [_fitted(model, how, given, others)] + [_fitted(model, how, given, rows, one_shape=True) for rows in clips]
  return fit.Fitted.joined(parts, np.argsort(np.concatenate([others, *clips])))


def _fitted(model: HandModel, how: fit.How, given: Any, rows: Any = slice(None), one_shape: bool = False) -> fit.Fitted:
  """Of joints in space; where a hand has none, of those in the picture; of some rows, see `fit.fit`."""
  in_picture = given.joints_img_valid & ~given.joints_cam_valid.any(-1, keepdims=True)
  sure = None if given.confidence is None else weights(given.confidence, given.joints_cam_valid | in_picture)
  arrays = (given.joints_cam, given.joints_cam_valid, given.joints_img, in_picture, given.camera_img, sure)
  return fit.fit(model, *(None if array is None else array[rows] for array in arrays), how=how, one_shape=one_shape)


@dataclasses.dataclass(frozen=True, eq=False)
class _Given:
  joints_cam: np.ndarray
  joints_cam_valid: np.ndarray
  joints_img: np.ndarray
  joints_img_valid: np.ndarray
  camera_img: np.ndarray
  confidence: None = None


def _of_records(
  model: HandModel, how: fit.How, records: Records
) -> tuple[fit.Fitted, np.ndarray, dict[str, np.ndarray]]:
  """Fits, which hands have joints, and the identities of the records."""
  parts, ids, hashes, present = [], [], [], []
  for first in range(0, len(records), _AT_ONCE):
    rows = [records[index] for index in range(first, min(first + _AT_ONCE, len(records)))]
    column = {key: np.stack([row[key] for row in rows]) for key in sorted(_NEEDS - {"record_hash"})}
    known = column["camera_valid"].astype(bool)
    given = _Given(
      column["joints_cam"], column["joints_cam_valid"].astype(bool), column["joints_img"],
      column["joints_img_valid"].astype(bool) & known[:, None, None],
      np.where(known[:, None, None], column["camera_img"], np.eye(3, dtype=np.float32)),
    )  # fmt: skip
    parts.append(_fitted(model, how, given))
    present.append((given.joints_cam_valid | column["joints_img_valid"].astype(bool)).any(-1))
    ids.append([int(row["record_id"]) for row in rows])
    hashes.append([int(schema.record_hash(row["source"], row["box_img"])) for row in rows])
  identity = {"record_id": np.concatenate(ids).astype(np.int64), "record_hash": np.concatenate(hashes).astype(np.int32)}
  return fit.Fitted.joined(parts), np.concatenate(present), identity


def _write(path: pathlib.Path, fits: fit.Fitted, more: dict[str, np.ndarray]) -> None:
  arrays: dict[str, Any] = {field.name: getattr(fits, field.name) for field in dataclasses.fields(fit.Fitted)}
  arrays |= more | {"hand_model": np.array(fits.hand_model)}
  with files.written(path) as file:
    np.savez_compressed(file, **arrays)


def _summary(fits: fit.Fitted, present: np.ndarray) -> str:
  """A line or two for the terminal."""
  fitted = fits.valid
  lines = [f"{int(fitted.sum())} hands fitted with hand model {fits.hand_model}"]
  for unit, residual in (("mm", fits.residual_mm[fitted]), ("px", fits.residual_px[fitted])):
    if residual.any():
      low, high = np.percentile(residual[residual > 0], [50, 95])
      lines.append(f"joints from the model's: {low:.2f} {unit} (median of the hands), 95 % below {high:.2f} {unit}")
  for count, words in (
    (int((fitted & ~fits.converged).sum()), "did not come to an end (converged is False)"),
    (int((present & ~fitted).sum()), "have too few joints, and no parameters"),
  ):
    lines += [f"{count} hands {words}"] if count else []
  return "\n".join(lines)


def _noise(text: str) -> tuple[float, float]:
  try:
    values = [float(value) for value in text.split(",")]
  except ValueError as error:
    raise argparse.ArgumentTypeError(f"{text!r} is not MM or MM,PX, as 5 or 5,3") from error
  if not 1 <= len(values) <= 2 or not all(1e-6 <= value <= 1e6 for value in values):  # whose squares are numbers
    raise argparse.ArgumentTypeError(f"{text!r} is not MM or MM,PX: one or two positive numbers, from 1e-6 to 1e6")
  return values[0], values[-1] if len(values) == 2 else 2.0
