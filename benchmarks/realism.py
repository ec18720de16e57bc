"""Does a detector trained on photos of real hands see hands in our renders, and the right side of them?

Two commands, because the detector (MediaPipe Hands, Apache-2.0, the last wheel that carries its weights) needs older
packages than ours:

    python -m benchmarks.realism render --out DIR
    python3.11 -m venv ENV && ENV/bin/pip install mediapipe==0.10.14 "numpy<2"
    ENV/bin/python benchmarks/realism.py detect --out DIR

`render` writes pictures of three kinds with their truth: `plain` hands (single, within 60 degrees of upright as in
`synthetic/demo`, palm or back towards the camera, fingers all but straight, in colour), `any` single hands (as in
`synthetic`: fists, side views, upside down, grey frames), and `pair`s of interacting hands. `detect`
writes DIR/realism.json, prints the shares, and draws DIR/realism.jpg, a sheet of what was missed.

A hand counts as found where a detection lies nearer to it than a quarter of its box's longer side (mean over the 21
joints); its side is right where the detector, which expects mirrored pictures, names the other one.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

KINDS = {"plain": ("demo", 1), "any": ("full", 1), "pair": ("full", 2)}
_MIN_FACING = 0.75  # cosine between the palm's normal and the direction to the camera
_MIN_STRAIGHT = 0.9  # wrist to tip over the length of the bones, mean of four fingers
_MIN_COLOUR = 2.0  # mean difference of red and blue, grey levels
_SPLIT = "test"
_MAX_SHIFT = 0.25  # of the hand's box, mean over the joints
# InterHand2.6M's order, picked from MediaPipe's (wrist, thumb base to tip, ..., little base to tip).
_FROM_MEDIAPIPE = [4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0]


def _is_plain(record: dict[str, Any]) -> bool:
  """Open, seen from its palm or back, in colour."""
  joints = record["joints_cam"][int(np.argmax(record["hand_present"]))].astype(np.float64)
  index, little, wrist = joints[7], joints[19], joints[20]
  normal = np.cross(index - wrist, little - wrist)
  towards = joints.mean(0)
  facing = abs(normal @ towards) / (np.linalg.norm(normal) * np.linalg.norm(towards))
  # From tip to wrist along the bones and as the crow flies.
  fingers = np.concatenate([joints[4:20].reshape(4, 4, 3), np.broadcast_to(wrist, (4, 1, 3))], axis=1)
  bones = np.linalg.norm(np.diff(fingers, axis=1), axis=-1).sum(1)
  straight = np.linalg.norm(fingers[:, 0] - wrist, axis=-1) / bones
  picture = cv2.imdecode(np.frombuffer(record["picture"], np.uint8), cv2.IMREAD_COLOR)
  assert picture is not None
  colour = np.abs(picture[..., 0].astype(int) - picture[..., 2]).mean()
  return bool(facing > _MIN_FACING and straight.mean() > _MIN_STRAIGHT and colour > _MIN_COLOUR)


def _records(kind: str, count: int, seed: int) -> Iterator[dict[str, Any]]:
  from data_builders.synthetic import SyntheticConfig  # not in the detector's environment
  from data_builders.synthetic.records import make_record

  variant, hands = KINDS[kind]
  config = SyntheticConfig(train=0, val=0, test=100 * count, seed=seed, variant=variant, pictures="input")
  found = 0
  for index in range(100 * count):
    record = make_record(config, _SPLIT, index)
    if record["hand_present"].sum() == hands and (kind != "plain" or _is_plain(record)):
      yield record
      found += 1
      if found == count:
        return


def render(out: pathlib.Path, count: int, seed: int) -> None:
  """Writes `count` pictures of each kind and `truth.json`."""
  out.mkdir(parents=True, exist_ok=True)
  truth = {}
  for kind in KINDS:
    for number, record in enumerate(_records(kind, count, seed)):
      name = f"{kind}_{number:03d}.jpg"
      (out / name).write_bytes(record["picture"])
      truth[name] = {
        side: record["joints_img"][hand].tolist()
        for hand, side in enumerate(("Right", "Left"))
        if record["hand_present"][hand]
      }
  (out / "truth.json").write_text(json.dumps(truth))
  print(f"{len(truth)} pictures in {out}")


def _detections(detector: Any, picture: np.ndarray) -> list[tuple[str, np.ndarray]]:
  """(side in our sense, joints in px [21, 2]) of every detection."""
  found = detector.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
  size = np.array(picture.shape[1::-1], float)
  return [
    (
      {"Left": "Right", "Right": "Left"}[named.classification[0].label],
      np.array([(mark.x, mark.y) for mark in marks.landmark])[_FROM_MEDIAPIPE] * size,
    )
    for marks, named in zip(found.multi_hand_landmarks or [], found.multi_handedness or [])  # noqa: B905
  ]


def _judge(truth: dict[str, Any], detections: list[tuple[str, np.ndarray]]) -> list[dict[str, Any]]:
  """Of each true hand: was it found, on which side, and how far off (share of its box)."""
  judged = []
  left = list(detections)
  for side, joints in truth.items():
    joints = np.array(joints)
    box = float(np.ptp(joints, axis=0).max())
    shifts = [float(np.linalg.norm(seen - joints, axis=1).mean()) / box for _, seen in left]
    best = int(np.argmin(shifts)) if shifts else -1
    if best < 0 or shifts[best] > _MAX_SHIFT:
      judged.append({"found": False, "side": False, "shift": None})
    else:
      named, _ = left.pop(best)
      judged.append({"found": True, "side": named == side, "shift": shifts[best]})
  return judged


def detect(out: pathlib.Path) -> None:
  """Runs the detector over the pictures and states the shares."""
  import mediapipe  # pyright: ignore[reportMissingImports]

  truth = json.loads((out / "truth.json").read_text())
  detector = mediapipe.solutions.hands.Hands(static_image_mode=True, max_num_hands=2, min_detection_confidence=0.5)
  judged: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
  missed = []
  for name, hands in truth.items():
    picture = cv2.imread(str(out / name))
    assert picture is not None, f"{name} is gone from {out}"
    detections = _detections(detector, picture)
    verdicts = _judge(hands, detections)
    judged[name.split("_")[0]] += verdicts
    if not all(verdict["side"] for verdict in verdicts):
      for side, joints in detections:
        for x, y in joints:
          cv2.circle(picture, (round(x), round(y)), 2, (0, 140, 255) if side == "Right" else (255, 120, 0), -1)
      cv2.putText(picture, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1)
      missed.append(picture)
  result = {
    kind: {
      "hands": len(verdicts),
      "found": float(np.mean([verdict["found"] for verdict in verdicts])),
      "right_side": float(np.mean([verdict["side"] for verdict in verdicts])),
      "shift_of_found": float(np.mean([verdict["shift"] for verdict in verdicts if verdict["found"]] or [np.nan])),
    }
    for kind, verdicts in judged.items()
  }
  (out / "realism.json").write_text(json.dumps({"detector": "mediapipe 0.10.14", "kinds": result}, indent=2) + "\n")
  for kind, values in result.items():
    print(f"{kind:6s} " + "  ".join(f"{key} {value:.3g}" for key, value in values.items()))
  if missed:
    blank = np.zeros_like(missed[0])
    rows = [missed[i : i + 8] for i in range(0, min(len(missed), 64), 8)]
    cv2.imwrite(str(out / "realism.jpg"), np.vstack([np.hstack(row + [blank] * (8 - len(row))) for row in rows]))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("command", choices=("render", "detect"))
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--count", type=int, default=100, help="pictures of each kind")
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  if args.command == "render":
    render(args.out, args.count, args.seed)
  else:
    detect(args.out)


if __name__ == "__main__":
  main()
