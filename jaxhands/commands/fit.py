"""Finds parameters of a hand model for joints: of a predictions.json, or of a data set that has joints only.

Of a predictions.json, ours or another program's (docs/predictions.md), DIR gets the same file with `mano` of each hand,
how far its joints lie from the model's, and whether the search came to an end; and fits.npz, with meshes.

    python -m jaxhands fit hands/predictions.json --out fitted

Of a data set, NAME:SPLIT or FOLDER:SPLIT, DIR gets fits.npz with the parameters of all its records, by `record_id`.

    python -m jaxhands fit interhand26m:train --out fitted

Joints in space are used where a hand has three or more, else those in the picture, too, if its camera is known; with
none in space, the distance follows from the size of an average hand. --noise says how far joints usually are from a
hand's, in mm and pixels; the more, the more usual are the poses found. --one-shape gives each hand one shape over the
frames of a video, the entries with a `frame` and the same `file`. --hand-model is the folder of your own MANO files.

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
from jaxhands.data.fits import LARGEST_SHAPE
from jaxhands.data.records import DataSet, Records
from jaxhands.hands import fit
from jaxhands.hands.model import EMBEDDED, HandModel
from jaxhands.paths import expanded
from jaxhands.prediction import joint_files
from jaxhands.prediction.fit_meshes import weights
from jaxhands.runs import folder as files
from jaxhands.train import distributed

_AT_ONCE = 1024  # records of a data set
_LACKS = (  # why a hand has no parameters
  "have joints that lie in a line, or within 5 mm or 2 pixels (are joints_cam_mm millimetres?)",
  "have joints in a picture without camera",
  "have too few joints",
)
_NEEDS = frozenset({
  "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "camera_img", "camera_valid", "record_hash",
})  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "input", metavar="FILE|DATA_SET", help="predictions.json, its folder, or NAME:SPLIT of a data set"
  )
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR", help="folder for the results")
  parser.add_argument("--hand-model", default=EMBEDDED, metavar="DIR", help=f"MANO's files (default: {EMBEDDED})")
  parser.add_argument("--noise", type=_noise, default=fit.How(), metavar="MM[,PX]", help="of joints (default: 2,2)")
  parser.add_argument(
    "--one-shape", action="store_true", help="a video shows one person: each hand has one shape in all its frames"
  )


def main(args: argparse.Namespace) -> int:
  """Reads, fits, writes."""
  path = expanded(args.input)
  path = path / "predictions.json" if (path / "predictions.json").is_file() else path
  model = HandModel.named(args.hand_model)
  if path.is_file():
    given = joint_files.JointFile.read(path)
    distributed.use_compilation_cache()
    found = _of_file(model, args.noise, given, args.one_shape)
    joint_files.write(args.out / "predictions.json", given.with_parameters(found))
    pictures = given.content["pictures"]
    more = {
      "vertices_cam": model.vertices_of(found.mano) * found.valid[..., None, None],
      "files": np.array([str(picture.get("file", "")) for picture in pictures], str),
      "frame": np.array([-1 if picture.get("frame") is None else picture["frame"] for picture in pictures], np.int32),
    }
    lacks = _lacks(given, given.present, _joints_in_picture(given))
  else:
    if ":" not in args.input:
      raise ValueError(f"{args.input}: there is no such file; data sets are written NAME:SPLIT, or FOLDER:SPLIT")
    if args.one_shape:
      raise ValueError("--one-shape is for the videos of a predictions.json; records of a data set are of many people")
    name, variant, split = folders.parse(args.input)
    records = Records(DataSet(str(folders.find(name, variant)), split), "pair", _NEEDS)
    distributed.use_compilation_cache()
    found, lacks, more = _of_records(model, args.noise, records)
  _write(args.out / "fits.npz", found, more)
  print(_summary(found, lacks))
  return 0


def _of_file(model: HandModel, how: fit.How, given: joint_files.JointFile, one_shape: bool) -> fit.Fitted:
  """Of all pictures; with `one_shape` the frames of each video together."""
  clips = given.clips if one_shape else []
  others = np.setdiff1d(np.arange(len(given.present)), np.concatenate([np.zeros(0, int), *clips]))
  parts = [_fitted(model, how, given, others)] + [_fitted(model, how, given, rows, one_shape=True) for rows in clips]
  return fit.Fitted.joined(parts, np.argsort(np.concatenate([others, *clips])))


def _fitted(model: HandModel, how: fit.How, given: Any, rows: Any = slice(None), one_shape: bool = False) -> fit.Fitted:
  """Of some rows, see `_used` and `fit.fit`."""
  arrays = (given.joints_cam, given.joints_cam_valid, given.joints_img, *_used(given), given.camera_img)
  cam, cam_valid, img, img_valid, sure, cameras = (array[rows] for array in arrays)
  return fit.fit(model, cam, cam_valid, img, img_valid, cameras, sure, how=how, one_shape=one_shape)


def _used(given: Any) -> tuple[np.ndarray, np.ndarray]:
  """Which joints in the picture are fitted to, all where few are known in space; and the weights of the joints."""
  in_picture = given.joints_img_valid & (given.joints_cam_valid.sum(-1, keepdims=True) < fit.LEAST_JOINTS_CAM)
  return in_picture, weights(given.confidence, given.joints_cam_valid | in_picture)


def _lacks(given: Any, present: np.ndarray, joints_in_picture: np.ndarray) -> np.ndarray:
  """Why hands have no parameters, if they have none, [N, 2]: place in `_LACKS`, -1 of hands that are not present."""
  in_picture, sure = _used(given)
  known = sure >= fit.LEAST_CONFIDENCE
  enough = (given.joints_cam_valid & known).sum(-1) >= fit.LEAST_JOINTS_CAM
  enough |= (in_picture & known).sum(-1) >= fit.LEAST_JOINTS_IMG
  no_camera = (joints_in_picture >= fit.LEAST_JOINTS_IMG) & ~given.joints_img_valid.any(-1)
  return np.select([~present, enough, no_camera], [-1, 0, 1], 2)


def _joints_in_picture(given: joint_files.JointFile) -> np.ndarray:
  """How many joints of each hand the file has in the picture, whether its camera is known or not; [N, 2]."""
  counts = np.zeros(given.present.shape, int)
  for row, picture in enumerate(given.content["pictures"]):
    for entry in picture.get("hands", []):
      listed = entry.get("joints_img") or []
      counts[row, schema.HANDS.index(entry["hand"])] = sum(joint is not None for joint in listed)
  return counts


@dataclasses.dataclass(frozen=True, eq=False)
class _Given:
  joints_cam: np.ndarray
  joints_cam_valid: np.ndarray
  joints_img: np.ndarray
  joints_img_valid: np.ndarray
  camera_img: np.ndarray
  confidence: np.ndarray


def _of_records(
  model: HandModel, how: fit.How, records: Records
) -> tuple[fit.Fitted, np.ndarray, dict[str, np.ndarray]]:
  """Fits, `_lacks` of the hands that have joints, and the identities of the records."""
  parts, ids, hashes, lacks = [], [], [], []
  for first in range(0, len(records), _AT_ONCE):
    rows = [records[index] for index in range(first, min(first + _AT_ONCE, len(records)))]
    column = {key: np.stack([row[key] for row in rows]) for key in sorted(_NEEDS - {"record_hash"})}
    known, in_picture = column["camera_valid"].astype(bool), column["joints_img_valid"].astype(bool)
    given = _Given(
      column["joints_cam"], column["joints_cam_valid"].astype(bool), column["joints_img"],
      in_picture & known[:, None, None],
      np.where(known[:, None, None], column["camera_img"], np.eye(3, dtype=np.float32)),
      np.ones(in_picture.shape, np.float32),
    )  # fmt: skip
    parts.append(_fitted(model, how, given))
    lacks.append(_lacks(given, np.any(given.joints_cam_valid | in_picture, axis=-1), in_picture.sum(-1)))
    ids.append([int(row["record_id"]) for row in rows])
    hashes.append([int(schema.record_hash(row["source"], row["box_img"])) for row in rows])
  identity = {"record_id": np.concatenate(ids).astype(np.int64), "record_hash": np.concatenate(hashes).astype(np.int32)}
  return fit.Fitted.joined(parts), np.concatenate(lacks), identity


def _write(path: pathlib.Path, fits: fit.Fitted, more: dict[str, np.ndarray]) -> None:
  arrays: dict[str, Any] = {field.name: getattr(fits, field.name) for field in dataclasses.fields(fit.Fitted)}
  arrays |= more | {"hand_model": np.array(fits.hand_model)}
  with files.written(path) as file:
    np.savez_compressed(file, **arrays)


def _summary(fits: fit.Fitted, lacks: np.ndarray) -> str:
  """A few lines for the terminal."""
  fitted = fits.valid
  lines = [f"{int(fitted.sum())} hands fitted with hand model {fits.hand_model}"]
  for unit, residual in (("mm", fits.residual_mm[fitted]), ("px", fits.residual_px[fitted])):
    if residual.any():
      low, high = np.percentile(residual[residual > 0], [50, 95])
      lines.append(f"joints from the model's: {low:.2f} {unit} (median of the hands), 95 % below {high:.2f} {unit}")
  odd = np.abs(fits.mano[..., schema.MANO_SHAPE]).max(-1) > LARGEST_SHAPE
  for hands, words in (
    (fitted & ~fits.converged, "did not come to an end (converged is False)"),
    (fitted & odd, "have a shape that no hand has: are joints_cam_mm millimetres, and --noise large enough?"),
    *((~fitted & (lacks == place), f"{lack}, and no parameters") for place, lack in enumerate(_LACKS)),
  ):
    lines += [f"{int(hands.sum())} hands {words}"] if hands.any() else []
  return "\n".join(lines)


def _noise(text: str) -> fit.How:
  try:
    mm, px = (float(value) for value in (text if "," in text else f"{text},{fit.How().joint_px}").split(","))
    return fit.How(joint_mm=mm, joint_px=px)
  except ValueError as error:
    raise argparse.ArgumentTypeError(f"{text!r} is not MM or MM,PX, as 5 or 5,3 ({error})") from error
