"""Pictures a second of the renderer on one core: `python -m benchmarks.render [--scenes N] [--json FILE]`.

Two hands of the embedded model with arms, 320 x 320, hands' box 120..260 px, 2 x 2 samples. One row per set of outputs;
`background` and `look` are what is drawn for each scene besides. Rates count processor seconds, best of five rounds, so
that other work on the machine changes them little.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from collections.abc import Callable

import cv2
import numpy as np

from jaxhands.geometry import compiled
from jaxhands.hands.model import HandModel
from jaxhands.render.appearance import Surroundings, sample_hands, sample_surroundings
from jaxhands.render.backgrounds import SPLITS, sample_background
from jaxhands.render.cameras import View, sample_view
from jaxhands.render.scene import PICTURES, Scene, render
from jaxhands.render.surface import hand_surfaces

_ROUNDS = 5
_BETWEEN_HANDS_MM = 70.0
AIM_MS = 15.0  # one full picture of two hands


def make_scenes(count: int) -> list[tuple[Scene, View, Surroundings]]:
  """Pairs of hands with bent fingers, each turned by chance, close to one another."""
  model = HandModel.default()
  surfaces = hand_surfaces(model)
  made = []
  for seed in range(count):
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.25, (2, 16, 3)).astype(np.float32)
    pose[:, 0] = rng.normal(0, 1.2, (2, 3))
    vertices = np.asarray(model.forward(pose, np.zeros((2, 10), np.float32), np.zeros((2, 3), np.float32)).vertices)
    places = rng.normal(0, _BETWEEN_HANDS_MM / 2, (2, 1, 3))
    vertices = (vertices - vertices.mean(1, keepdims=True) + places).astype(np.float32)
    around = sample_surroundings(rng, 320, 320)
    hands = sample_hands(rng, surfaces, vertices, np.array([True, True]))
    view = sample_view(rng, vertices.reshape(-1, 3), np.array([0.0, 0.0, -1.0]))
    made.append((Scene(hands, around.lighting), view, around))
  return made


def milliseconds(call: Callable[[int], object], count: int) -> float:
  """Processor time of one of `count` calls, in the best of several rounds after one that warms up."""
  best = np.inf
  for _ in range(_ROUNDS + 1):
    start = time.process_time()
    for index in range(count):
      call(index)
    best = min(best, time.process_time() - start)
  return 1e3 * float(best) / count


def main() -> None:
  parser = argparse.ArgumentParser(description="Pictures a second of the renderer.")
  parser.add_argument("--scenes", type=int, default=24)
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  args = parser.parse_args()
  cv2.setNumThreads(1)
  scenes = make_scenes(args.scenes)

  def rendered(pictures: tuple[str, ...], samples: int = 2) -> Callable[[int], object]:
    def call(index: int) -> object:
      scene, view, around = scenes[index]
      return render(scene, view, around.background, around.sensor, pictures, samples)

    return call

  def background(index: int) -> object:
    return sample_background(np.random.default_rng(index), 320, 320, SPLITS[index % len(SPLITS)])

  def look(index: int) -> object:
    scene, rng = scenes[index][0], np.random.default_rng(index)
    hands = [hand for hand in scene.hands if hand is not None]
    vertices = np.stack([hand.vertices_world for hand in hands])
    return sample_hands(rng, (hands[0].surface, hands[1].surface), vertices, np.array([True, True]))

  rows = {
    "labels": rendered(()),
    "picture": rendered(("picture",)),
    "picture, 1 sample": rendered(("picture",), samples=1),
    "picture, deoccluded": rendered(("picture", "deoccluded")),
    "all pictures": rendered(PICTURES),
    "background": background,
    "look": look,
  }
  figures = {name: milliseconds(call, args.scenes) for name, call in rows.items()}
  print(f"compiled: {compiled.HAVE_NUMBA}; aim: picture in {AIM_MS:.0f} ms")
  for name, value in figures.items():
    print(f"{name:20} {value:7.2f} ms {1e3 / value:8.1f} /s")
  if args.json:
    args.json.write_text(json.dumps({"unit": "ms per scene and core", "figures": figures}, indent=2))


if __name__ == "__main__":
  main()
