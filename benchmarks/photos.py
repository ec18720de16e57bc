"""What trained weights do with real pictures, as a table over time: docs/photos.json and docs/photos.md.

    python -m benchmarks.photos                                        all weights that are kept, a row each
    python -m benchmarks.photos --run runs/internet-demo --dry-run     another run; prints its numbers and keeps none
    python -m benchmarks.photos --run runs/hdr-demo --finder runs/hdr-demo-hasm --note "after more skin"

For testing only: no training and no choice may look at these numbers, or they measure nothing any more. The pictures
are named in `photo_sets`; they come from $JAXHANDS_SHARED (default: ../shared), and lie not in the repository.

Told where the hands are, by the box of each: PCK at 0.1, 0.2 and 0.3 of the hand's size on the photo of two hands and
on the video, mean distance in pixels on the Tzionas frame, MPJPE on four InterHand2.6M frames under the run's own
protocol (at true wrists where that takes estimated ones). Told nothing, as `python -m jaxhands predict` does it: PCK on
photo and video, where joints of a missed hand are wrong; how many hands of all pictures are found, of these on the
right side; and how many hands are seen that are none. Whatever finds the hands is judged by its boxes: recall and false
alarms in held-out rendered scenes and in the samples, and pictures without hands in which it sees some (scikit-image).
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.resources
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import photo_scores, photo_sets
from benchmarks.photo_scores import Counts
from benchmarks.photo_sets import Sample
from jaxhands.evaluation.metrics import pose
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.geometry import crop
from jaxhands.prediction import predictor
from jaxhands.prediction.find import find_hands
from jaxhands.prediction.load import load
from jaxhands.prediction.look import Look, groups
from jaxhands.prediction.picture import Picture
from jaxhands.runs import folder as files
from jaxhands.runs import provenance
from jaxhands.train import distributed
from jaxhands.weights import kept as weights

_ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLE = _ROOT / "docs" / "photos.json"
_AGAIN = "take the committed one"
_WITHOUT_POSES = ("finder", "rootnet", "hdr.hasm", "hdr.hdrm")
_DIGITS = 4


def kept() -> list[pathlib.Path]:
  """Folders of all kept weights that predict poses: those of the package, and those of the results."""
  packaged = pathlib.Path(str(importlib.resources.files("jaxhands.weights"))) / "kept"
  found = [path for place in (packaged, _ROOT / "results" / "weights") for path in sorted(place.glob("*/config.json"))]
  return [path.parent for path in found if json.loads(path.read_text())["system"]["name"] not in _WITHOUT_POSES]


# ---- told where ------------------------------------------------------------------------------------------------


def told(model: predictor.Model, samples: Sequence[Sample]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
  """Predicted joints [T, 21, 2] of the hands of each sample, each looked for where it is and taken for what it is.

  And the whole prediction of the first hands of each sample, one row each. A picture with two hands of one side is
  looked at twice.
  """
  asked = [(number, hand) for number, sample in enumerate(samples) for hand in _turns(sample)]
  boxes = np.zeros((len(asked), 2, 4), np.float32)
  for row, (number, hands) in enumerate(asked):
    for hand in hands:
      boxes[row, samples[number].sides[hand]] = samples[number].boxes[hand]
  cameras = [samples[number].batch.get("camera_img", [None])[0] for number, _ in asked]
  raw, _ = model.maps([samples[number].pixels for number, _ in asked], boxes, cameras)
  joints = [np.zeros_like(sample.joints_img) for sample in samples]
  for row, (number, hands) in enumerate(asked):
    for hand in hands:
      joints[number][hand] = raw["joints_img"][row, samples[number].sides[hand]]
  first = [next(row for row, (number, _) in enumerate(asked) if number == wanted) for wanted in range(len(samples))]
  return joints, {key: value[first] for key, value in raw.items()}


def _turns(sample: Sample) -> list[tuple[int, ...]]:
  """Hands that are looked at together: all, or one after the other where two have one side."""
  hands = range(len(sample.sides))
  return [tuple(hands)] if len(set(sample.sides)) == len(hands) else [(hand,) for hand in hands]


def pck(joints: Sequence[np.ndarray], samples: Sequence[Sample]) -> list[float]:
  """Share of correct joints at each threshold, of predicted joints [T, 21, 2] of each sample."""
  right = np.zeros(len(photo_scores.THRESHOLDS))
  for found, sample in zip(joints, samples, strict=True):
    size = photo_scores.sizes(sample.joints_img, sample.valid)[:, None]
    share = (np.linalg.norm(found - sample.joints_img, axis=-1) / size)[sample.valid]
    right += [(share <= threshold).sum() for threshold in photo_scores.THRESHOLDS]
  return (right / sum(sample.valid.sum() for sample in samples)).tolist()


def epe(joints: Sequence[np.ndarray], samples: Sequence[Sample]) -> float:
  """Mean distance (px) over all annotated joints."""
  distances = [
    np.linalg.norm(found - sample.joints_img, axis=-1)[sample.valid]
    for found, sample in zip(joints, samples, strict=True)
  ]
  return float(np.concatenate(distances).mean())


def mpjpe(raw: Mapping[str, np.ndarray], samples: Sequence[Sample], protocol: Protocol) -> float:
  """In mm, as `protocol` compares poses; NaN for a prediction that the protocol cannot read."""
  batch = {key: np.concatenate([sample.batch[key] for sample in samples]) for key in samples[0].batch}
  metric = pose.mpjpe(protocol)
  if not metric.quantity.predicts <= set(raw):
    return math.nan
  value, weight = map(np.asarray, metric.quantity.fn(raw, batch))
  return metric.reduce(value, weight)


# ---- as predict does it ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
  """What was found in a picture: hands with their sides, and boxes of whatever looked for hands."""

  joints_img: np.ndarray
  sides: tuple[int, ...]
  boxes: np.ndarray


def look_at(look: Look, pictures: Sequence[tuple[str, np.ndarray]]) -> list[Seen]:
  """Pictures (name, pixels) as `predict` looks at them, one after the other, without a camera."""
  seen = []
  for group in groups((look.ready(Picture(pathlib.Path(name), pixels)) for name, pixels in pictures), 8):
    of_finder = None if look.finder is None else find_hands(look.finder, [each.pixels for each in group]).boxes
    hands = look.hands(group)
    for index in range(len(group)):
      there = np.flatnonzero(hands.present[index])
      joints = hands.joints_img[index, there]
      boxes = np.asarray(crop.box_around(joints, np.ones(joints.shape[:2], bool)))
      if of_finder is not None:
        boxes = of_finder[index][of_finder[index].any(-1)]
      seen.append(Seen(joints, tuple(map(int, there)), boxes))
  return seen


def count(seen: Sequence[Seen], samples: Sequence[Sample]) -> Counts:
  """Hands and joints of all pictures."""
  total = Counts()
  for found, sample in zip(seen, samples, strict=True):
    total += photo_scores.count(found.joints_img, found.sides, sample.joints_img, sample.valid, sample.sides)
  return total


def boxes(seen: Sequence[Seen], samples: Sequence[Sample]) -> dict[str, int]:
  """How many boxes there are, were found, and are false."""
  counts = [photo_scores.count_boxes(found.boxes, sample.boxes) for found, sample in zip(seen, samples, strict=True)]
  found, false = (sum(column) for column in zip(*counts, strict=True))
  return {
    "pictures": len(samples), "hands": sum(len(sample.sides) for sample in samples), "found": found, "false": false,
  }  # fmt: skip


# ---- a row -----------------------------------------------------------------------------------------------------


def numbers(model: predictor.Model, finder: predictor.Model | None, every: int, scenes: int) -> dict[str, Any]:
  """All numbers of one model; what there are no pictures for is None."""
  samples = photo_sets.folder()
  photo, clip = photo_sets.photo(samples), photo_sets.clip(samples, every)
  tzionas, frames = photo_sets.tzionas(samples), photo_sets.interhand(samples)
  protocol = Protocol(**model.config.eval.protocol)
  if protocol.depth == "rootnet":
    protocol = dataclasses.replace(protocol, depth="gt")
  joints, raw = told(model, [*photo, *clip, *tzionas, *frames])
  ends = np.cumsum([len(photo), len(clip), len(tzionas)])
  of_frames = {key: value[ends[2] :] for key, value in raw.items()}
  found: dict[str, Any] = {
    "told": {
      "photo_pck": pck(joints[: ends[0]], photo),
      "video_pck": pck(joints[ends[0] : ends[1]], clip),
      "tzionas_epe_px": epe(joints[ends[1] : ends[2]], tzionas),
      "interhand_mpjpe_mm": mpjpe(of_frames, frames, protocol),
      "protocol": str(protocol),
    }
  }
  look = Look(model, finder)
  whole = [*photo, *clip, *tzionas, *frames]
  seen = look_at(look, [(sample.name, sample.pixels) for sample in whole])
  total = count(seen, whole)
  in_photos = count(seen[: ends[1]], whole[: ends[1]])
  found["predict"] = {
    "pck": list(in_photos.pck), "pictures": len(whole), "hands": total.hands, "found": total.found,
    "same_side": total.same_side, "extra": total.extra,
  }  # fmt: skip
  held_out = photo_sets.rendered(scenes)
  in_scenes = look_at(look, [(sample.name, sample.pixels) for sample in held_out])
  found["boxes"] = {"scenes": boxes(in_scenes, held_out), "samples": boxes(seen, whole)}
  try:
    nothing = photo_sets.without_hands()
  except ModuleNotFoundError as error:
    print(error, file=sys.stderr)
    return found | {"without_hands": None}
  alarms = look_at(look, nothing)
  names = [name for (name, _), each in zip(nothing, alarms, strict=True) if len(each.sides)]
  return found | {"without_hands": {"pictures": len(nothing), "alarms": names}}


def add(table: pathlib.Path, row: Mapping[str, Any]) -> None:
  """Adds a row to the table, and makes the page beside it anew."""
  rows = read(table)
  rows.append(_rounded(row))
  files.write_json(table, {"format": 1, "rows": rows})
  with files.written(table.with_suffix(".md")) as file:
    file.write(page(rows).encode())


def read(table: pathlib.Path) -> list[dict[str, Any]]:
  """The rows so far.

  Raises:
    DamagedFile: the table is damaged.
  """
  return files.read_json(table, _AGAIN, ("format", "rows"))["rows"] if table.is_file() else []


def _rounded(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {key: _rounded(inner) for key, inner in value.items()}
  if isinstance(value, list | tuple):
    return [_rounded(inner) for inner in value]
  if isinstance(value, float):
    return None if math.isnan(value) else float(f"{value:.{_DIGITS}g}")
  return value


# ---- the page --------------------------------------------------------------------------------------------------

_HEAD = (
  "date", "commit", "weights", "finder", "photo", "video", "Tzionas, px", "InterHand2.6M, mm", "PCK", "hands found",
  "right side", "extra hands", "scenes: boxes", "false", "samples: boxes", "false", "without hands: alarms", "note",
)  # fmt: skip
_PAGE = """# Real pictures

Written by `python -m benchmarks.photos`, a row for each time and weights, from docs/photos.json. Not to be edited by
hand. The pictures are for testing only: nothing is trained on them, and nothing is chosen by them. They are few (one
photo of two hands, {clip} frames of a video of one hand, one frame of two interlocked hands, four frames of
InterHand2.6M), so small differences say nothing; points of photo and video are another network's, MediaPipe's.

*Photo, video, Tzionas, InterHand2.6M*: told where the hands are and which; PCK at 0.1 / 0.2 / 0.3 of the hand's size
(longer side of the tight box of its joints), mean distance, MPJPE under the run's own protocol. *PCK* to *extra hands*:
told nothing, as `predict` does it; PCK on photo and video, joints of missed hands being wrong; hands found (mean
distance below a quarter of the size), of these with the right side, and hands that are none. *Boxes*: of whatever finds
the hands, else of the hands found: true boxes that one shares half of the union with; false ones share less than a
tenth with all. *Scenes* are rendered, held out. *Alarms*: pictures without hands in which one is seen.

"""


def page(rows: Sequence[Mapping[str, Any]]) -> str:
  """The table as Markdown, the latest row last."""
  lines = [_HEAD, ["---"] * len(_HEAD), *map(_cells, rows)]
  frames = sorted({row["video_frames"] for row in rows})
  table = "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
  return _PAGE.format(clip=" or ".join(map(str, frames)) or "some") + table + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
  told, whole, alarms = row["told"], row["predict"], row["without_hands"]
  of_boxes = [cell for where in ("scenes", "samples") for cell in _of_boxes(row["boxes"][where])]
  return [
    row["date"], row["commit"][:10] + (" with changes" if row["modified"] else ""), row["weights"],
    row["finder"] or "none", _shares(told["photo_pck"]), _shares(told["video_pck"]), _number(told["tzionas_epe_px"]),
    _number(told["interhand_mpjpe_mm"]), _shares(whole["pck"]), f"{whole['found']} of {whole['hands']}",
    f"{whole['same_side']} of {whole['found']}", str(whole["extra"]), *of_boxes,
    f"{len(alarms['alarms'])} of {alarms['pictures']}" if alarms else "", row["note"],
  ]  # fmt: skip


def _of_boxes(counted: Mapping[str, int]) -> tuple[str, str]:
  return f"{counted['found']} of {counted['hands']}", f"{counted['false']} in {counted['pictures']}"


def _shares(values: Sequence[float | None]) -> str:
  return " / ".join("" if value is None else f"{value:.2f}" for value in values)


def _number(value: float | None) -> str:
  return "" if value is None else f"{value:.1f}"


# ---- the command -----------------------------------------------------------------------------------------------


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
  parser.add_argument("--run", action="append", type=pathlib.Path, metavar="RUN", help="instead of all kept weights")
  where = parser.add_mutually_exclusive_group()
  where.add_argument("--finder", type=pathlib.Path, metavar="RUN", help="that finds the hands, as for predict")
  where.add_argument("--whole", action="store_true", help="as for predict: nothing is looked for")
  parser.add_argument("--every", type=int, default=25, help="frame of the video (default: %(default)s)")
  parser.add_argument("--scenes", type=int, default=24, help="rendered pictures (default: %(default)s)")
  parser.add_argument("--note", default="", help="what has changed since the row before")
  parser.add_argument("--table", type=pathlib.Path, default=TABLE, help="of the rows (default: docs/photos.json)")
  parser.add_argument("--dry-run", action="store_true", help="print, and keep nothing")
  args = parser.parse_args()
  if args.every < 1 or args.scenes < 1:
    parser.error("--every and --scenes are whole numbers of at least 1")
  try:
    photo_sets.folder()
  except FileNotFoundError as error:
    parser.error(str(error))
  distributed.use_compilation_cache()
  found = None if args.whole else args.finder or weights.finder()
  finder = load(found) if found else None
  code = provenance.code()  # before the table is changed
  for run in args.run or kept():
    model = load(run)
    row = {
      "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "commit": code["commit"],
      "modified": code["modified"], "weights": run.name, "finder": found.name if found else "",
      "system": model.config.system.name, "note": args.note,
      "video_frames": len(photo_sets.clip(photo_sets.folder(), args.every)),
      **numbers(model, finder, args.every, args.scenes),
    }  # fmt: skip
    print(page([row]).rpartition("\n\n")[2])
    if row["without_hands"]:
      print("hands are seen in:", ", ".join(row["without_hands"]["alarms"]) or "no picture without any")
    if not args.dry_run:
      add(args.table, row)


if __name__ == "__main__":
  main()
