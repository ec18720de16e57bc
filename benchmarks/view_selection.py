"""View selection (HandFlow, section 5.8) on embedded scenes: `python -m benchmarks.view_selection RUN [--json FILE]`.

RUN is a run of configs/handflow.py. Scenes of two hands are built that several cameras all around them see (`python -m
data_builders.synthetic --cameras K --hands pair`); of every scene the view is chosen whose samples deviate least, or
most, and its error is compared with that of the scene's best view. The paper has seven sequences and 140 cameras; here
a scene is one moment. With `--json results/views/NAME.json` the figures are in RESULTS.md when `python -m jaxhands
results` writes it next.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
from typing import Any

import numpy as np
import rich.table

from benchmarks import photo_sets
from data_builders.built import Built
from data_builders.schema import RECORD
from data_builders.synthetic import SyntheticConfig, build
from jaxhands.evaluation.metrics import views
from jaxhands.evaluation.metrics.distribution import Alignment
from jaxhands.prediction.load import load
from jaxhands.runs import provenance
from jaxhands.terminal import console as consoles

_ALIGNMENTS: dict[Alignment, str] = {"rrr": "at the right wrist", "rr": "at each wrist", "global": "nothing moved"}


def predicted(model: Any, records: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
  """The mode [N, 2, 21, 3] and samples [N, S, 2, 21, 3] (mm, camera frame) of records with their boxes and cameras.

  Raises:
    ValueError: the system has no samples.
  """
  modes, samples = [], []
  for first in range(0, len(records), model.batch_size):
    some = records[first : first + model.batch_size]
    pictures = [photo_sets.decoded(record["picture"]) for record in some]
    # As the system has them: `predict` would move each hand onto its pixels, and leave one at 0 that it cannot place.
    found, _ = model.maps(
      pictures, np.stack([record["box_img"] for record in some]), [record["camera_img"] for record in some]
    )
    if "samples" not in found:
      raise ValueError(f"system {model.config.system.name!r} draws no samples, by which views could be chosen")
    modes.append(found["joints_cam"])
    samples.append(found["samples"])
  return np.concatenate(modes), np.concatenate(samples)


def tabulated(measured: dict[Alignment, views.Views]) -> dict[str, Any]:
  """Of each alignment and choice: means of error and regret (mm) with intervals; and the rank correlation."""
  content: dict[str, Any] = {}
  for alignment, found in measured.items():
    rows = {
      choice: {
        name: {"mean": float(values.mean()), "interval": views.interval(values)}
        for name, values in zip(("error_mm", "regret_mm"), both, strict=True)
      }
      for choice, both in views.choices(found).items()
    }
    content[alignment] = {"choices": rows, "correlation": views.correlation(found)}
  return content


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("run", type=pathlib.Path)
  parser.add_argument("--scenes", type=int, default=40, help="default: %(default)s")
  parser.add_argument("--cameras", type=int, default=8, help="of a scene (default: %(default)s)")
  parser.add_argument("--seed", type=int, default=0, help="of the scenes (default: %(default)s)")
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  args = parser.parse_args()
  if args.scenes < 1 or args.cameras < 2:
    parser.error("there must be a scene, and two cameras to choose from")
  try:
    model = load(args.run, batch_size=min(args.cameras, 16))
  except (OSError, ValueError) as error:
    parser.error(str(error))
  count = args.scenes * args.cameras
  # The people, poses and backgrounds of no training.
  made = SyntheticConfig(0, 0, count, args.seed, "demo", upright_deg=180.0, cameras=args.cameras, hands="pair")
  source = Built(str(build(made)))
  keys = {"picture", "box_img", "camera_img", "joints_cam"} & RECORD.keys()
  records = [source.read("test", row, keys) for row in range(count)]
  mode, samples = predicted(model, records)
  truth = np.stack([record["joints_cam"] for record in records])
  measured: dict[Alignment, views.Views] = {
    alignment: views.Views(*(x.reshape(args.scenes, -1) for x in views.of_pose(mode, samples, truth, alignment)))
    for alignment in _ALIGNMENTS
  }
  content = tabulated(measured)
  table = rich.table.Table(title=f"View selection, {args.scenes} scenes of {args.cameras} views, {args.run}")
  for column in ("alignment", "choice", "MPJPE, mm", "regret, mm", "95 %", "rank correlation"):
    table.add_column(column)
  for alignment, words in _ALIGNMENTS.items():
    for choice, row in content[alignment]["choices"].items():
      low, high = row["regret_mm"]["interval"]
      cells = f"{row['error_mm']['mean']:.1f}", f"{row['regret_mm']['mean']:.1f}", f"{low:.1f} .. {high:.1f}"
      last = f"{content[alignment]['correlation']:.2f}" if choice == views.CHOICES[0] else ""
      table.add_row(words, choice, *cells, last)
  consoles.make().print(table, soft_wrap=False)
  if args.json:
    about = {
      "run": args.run.resolve().name,
      "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
      "code": provenance.code(),
    }
    settings = about | {"scenes": args.scenes, "cameras": args.cameras, "seed": args.seed}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({**settings, "views": content}, indent=1) + "\n")


if __name__ == "__main__":
  main()
