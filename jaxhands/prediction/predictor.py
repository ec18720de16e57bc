"""The one predictor: pictures -> `system.predict` -> both hands in one camera frame.

    model = Model.of_run(pathlib.Path("runs/internet-demo"))
    hands = model.predict([picture])          # uint8 [H, W, 3], RGB
    hands.joints_img[0, 0]                    # 21 joints of the right hand, pixels of the picture
    hands.joints_cam[0]                       # both hands, mm, x right, y down, z forward

For systems that see both hands in one crop, and for those of one hand, which are shown each picture twice. Whatever the
size and number of pictures, one function is compiled, for one batch size.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.data import feed, host_ops
from jaxhands.evaluation.metrics.confidence import Calibration
from jaxhands.geometry import crop, lift
from jaxhands.hands import bones, mirror
from jaxhands.hands.model import HandModel
from jaxhands.prediction.hands import Hands, reprojection_px
from jaxhands.prediction.picture import Picture, all_of
from jaxhands.runs import folder as files
from jaxhands.systems import base, construct, subtrees
from jaxhands.train import checkpoint, distributed
from jaxhands.train import state as states
from jaxhands.train import step as steps

_BLANK = Picture(pathlib.Path(), np.zeros((64, 64, 3), np.uint8))


class WrongSystem(ValueError):
  """A system does not predict what it is asked for, whatever the picture."""


class Model:
  """A system with its weights, ready to look at pictures.

  Attributes:
    config: that it was trained with.
    system: of the config.
    variables: on the devices.
    batch_size: examples that are computed together.
    calibration: of its confidences; None = none.
  """

  def __init__(
    self,
    config: Any,
    read: Callable[[states.Tree], states.Tree],
    batch_size: int = 8,
    calibration: Calibration | None = None,
  ):
    """Builds the system.

    Args:
      config: of a run.
      read: gives the variables of the shapes that it gets, without "constants".
      batch_size: examples that are computed together; rounded up to the number of devices.
      calibration: makes probabilities of the system's confidences; None = they stay as they are.
    Raises:
      ValueError, FileNotFoundError: of `read`, or the config describes no system.
    """
    self.config, self.system, self.calibration = config, construct.load(config), calibration
    self._mesh = distributed.make_mesh()
    self.batch_size = -(-max(batch_size, 1) // self._mesh.size) * self._mesh.size
    everywhere = distributed.replicated(self._mesh)
    init = steps.make_init(self.system, config.seed)
    batch = feed.put(self._batch([self._example(_BLANK, self._views[0])]), self._mesh)
    shapes = subtrees.for_prediction(self.system, jax.eval_shape(init, batch))
    constants = jax.jit(lambda batch: init(batch).get("constants", {}), out_shardings=everywhere)(batch)
    self.variables = jax.device_put(read(shapes), everywhere) | {"constants": constants}
    self._step = jax.jit(self._predicted, out_shardings=everywhere)

  @classmethod
  def of_run(cls, workdir: pathlib.Path, which: checkpoint.Which = "evaluated", batch_size: int = 8) -> Model:
    """The system of a run; of its last stage, if it has stages.

    Raises:
      FileNotFoundError: not the folder of a run, or it has no checkpoint.
      ValueError: the checkpoint does not fit the config.
    """
    config = checkpoint.read_config(workdir)
    while config.stages:
      workdir = workdir / files.STAGES / list(config.stages)[-1]
      config = checkpoint.read_config(workdir)
    calibration = Calibration.read(workdir)
    return cls(config, lambda shapes: checkpoint.read_variables(workdir, shapes, which), batch_size, calibration)

  def predict(
    self,
    pictures: Sequence[np.ndarray | Picture],
    boxes: Any = None,
    cameras: Sequence[np.ndarray | None] | None = None,
    root_depth_mm: Any = None,
    hand_prob: Any = None,
  ) -> Hands:
    """The hands of pictures, in their boxes.

    Args:
      pictures: uint8 [H, W, 3] each, RGB, of any sizes; or `Picture`s, which may have boxes and cameras.
      boxes: where hands are, in pixels: [N, 4] (x, y, width, height) around all of them, or [N, 2, 4] for each hand,
        all 0 = this hand is not there; None = the whole picture is taken for the box; nothing is looked for, which
        `prediction.find.find_hands` does.
      cameras: intrinsics [3, 3] of each picture, None where they are not known; None = of none.
      root_depth_mm: [N, 2], depths of the wrists from elsewhere (RootNet), 0 = not known; None = none. Hands with
        meshes keep their size there.
      hand_prob: [N, 2], probabilities of the hands from elsewhere (a finder); None = the system's own.
    Raises:
      ValueError: a picture, box or camera is not what it should be (named by its position).
      WrongSystem: the system predicts no poses.
    """
    checked = all_of(pictures, boxes, cameras)
    raw, crops = self._raw(checked)
    missing = sorted(schema.POSE - set(raw))
    if missing:
      raise WrongSystem(
        f"system {self.config.system.name!r} predicts no poses (no {missing[0]}); it can find hands, or depths"
      )
    if hand_prob is not None:
      raw["hand_prob"] = np.asarray(hand_prob, np.float32)
    return self._hands(checked, raw, crops, root_depth_mm)

  def maps(
    self,
    pictures: Sequence[np.ndarray | Picture],
    boxes: Any = None,
    cameras: Sequence[np.ndarray | None] | None = None,
  ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Everything that the system predicts, for systems without poses, such as finders of hands and RootNet.

    Arguments and errors as of `predict`.

    Returns:
      Keys of `schema.PREDICTION` for N pictures, and `crop_from_img` [N, 2, 2, 3] for each hand.
    """
    return self._raw(all_of(pictures, boxes, cameras))

  # ---- from pictures to batches ---------------------------------------------------

  @property
  def hand_model(self) -> HandModel:
    """Whose meshes and parameters the system predicts."""
    return HandModel.named(self.config.hand_model)

  @property
  def predicts(self) -> frozenset[str]:
    """Keys of `schema.PREDICTION` that the system gives."""
    batch = self._batch([self._example(_BLANK, self._views[0])])
    return frozenset(jax.eval_shape(self._predicted, self.variables, batch))

  @property
  def _views(self) -> tuple[schema.View, ...]:
    return ("pair",) if self.system.view == "pair" else ("right", "left")

  def _example(self, picture: Picture, view: schema.View) -> dict[str, np.ndarray]:
    """One example of one view, made by the system's own host ops from a record without labels."""
    ops = self.system.host_ops(False)
    box = picture.box(view)
    pixels, scale = picture.pixels, picture.scale(box, tuple(self.config.data.crop_hw), _room(ops))
    if scale < 1:
      height, width = (max(round(side * scale), 1) for side in pixels.shape[:2])
      pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    # What was shrunk is not exactly `scale` of its size; the factors of x and y are.
    fx, fy = pixels.shape[1] / picture.pixels.shape[1], pixels.shape[0] / picture.pixels.shape[0]
    smaller = np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]], np.float32)
    record: dict[str, Any] = {key: _unknown(key, pixels) for key in host_ops.record_keys(self.system.needs)}
    corners = crop.apply_affine(smaller, np.array([box[:2], box[:2] + box[2:]], np.float32))
    record |= {"picture": pixels, "box_img": np.concatenate([corners[0], corners[1] - corners[0]]), "view": view}
    if "camera_img" in record and picture.camera_img is not None:
      record["camera_img"] = np.vstack([smaller, [0, 0, 1]]).astype(np.float32) @ picture.camera_img
      record["camera_valid"] = np.bool_(True)
    if "picture_hw" in record:
      record["picture_hw"] = np.array(pixels.shape[:2], np.int32)
    rng = np.random.default_rng(0)
    for op in ops:
      record = op(record, rng)
    example = host_ops.select(record, self.system.needs | {"crop_from_img"})
    return example | {"smaller_from_img": smaller}

  def _batch(self, examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Examples as one batch of the fixed size, filled up with copies of weight 0."""
    filled = [examples[min(row, len(examples) - 1)] for row in range(self.batch_size)]
    keys = set(filled[0]) - ({"smaller_from_img", "crop_from_img"} - self.system.needs)
    batch = {key: np.stack([example[key] for example in filled]) for key in sorted(keys - {"smaller_from_img"})}
    return batch | {"weight": (np.arange(self.batch_size) < len(examples)).astype(np.float32)}

  def _predicted(self, variables: base.Variables, batch: schema.Batch) -> schema.Prediction:
    rng = jax.random.key(self.config.seed)
    return self.system.predict(variables, self.system.device_ops(batch, rng, False), rng)

  def _raw(self, pictures: Sequence[Picture]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The system's prediction for both hands, in pixels of the pictures, and the crops that it saw."""
    examples = ((self._example(each, view)) for each in pictures for view in self._views)
    rows, affines = [], []
    while some := list(itertools.islice(examples, self.batch_size)):
      predicted = jax.device_get(self._step(self.variables, feed.put(self._batch(some), self._mesh)))
      smaller = np.stack([example["smaller_from_img"] for example in some])
      affines.append(np.asarray(crop.compose_affine(np.stack([e["crop_from_img"] for e in some]), smaller)))
      rows.append({key: _in_picture(key, np.array(value[: len(some)]), smaller) for key, value in predicted.items()})
    raw = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    schema.check_finite(raw)
    affine = np.concatenate(affines)
    if self.system.view == "pair":
      return raw, np.stack([affine, affine], axis=1)
    right, left = ({key: value[hand::2] for key, value in raw.items()} for hand in (0, 1))
    return _of_both(right, mirror.mirror(left)), affine.reshape(-1, 2, 2, 3)

  # ---- from predictions to hands --------------------------------------------------

  def _hands(
    self, pictures: Sequence[Picture], raw: dict[str, np.ndarray], crops: np.ndarray, root_depth_mm: Any
  ) -> Hands:
    known = np.array([each.camera_img is not None for each in pictures])
    picture_hw = np.array([each.pixels.shape[:2] for each in pictures], np.int32)
    assumed = np.asarray(lift.normalised_camera(picture_hw), np.float32)
    given = np.stack(
      [np.zeros((3, 3), np.float32) if each.camera_img is None else each.camera_img for each in pictures]
    )
    cameras = np.where(known[:, None, None], given, assumed)
    batch: dict[str, Any] = {"camera_img": cameras, "camera_valid": np.ones(len(pictures), bool)}
    source: lift.DepthSource = "place"
    if root_depth_mm is not None:
      source = "rootnet"
      depth = np.asarray(root_depth_mm, np.float32)
      batch |= {"root_depth_estimated": depth, "root_depth_estimated_valid": depth > 0}
      if "hands_together" in raw:  # where they are not, each was placed alone, and these depths say how far apart
        apart = ~raw["hands_together"] & (depth > 0).all(-1)
        raw = raw | {"rel_root_depth": np.where(apart, depth[:, 1] - depth[:, 0], raw["rel_root_depth"])}
    placed = lift.lift(raw, batch, source, "own", bones.mean_bones())
    if self.system.view == "pair":
      beside = lift.lift(raw, batch, source, "relative_if_seen", bones.mean_bones())
      ahead = np.asarray((beside.joints_cam[..., 2] > 0).all(-1))  # else the left hand keeps its own depth
      joints_cam = np.where(ahead[..., None, None], beside.joints_cam, placed.joints_cam)
      placed = lift.Lifted(joints_cam, np.where(ahead, beside.valid, placed.valid))
    if source == "rootnet" and "mano" in raw:
      placed = lift.keep_shape(raw, placed)
    prob = np.clip(raw["hand_prob"], 0, 1)
    present = prob > lift.SEEN
    valid = np.asarray(placed.valid) & present & np.isfinite(placed.joints_cam).all((-1, -2))
    valid &= (placed.joints_cam[..., 2] > 0).all(-1)  # no camera shows what is behind it
    joints_cam = np.where(valid[..., None, None], placed.joints_cam, 0).astype(np.float32)
    if "joints_cam" in raw:
      raw = raw | lift.move_meshes(raw, lift.Lifted(joints_cam, valid))
    sure = np.asarray(raw["confidence"], np.float32)
    measured = source == "rootnet" or "joints_cam" in raw
    scales = [
      "unknown" if not k else "metric" if measured and s else "assumed"
      for k, s in zip(known, raw["scale_known"], strict=True)
    ]
    return Hands(
      hand_prob=prob.astype(np.float32),
      present=present,
      joints_img=raw["joints_img"].astype(np.float32),
      confidence=np.clip(sure if self.calibration is None else self.calibration(sure), 0, 1).astype(np.float32),
      joints_cam=joints_cam,
      joints_cam_valid=valid,
      reprojection_px=reprojection_px(raw["joints_img"], joints_cam, valid, cameras),
      camera_img=cameras.astype(np.float32),
      scale=tuple(scales),  # pyright: ignore[reportArgumentType]
      box_img=np.stack([np.stack([each.box(hand) for hand in schema.HANDS]) for each in pictures]),
      crop_from_img=crops,
      raw={key: value for key, value in raw.items() if key not in schema.POSE | {"joints_cam"}},
    )


def _room(ops: Sequence[Any]) -> tuple[int, int] | None:
  """Largest picture that ops accept, which pad it to a fixed size; None = any."""
  rooms = [op.picture_hw for op in ops if isinstance(op, host_ops.PadPicture)]
  return rooms[0] if rooms else None


def _unknown(key: str, picture: np.ndarray) -> np.ndarray:
  """What a record says of a quantity that nobody annotated."""
  if key in host_ops.ENCODED:
    return np.zeros(picture.shape[:2] if key in ("parts", "masks") else picture.shape, np.uint8)
  if key == "record_id":
    return np.zeros((), np.int32)
  field = schema.BATCH[key]
  return np.zeros([schema.length(axis) or 1 for axis in field.axes[1:]], field.dtype)


def _in_picture(key: str, value: np.ndarray, smaller_from_img: Float[np.ndarray, "n 2 3"]) -> np.ndarray:
  """A prediction about pictures that were shown smaller, in pixels of the pictures themselves."""
  frame = schema.PREDICTION[key].frame
  if frame == "img":
    return np.asarray(crop.apply_affine(crop.invert_affine(smaller_from_img), value))
  if not frame.startswith("img -> "):
    return value
  before = smaller_from_img.reshape(len(value), *(1,) * (value.ndim - 3), 2, 3)
  return np.asarray(crop.compose_affine(value, np.broadcast_to(before, value.shape)))


def _of_both(right: Mapping[str, np.ndarray], left: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """One prediction of the right hand of one and the left hand of the other."""
  both = {}
  for key, value in right.items():
    axis = schema.PREDICTION[key].hand_axis
    if axis is not None:
      both[key] = np.concatenate([value.take([0], axis), left[key].take([1], axis)], axis)
    else:
      both[key] = value & left[key] if value.dtype == bool else value
  if "rel_root_depth" in both:  # each hand was seen alone
    both["rel_root_depth"] = np.zeros_like(both["rel_root_depth"])
  return both
