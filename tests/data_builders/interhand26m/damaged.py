"""Kinds of damage to a download: each does it to one picture, and returns what must be said of it."""

import json
import pathlib
import re

import numpy as np

from data_builders.interhand26m import InterHandConfig, verify
from data_builders.interhand26m.problems import KINDS
from data_builders.problems import Problems


def quiet(what, done, total):
  assert 0 <= done <= total, what


def checked(folder, **arguments):
  """Lines of the problems, lines of what was looked at."""
  problems = Problems(KINDS)
  lines = verify(InterHandConfig(str(folder), **arguments), problems, quiet)
  return problems.lines(), lines


class Edited:
  """An annotation file as it is changed."""

  def __init__(self, folder: pathlib.Path, role: str):
    self.path = folder / "annotations" / "test" / f"InterHand2.6M_test_{role}.json"

  def __enter__(self):
    self.content = json.loads(self.path.read_text())
    return self.content

  def __exit__(self, *error):
    self.path.write_text(json.dumps(self.content))


def first_picture(folder) -> str:
  """Name of the first picture in the list of annotations."""
  with Edited(folder, "data") as data:
    wanted = data["annotations"][0]["image_id"]
    return next(image["file_name"] for image in data["images"] if image["id"] == wanted)


def cut_picture(folder, name):
  path = folder / "images" / "test" / name
  path.write_bytes(path.read_bytes()[:1500])
  return f"1 x cut picture [record left out]: {name} (no end mark after 1,500 bytes)"


def empty_picture(folder, name):
  (folder / "images" / "test" / name).write_bytes(b"")
  return f"1 x cut picture [record left out]: {name} (empty file)"


def other_file(folder, name):
  (folder / "images" / "test" / name).write_text("<html>404</html>")
  return f"1 x cut picture [record left out]: {name} (no JPEG)"


def missing_picture(folder, name):
  (folder / "images" / "test" / name).unlink()
  return f"1 x missing picture [record left out]: {name}"


def missing_camera(folder, name):
  capture, camera = re.match(r"Capture(\d+)/.*/cam(\d+)/", name).groups()
  with Edited(folder, "camera") as cameras:
    for field in cameras[capture].values():
      del field[camera]
  with Edited(folder, "data") as data:
    names = [image["file_name"] for image in data["images"]]
  lost = [n for n in names if n.startswith(f"Capture{capture}/") and f"/cam{camera}/" in n]
  return f"{len(lost)} x missing camera [record left out]: {name}"


def missing_joints(folder, name):
  capture, frame = re.match(r"Capture(\d+)/.*/image(\d+)", name).groups()
  with Edited(folder, "joint_3d") as joints:
    del joints[capture][frame]
  return "x missing 3D joints [record left out]: "


def missing_entry(folder, name):
  with Edited(folder, "data") as data:
    data["images"] = [image for image in data["images"] if image["file_name"] != name]
    id_ = data["annotations"][0]["id"]
  return f"1 x annotation without picture entry [record left out]: InterHand2.6M_test_data.json annotation {id_}"


def malformed_entry(folder, name):
  with Edited(folder, "data") as data:
    data["annotations"][0]["joint_valid"].pop()
  place = "InterHand2.6M_test_data.json annotations[0]"
  return f"1 x malformed entry [record left out]: {place} (joint_valid has 41 entries and bbox 4, expected 42 and 4)"


def entry_without_frame(folder, name):
  with Edited(folder, "data") as data:
    (image,) = (image for image in data["images"] if image["file_name"] == name)
    at = data["images"].index(image)
    del image["frame_idx"]
  return f"InterHand2.6M_test_data.json images[{at}] (it has no 'frame_idx')"


def path_that_leads_out(folder, name):
  with Edited(folder, "data") as data:
    (image,) = (image for image in data["images"] if image["file_name"] == name)
    image["file_name"] = "../../annotations/skeleton.txt"
  return "(file_name '../../annotations/skeleton.txt' leads out of the pictures' folder)"


def bad_box(folder, name):
  with Edited(folder, "data") as data:
    data["annotations"][0]["bbox"] = [1.0, 2.0, float("nan"), 5.0]
  return f"1 x bad box [record left out]: {name} ([1.0, 2.0, nan, 5.0])"


def box_beside_the_picture(folder, name):
  with Edited(folder, "data") as data:
    data["annotations"][0]["bbox"] = [-300, -200, 120, 200]
  return f"1 x box beside the picture [record left out]: {name} ([-300.0, -200.0, 120.0, 200.0], "


def box_away_from_the_joints(folder, name):
  with Edited(folder, "data") as data:
    data["annotations"][0]["bbox"] = [1, 2, 4, 4]
  return f"1 x joints away from the box [record left out]: {name} ([1.0, 2.0, 4.0, 4.0])"


def joints_in_metres(folder, name):
  capture, frame = re.match(r"Capture(\d+)/.*/image(\d+)", name).groups()
  with Edited(folder, "joint_3d") as joints:
    wrong = joints[capture][frame]
    wrong["world_coord"] = (np.array(wrong["world_coord"]) / 1000).tolist()
  return "mm; are the joints in metres?)"


def _damaged_camera(folder, name, field, change):
  capture, camera = re.match(r"Capture(\d+)/.*/cam(\d+)/", name).groups()
  with Edited(folder, "camera") as cameras:
    cameras[capture][field][camera] = change(np.array(cameras[capture][field][camera])).tolist()
  return capture, camera


def camera_in_metres(folder, name):
  capture, camera = _damaged_camera(folder, name, "campos", lambda position: position / 1000)
  (line,) = (line for line in checked(folder)[0] if "malformed entry" in line)
  assert f"camera.json capture {capture} camera {camera} (its campos [" in line
  assert line.endswith("is no place in mm; is it in metres?)")
  return "x missing camera [record left out]: "


def focal_zero(folder, name):
  _damaged_camera(folder, name, "focal", lambda focal: 0 * focal)
  assert any("(its focal length is [0.0, 0.0])" in line for line in checked(folder)[0])
  return "x missing camera [record left out]: "


def hands_exchanged(folder, name):
  with Edited(folder, "data") as data:
    entry = data["annotations"][0]
    valid = np.reshape(entry["joint_valid"], (2, 21))
    here = int(valid.any(1).argmax())
    valid[1 - here] = 0
    entry["joint_valid"], entry["hand_type"] = valid.reshape(42, 1).tolist(), ("right", "left")[1 - here]
  return f"1 x hand type against the joints [record left out]: {name}"


def picture_of_another_size(folder, name):
  with Edited(folder, "data") as data:
    (image,) = (image for image in data["images"] if image["file_name"] == name)
    width, height = image["width"], image["height"]
    image["width"], image["height"] = height, width
  return (
    f"1 x picture of another size [record left out]: {name} ({width} x {height} pixels, annotated {height} x {width} "
    "pixels)"
  )


def picture_id_twice(folder, name):
  with Edited(folder, "data") as data:
    (image,) = (image for image in data["images"] if image["file_name"] == name)
    data["images"].append(image | {"file_name": "Capture0/elsewhere/cam400002/image1.jpg"})
  return f"(picture {image['id']})"


DAMAGES = (
  cut_picture, empty_picture, other_file, missing_picture, missing_camera, missing_joints, missing_entry,
  malformed_entry, entry_without_frame, path_that_leads_out, bad_box, box_beside_the_picture, box_away_from_the_joints,
  joints_in_metres, camera_in_metres, focal_zero, hands_exchanged, picture_of_another_size, picture_id_twice,
)  # fmt: skip
