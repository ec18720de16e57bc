"""MultiHands: speed, and how far proxies agree with a z-buffer: `python -m benchmarks.multihands FOLDER`.

FOLDER is a data set that `python -m data_builders.multihands` built of embedded hands. Of some of its records the
annotations are made anew, and timed; of as many changes of their fits as are asked for, kept or not, it is counted
which joints the proxies hide (`hands.proxies.hidden`) and which a z-buffer of both meshes does (`render.labels`).
"""

from __future__ import annotations

import argparse
import pathlib
import time
from typing import Any, cast

import jax
import numpy as np
import tensorflow_datasets as tfds

from data_builders.multihands import perturb
from data_builders.multihands.config import MultiHandsConfig
from data_builders.multihands.records import hand_model, scene_of
from jaxhands.hands import proxies
from jaxhands.render import labels


def main() -> None:
  parser = argparse.ArgumentParser(description="Speed of MultiHands, and its proxies beside a z-buffer.")
  parser.add_argument("folder", type=pathlib.Path)
  parser.add_argument("--records", type=int, default=20, help="default: %(default)s")
  parser.add_argument("--changes", type=int, default=1000, help="in all (default: %(default)s)")
  args = parser.parse_args()
  config, model = MultiHandsConfig("synthetic"), hand_model("")
  try:
    builder = cast(Any, tfds.builder_from_directory(str(args.folder)))
  except OSError as error:
    parser.error(f"{args.folder} is no data set: {error}")
  data = builder.as_data_source(next(iter(builder.info.splits)))
  records = [data[i] for i in np.linspace(0, len(data) - 1, min(args.records, len(data))).round().astype(int)]
  likely = perturb.likely_of(np.stack([record["mano"][:, 3:48] for record in data]).astype(np.float64))
  spread = (config.finger_share, config.turn_rad, config.depth_mm)

  made = []
  for number, record in enumerate(records):
    scene, start = scene_of(record, config), time.process_time()
    key = jax.random.key(number)
    found = perturb.plausible(
      key, scene, likely, model.tips_only(), config.annotations, config.population, config.rounds, spread
    )
    jax.block_until_ready(found)
    made.append(time.process_time() - start)
  if len(made) > 1:
    print(f"{np.mean(made[1:]):.3f} s of the processor a record; the first one, compiled, {made[0]:.1f} s")

  counts = np.zeros((2, 2), int)
  each = -(-args.changes // len(records))
  for number, record in enumerate(records):
    scene = scene_of(record, config)
    for mano in np.asarray(perturb.changes(jax.random.key(number), scene, likely, model.tips_only(), each, spread)):
      counts += compared(mano, record, np.asarray(scene.deviations))
  both, alone, missed, neither = counts[1, 1], counts[0, 1], counts[1, 0], counts[0, 0]
  print(
    f"{each * len(records)} changes, {counts.sum():,} joints: the same word for {(both + neither) / counts.sum():.1%}"
  )
  print(f"of joints that the z-buffer hides, the proxies hide {both / max(both + missed, 1):.1%}")
  print(f"of joints that the proxies hide, the z-buffer hides {both / max(both + alone, 1):.1%}")


def compared(mano: np.ndarray, record: dict[str, np.ndarray], deviations: np.ndarray) -> np.ndarray:
  """Joints within the picture by [hidden in the z-buffer, hidden by proxies], [2, 2] counts."""
  model = hand_model("")
  posed = model.forward_mano(mano)
  height, width = (int(n) for n in record["picture_hw"])
  camera_img = record["camera_img"]
  faces, weights = np.asarray(model.faces), np.asarray(model.weights)
  drawn = labels.label_hands(posed.vertices, np.ones(2, bool), faces, weights, camera_img, height, width)
  joints = np.asarray(posed.keypoints).reshape(-1, 3)
  pixels = joints @ camera_img.T
  at = np.rint(pixels[:, :2] / pixels[:, 2:])
  within = ((at >= 0) & (at < [width, height])).all(-1)
  seen = labels.joints_visible(drawn.depth_mm, joints, camera_img)
  by_proxies = proxies.hidden(joints, proxies.centres(posed.keypoints), deviations, labels.VISIBLE_WITHIN_MM)
  found = np.zeros((2, 2), int)
  np.add.at(found, ((~seen[within]).astype(int), np.asarray(by_proxies)[within].astype(int)), 1)
  return found


if __name__ == "__main__":
  main()
