"""Memory and time of reading a made-up annotation of a million pictures, as InterHand2.6M's is laid out.

`python -m benchmarks.interhand26m_stream [--records 1000000]` writes about 1.1 GB into a temporary folder, runs
`data_builders.interhand26m --verify` on it in a process of its own, and prints what that took. The pictures' names lead
to a thousand small files. The limit is 4 GiB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_builders.schema import encode_picture

_CAMERAS, _PICTURES_A_FRAME, _FILES = 100, 10, 1000
_LIMIT_GIB = 4.0


def write(folder: pathlib.Path, records: int) -> int:
  """Writes a download of so many pictures; returns the size of its annotations in bytes."""
  rng = np.random.default_rng(0)
  target = folder / "annotations" / "train"
  target.mkdir(parents=True)
  picture = encode_picture(np.zeros((512, 334, 3), np.uint8))
  for number in range(_FILES):
    path = folder / "images" / "train" / f"Capture0/a/cam0/image{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
  camera = {
    "campos": [0.0, 0.0, -1000.0],
    "camrot": np.eye(3).tolist(),
    "focal": [1260.5, 1261.5],
    "princpt": [155, 258],
  }
  content = {field: {str(400000 + n): value for n in range(_CAMERAS)} for field, value in camera.items()}
  (target / "InterHand2.6M_train_camera.json").write_text(json.dumps({"0": content}))
  with (target / "InterHand2.6M_train_joint_3d.json").open("w") as file:
    file.write('{"0": {')
    for frame in range(-(-records // _PICTURES_A_FRAME)):
      joints = json.dumps({"world_coord": rng.normal(0, 20, (42, 3)).tolist(), "joint_valid": [[True]] * 42})
      file.write(f'{", " if frame else ""}"{frame}": {joints}')
    file.write("}}")
  with (target / "InterHand2.6M_train_data.json").open("w") as file:
    file.write('{"images": [')
    _write_all(file, (_picture(number) for number in range(records)))
    file.write('], "annotations": [')
    _write_all(file, (_annotation(number) for number in range(records)))
    file.write("]}")
  return sum(path.stat().st_size for path in target.iterdir())


def _write_all(file: Any, entries: Iterator[dict[str, Any]]) -> None:
  for comma, entry in zip(itertools.chain([""], itertools.repeat(", ")), entries, strict=False):
    file.write(comma + json.dumps(entry))


def _picture(number: int) -> dict[str, Any]:
  name = f"Capture0/a/cam0/image{number % _FILES}.jpg"
  camera, frame = str(400000 + number % _CAMERAS), number // _PICTURES_A_FRAME
  picture = {"id": number, "file_name": name, "width": 334, "height": 512, "capture": 0, "subject": 3}
  return picture | {"seq_name": f"{number // 1000:04}_made_up", "camera": camera, "frame_idx": frame}


def _annotation(number: int) -> dict[str, Any]:
  box, valid = [33.56839370727539 + number % 7, 164.92373657226562, 185.057861328125, 142.7256622314453], [[1]] * 42
  annotation = {"id": number, "image_id": number, "bbox": box, "joint_valid": valid}
  return annotation | {"hand_type": "interacting" if number % 3 else "right", "hand_type_valid": 1}


def main() -> None:
  parser = argparse.ArgumentParser(prog="python -m benchmarks.interhand26m_stream")
  parser.add_argument("--records", type=int, default=1_000_000)
  records = parser.parse_args().records
  with tempfile.TemporaryDirectory() as folder:
    size = write(pathlib.Path(folder), records)
    print(f"annotations of {records:,} pictures: {size / 1e9:.2f} GB")
    command = [sys.executable, "-m", "data_builders.interhand26m", "--source", folder, "--verify"]
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - begun
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  gib = used.ru_maxrss / 2**20
  print(done.stdout.strip())
  print(f"{seconds:.0f} s ({used.ru_utime + used.ru_stime:.0f} s of one core), at most {gib:.2f} GiB of memory")
  if done.returncode or gib > _LIMIT_GIB:
    sys.exit(f"failed: status {done.returncode}, limit {_LIMIT_GIB} GiB")


if __name__ == "__main__":
  main()
