"""A small made-up download in InterHand2.6M's layout: embedded hands in the world, cameras around them, noise pictures.

All that is known of it is kept as `Truth`, so that what is built can be compared. Nothing of the real data is here.
"""

import dataclasses
import json
import pathlib

import cv2
import numpy as np

from jaxhands.geometry import rotations
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.schema import HANDS, RIGHT

WIDTH, HEIGHT = 128, 160
FOCAL = 260.0
CENTRE_WORLD = np.array([10.0, -40.0, 1100.0])
# id, capture, sequence, frame, camera, hand type; deliberately out of every order.
PICTURES = (
  (70, 1, "0007_thumbup", 12, 400002, "interacting"),
  (33, 0, "0390_touch", 11, 410001, "left"),
  (45, 0, "0390_touch", 11, 400002, "left"),
  (12, 1, "0007_thumbup", 12, 410001, "interacting"),
  (99, 1, "0003_pray", 11, 410001, "right"),
)


@dataclasses.dataclass(frozen=True)
class Truth:
  """What is known of a frame, by (capture, frame)."""

  mano_world: np.ndarray  # [2, 61], mm, flat hand = 0
  joints_world: np.ndarray  # [2, 21, 3], mm


def write(folder: pathlib.Path, split: str = "test", annotations: str = "") -> dict[tuple[int, int], Truth]:
  """Writes the split; `annotations` names another folder for its JSON than that of V1.0."""
  model, truths = HandModel.default(), {}
  content = {"camera": {}, "joint_3d": {}, "MANO_NeuralAnnot": {}, "data": {"images": [], "annotations": []}}
  for number, (id_, capture, sequence, frame, camera, hand_type) in enumerate(PICTURES):
    if (capture, frame) not in truths:
      truths[capture, frame] = truth(model, 10 * capture + frame)
    true, present = truths[capture, frame], [hand_type in (hand, "interacting") for hand in HANDS]
    rotation, position = camera_of(camera)
    for field, value in {
      "camrot": rotation, "campos": position, "focal": [FOCAL, FOCAL + 1], "princpt": [WIDTH / 2 + 1, HEIGHT / 2 - 1]
    }.items():  # fmt: skip
      cameras = content["camera"].setdefault(str(capture), {}).setdefault(field, {})
      cameras[str(camera)] = np.asarray(value).tolist()
    joints = np.where(np.array(present)[:, None, None], true.joints_world, 1.0)  # absent ones are 1, 1, 1
    content["joint_3d"].setdefault(str(capture), {})[str(frame)] = {
      "world_coord": joints.reshape(42, 3).tolist(), "joint_valid": np.repeat(present, 21)[:, None].tolist(),
      "hand_type": hand_type, "hand_type_valid": True,
    }  # fmt: skip
    content["MANO_NeuralAnnot"].setdefault(str(capture), {})[str(frame)] = {
      hand: neural_annot(model, true.mano_world[side], side) if present[side] else None
      for side, hand in enumerate(HANDS)
    }
    name = f"Capture{capture}/{sequence}/cam{camera}/image{frame}.jpg"
    content["data"]["images"].append(
      {"id": id_ + 500, "file_name": name, "width": WIDTH, "height": HEIGHT, "capture": capture, "subject": capture + 3}
      | {"seq_name": sequence, "camera": str(camera), "frame_idx": frame}
    )
    valid = np.repeat(present, 21).astype(int)
    content["data"]["annotations"].insert(
      number // 2,
      {"id": id_, "image_id": id_ + 500, "bbox": [20.5, 30.25, 70.0, 60.0], "joint_valid": valid[:, None].tolist()}
      | {"hand_type": hand_type, "hand_type_valid": 1},
    )
    path = folder / "images" / split / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(id_).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
  target = folder / "annotations" / (annotations or split)
  target.mkdir(parents=True, exist_ok=True)
  for role, value in content.items():
    (target / f"InterHand2.6M_{split}_{role}.json").write_text(json.dumps(value))
  return truths


def truth(model: HandModel, seed: int) -> Truth:
  rng = np.random.default_rng(seed)
  mano = np.zeros((2, 61), np.float32)
  mano[:, :3] = rng.normal(0, 0.4, (2, 3))
  mano[:, 3:48] = model.hands_mean * rng.uniform(0.3, 1.2) + rng.normal(0, 0.05, (2, 45))
  mano[:, 48:58] = rng.normal(0, 0.7, (2, 10))
  mano[:, 58:] = CENTRE_WORLD + np.array([[70.0, 0, 0], [-70.0, 5, 20]])
  return Truth(mano, np.asarray(model.forward_mano(mano).keypoints))


def neural_annot(model: HandModel, mano: np.ndarray, side: int) -> dict[str, list[float]]:
  """As the file has it: the mean pose taken out, metres."""
  pose = mano[:48].astype(np.float64)
  pose[3:] -= model.hands_mean[side]
  return {"pose": pose.tolist(), "shape": mano[48:58].tolist(), "trans": (mano[58:].astype(np.float64) / 1e3).tolist()}


def camera_of(camera: int) -> tuple[np.ndarray, np.ndarray]:
  """World to camera rotation and position (mm) of a camera that looks at the hands from 900 mm away."""
  turn = rotations.matrix_from_axis_angle(np.array([0.1, 0.3 if camera % 2 else -0.4, 0.2 if camera % 2 else 1.4]))
  return turn, CENTRE_WORLD - 900 * turn[2]


def write_mano(folder: pathlib.Path) -> pathlib.Path:
  """The embedded right hand in a file of MANO's layout; the left one is made as its mirror image."""
  model = HandModel.default()
  # Fingertips are where MANO's files have them, so some vertices change places.
  order = np.arange(model.v_template.shape[1])
  for ours, theirs in zip(model.tip_vertices[RIGHT], skeleton.MANO_TIP_VERTICES, strict=True):
    at = int(np.flatnonzero(order == ours)[0])
    order[[at, theirs]] = order[[theirs, at]]
  template, shapedirs = model.v_template[RIGHT, order] / 1e3, model.shapedirs[RIGHT, order] / 1e3
  # The shortest regressor with rows of sum 1 that gives the rest joints for every shape.
  seen = np.concatenate([template, shapedirs.reshape(len(template), -1), np.ones((len(template), 1))], axis=1)
  joints = np.concatenate([model.joints_template[RIGHT] / 1e3, model.joints_shapedirs[RIGHT].reshape(16, -1) / 1e3], 1)
  wanted = np.concatenate([joints, np.ones((16, 1))], axis=1)
  regressor = np.linalg.lstsq(seen.T.astype(np.float64), wanted.T.astype(np.float64), rcond=None)[0].T
  np.savez(
    folder / "MANO_RIGHT.npz",
    v_template=template, shapedirs=shapedirs, posedirs=np.zeros((len(template), 3, 135)), J_regressor=regressor,
    weights=model.weights[RIGHT, order], f=np.argsort(order)[model.faces[RIGHT]], hands_mean=model.hands_mean[RIGHT],
    hands_components=np.eye(45), kintree_table=np.stack([skeleton.MANO_PARENTS, np.arange(16)]),
  )  # fmt: skip
  return folder
