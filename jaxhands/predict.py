"""The one predictor: pictures -> `system.predict` -> both hands in one camera frame.

    model = Model.of_run(pathlib.Path("runs/internet-demo"))
    hands = model.predict([picture])          # uint8 [H, W, 3], RGB
    hands.joints_img[0, 0]                    # 21 joints of the right hand, pixels of the picture
    hands.joints_cam[0]                       # both hands, mm, x right, y down, z forward

Of any system: of both hands in one crop, or of one hand at a time, whose pictures are then shown twice. Whatever the
size and number of pictures, one function is compiled, for one batch size.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import cv2
import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import meshes, schema
from jaxhands.data import feed, host_ops
from jaxhands.geometry import camera, crop, lift
from jaxhands.hands import bones, mirror
from jaxhands.hands.model import HandModel
from jaxhands.metrics.confidence import Calibration
from jaxhands.systems import base
from jaxhands.train import checkpoint, distributed
from jaxhands.train import state as states
from jaxhands.train import step as steps

Scale = Literal["metric", "assumed", "unknown"]
SEEN = 0.5  # probability from which on a hand counts as seen
_BOX_PX = 2.0  # boxes show at least as much of the picture
_SEEN = 0.01  # and at least so much of a box is picture
_TOP = 2.0  # a picture is shrunk so that the box has at most as many pixels a side as the crop, times this


@dataclasses.dataclass(frozen=True, eq=False)
class Hands:
  """What was found in N pictures; right hands first. All arrays are finite; where a flag is False, values are 0.

  Attributes:
    hand_prob: [N, 2], probability that the hand is in the picture.
    present: [N, 2], `hand_prob` > 0.5.
    joints_img: [N, 2, 21, 2], pixels of the picture as it was given; integers are pixel centres.
    confidence: [N, 2, 21], 0..1; of a run that was evaluated, the probability that the joint is nearer to its true
      place in the picture than a tenth of the hand's size there (`metrics.confidence`).
    joints_cam: [N, 2, 21, 3], mm, both hands in one camera frame.
    joints_cam_valid: [N, 2], the hand could be placed there.
    reprojection_px: [N, 2, 21], distance of the projected `joints_cam` from `joints_img`.
    camera_img: [N, 3, 3], intrinsics that `joints_cam` belongs to.
    scale: N words: "metric"; "assumed", the camera is known and a hand of mean size was taken; "unknown", as the camera
      is not known and a normal lens was assumed: shapes and directions hold, distances do not.
    box_img: [N, 2, 4], what was looked at for each hand: x, y, width, height in pixels.
    crop_from_img: [N, 2, 2, 3], affine to the frame of `raw`'s maps, for each hand.
    raw: further keys of `schema.PREDICTION` that the system gives: meshes, parameters, samples, masks. `vertices_cam`
      and `mano` lie where `joints_cam` do, and are 0 of hands that have none, see `meshed`.
  """

  hand_prob: Float[np.ndarray, "n 2"]
  present: Bool[np.ndarray, "n 2"]
  joints_img: Float[np.ndarray, "n 2 21 2"]
  confidence: Float[np.ndarray, "n 2 21"]
  joints_cam: Float[np.ndarray, "n 2 21 3"]
  joints_cam_valid: Bool[np.ndarray, "n 2"]
  reprojection_px: Float[np.ndarray, "n 2 21"]
  camera_img: Float[np.ndarray, "n 3 3"]
  scale: tuple[Scale, ...]
  box_img: Float[np.ndarray, "n 2 4"]
  crop_from_img: Float[np.ndarray, "n 2 2 3"]
  raw: Mapping[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.hand_prob)

  def one(self, index: int) -> Hands:
    """Those of one picture, N = 1."""
    rows = slice(index, index + 1)
    return self._changed(lambda name, value: value[rows])

  @classmethod
  def joined(cls, some: Sequence[Hands]) -> Hands:
    """Those of all pictures of several, which have the same keys in `raw`."""
    values = {
      field.name: np.concatenate([getattr(one, field.name) for one in some])
      for field in dataclasses.fields(cls)
      if field.name not in ("scale", "raw")
    }
    raw = {key: np.concatenate([one.raw[key] for one in some]) for key in some[0].raw}
    return cls(**values, scale=tuple(scale for one in some for scale in one.scale), raw=raw)

  @property
  def meshed(self) -> Bool[np.ndarray, "n 2"]:
    """The hand has `mano` and `vertices_cam`, and stands in the camera's frame."""
    if not {"mano", "vertices_cam"} <= set(self.raw):
      return np.zeros_like(self.joints_cam_valid)
    return self.joints_cam_valid & self.raw["mano"].any(-1)

  def save(
    self,
    path: str | pathlib.Path,
    hand_model: HandModel,
    time_s: Float[np.ndarray, " n"] | None = None,
    view: meshes.View | None = None,
  ) -> list[pathlib.Path]:
    """Writes the meshes as a file of other tools, see `jaxhands.meshes.write`.

    Args:
      path: .glb, .bvh, .obj or .ply.
      hand_model: the model's, whose parameters these are: `model.hand_model`.
      time_s: seconds of each picture, where these are frames of a clip.
      view: the camera, to go into a .glb.
    Returns:
      The files.
    Raises:
      ValueError: there is no mesh; or what `meshes.write` refuses.
    """
    if not self.meshed.any():
      raise ValueError(f"{path}: no hand has a mesh, which comes from systems that predict `mano` and `vertices_cam`")
    if time_s is None and len(self) > 1:
      raise ValueError(f"{path}: of {len(self)} pictures, say when each was taken (time_s), or save one: hands.one(0)")
    times = np.zeros(1) if time_s is None else np.asarray(time_s, np.float64)
    scale = self.scale[0] if len(set(self.scale)) == 1 else "unknown"
    return meshes.write(pathlib.Path(path), meshes.Clip(hand_model, self.raw["mano"], self.meshed, times, view, scale))

  def exchanged(self) -> Hands:
    """The same with each hand in the other's place; without meshes, which are of the other side's model."""

    def change(name: str, value: Any) -> Any:
      if name in ("mano", "vertices_cam"):
        return np.zeros_like(value)
      if name in schema.PREDICTION and "2" not in schema.PREDICTION[name].axes:
        return value
      axis = schema.PREDICTION[name].axes.index("2") if name in schema.PREDICTION else 1
      return value if name in ("camera_img", "scale") else np.flip(value, axis)

    return self._changed(change)

  def _changed(self, change: Callable[[str, Any], Any]) -> Hands:
    values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
    raw = {key: change(key, value) for key, value in values.pop("raw").items()}
    return Hands(**{name: change(name, value) for name, value in values.items()}, raw=raw)


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
    self.config, self.system, self.calibration = config, base.load(config), calibration
    self._mesh = distributed.make_mesh()
    self.batch_size = -(-max(batch_size, 1) // self._mesh.size) * self._mesh.size
    everywhere = distributed.replicated(self._mesh)
    init = steps.make_init(self.system, config.seed)
    batch = feed.put(
      self._batch([self._example(_Shown.of(np.zeros((64, 64, 3), np.uint8)), self._views[0])]), self._mesh
    )
    shapes = base.for_prediction(self.system, jax.eval_shape(init, batch))
    constants = jax.jit(lambda batch: init(batch).get("constants", {}), out_shardings=everywhere)(batch)
    self.variables = jax.device_put(read(shapes), everywhere) | {"constants": constants}
    self._step = jax.jit(self._predicted, out_shardings=everywhere)

  @classmethod
  def of_run(cls, workdir: pathlib.Path, which: checkpoint.Which = "latest", batch_size: int = 8) -> Model:
    """The system of a run; of its last stage, if it has stages.

    Raises:
      FileNotFoundError: not the folder of a run, or it has no checkpoint.
      ValueError: the checkpoint does not fit the config.
    """
    config = checkpoint.read_config(workdir)
    while config.stages:
      workdir = workdir / "stages" / config.stages[-1]
      config = checkpoint.read_config(workdir)
    calibration = Calibration.read(workdir / "eval")
    return cls(config, lambda shapes: checkpoint.read_variables(workdir, shapes, which), batch_size, calibration)

  def predict(
    self,
    pictures: Sequence[np.ndarray],
    boxes: Any = None,
    cameras: Sequence[np.ndarray | None] | None = None,
    root_depth_mm: Any = None,
    hand_prob: Any = None,
  ) -> Hands:
    """Finds the hands of pictures.

    Args:
      pictures: uint8 [H, W, 3] each, RGB, of any sizes.
      boxes: where hands are, in pixels: [N, 4] (x, y, width, height) around all of them, or [N, 2, 4] for each hand,
        all 0 = this hand is not there; None = anywhere.
      cameras: intrinsics [3, 3] of each picture, None where they are not known; None = of none.
      root_depth_mm: [N, 2], depths of the wrists from elsewhere (RootNet), 0 = not known; None = none.
      hand_prob: [N, 2], probabilities of the hands from elsewhere (a finder); None = the system's own.
    Raises:
      ValueError: a picture, box or camera is not what it should be (named by its position); or the system predicts no
        poses.
    """
    shown = self._shown(pictures, boxes, cameras)
    raw, crops = self._raw(shown)
    missing = sorted(schema.POSE - set(raw))
    if missing:
      raise ValueError(
        f"system {self.config.system.name!r} predicts no poses (no {missing[0]}); it can find hands, or depths"
      )
    if hand_prob is not None:
      raw["hand_prob"] = np.asarray(hand_prob, np.float32)
    return self._hands(shown, raw, crops, root_depth_mm)

  def maps(
    self, pictures: Sequence[np.ndarray], boxes: Any = None, cameras: Sequence[np.ndarray | None] | None = None
  ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Whatever the system predicts, for systems without poses: finders of hands, RootNet.

    Arguments and errors as of `predict`.

    Returns:
      Keys of `schema.PREDICTION` for N pictures, and `crop_from_img` [N, 2, 2, 3] for each hand.
    """
    return self._raw(self._shown(pictures, boxes, cameras))

  # ---- from pictures to batches ---------------------------------------------------

  @property
  def hand_model(self) -> HandModel:
    """Whose meshes and parameters the system predicts."""
    return HandModel.named(self.config.hand_model)

  @property
  def predicts(self) -> frozenset[str]:
    """Keys of `schema.PREDICTION` that the system gives."""
    batch = self._batch([self._example(_Shown.of(np.zeros((64, 64, 3), np.uint8)), self._views[0])])
    return frozenset(jax.eval_shape(self._predicted, self.variables, batch))

  @property
  def _views(self) -> tuple[schema.View, ...]:
    return ("pair",) if self.system.view == "pair" else ("right", "left")

  def _shown(self, pictures: Sequence[np.ndarray], boxes: Any, cameras: Any) -> list[_Shown]:
    if not len(pictures):
      raise ValueError("there are no pictures")
    boxes = [None] * len(pictures) if boxes is None else boxes
    cameras = [None] * len(pictures) if cameras is None else cameras
    if len(boxes) != len(pictures) or len(cameras) != len(pictures):
      raise ValueError(f"{len(pictures)} pictures have {len(boxes)} boxes and {len(cameras)} cameras")
    shown = []
    for index, found in enumerate(zip(pictures, boxes, cameras, strict=True)):
      try:
        shown.append(_Shown.of(*found))
      except ValueError as error:
        raise ValueError(f"picture {index}: {error}") from error
    return shown

  def _example(self, shown: _Shown, view: schema.View) -> dict[str, np.ndarray]:
    """One example of one view, made by the system's own host ops from a record without labels."""
    ops = self.system.host_ops(False)
    box = shown.box(view)
    picture, scale = shown.picture, shown.scale(box, tuple(self.config.data.crop_hw), _room(ops))
    if scale < 1:
      height, width = (max(round(side * scale), 1) for side in picture.shape[:2])
      picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    # What was shrunk is not exactly `scale` of its size; the factors of x and y are.
    fx, fy = picture.shape[1] / shown.picture.shape[1], picture.shape[0] / shown.picture.shape[0]
    smaller = np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]], np.float32)
    record: dict[str, Any] = {key: _unknown(key, picture) for key in host_ops.record_keys(self.system.needs)}
    corners = crop.apply_affine(smaller, np.array([box[:2], box[:2] + box[2:]], np.float32))
    record |= {"picture": picture, "box_img": np.concatenate([corners[0], corners[1] - corners[0]]), "view": view}
    if "camera_img" in record and shown.camera is not None:
      record["camera_img"] = np.vstack([smaller, [0, 0, 1]]).astype(np.float32) @ shown.camera
      record["camera_valid"] = np.bool_(True)
    if "picture_hw" in record:
      record["picture_hw"] = np.array(picture.shape[:2], np.int32)
    rng = np.random.default_rng(0)
    for op in ops:
      record = op(record, rng)
    made = host_ops.select(record, self.system.needs | {"crop_from_img"})
    return made | {"smaller": smaller}

  def _batch(self, examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Examples as one batch of the fixed size, filled up with copies of weight 0."""
    filled = [examples[min(row, len(examples) - 1)] for row in range(self.batch_size)]
    keys = set(filled[0]) - ({"smaller", "crop_from_img"} - self.system.needs)
    batch = {key: np.stack([example[key] for example in filled]) for key in sorted(keys - {"smaller"})}
    return batch | {"weight": (np.arange(self.batch_size) < len(examples)).astype(np.float32)}

  def _predicted(self, variables: base.Variables, batch: schema.Batch) -> schema.Prediction:
    rng = jax.random.key(self.config.seed)
    return self.system.predict(variables, self.system.device_ops(batch, rng, False), rng)

  def _raw(self, shown: list[_Shown]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The system's prediction for both hands, in pixels of the pictures, and the crops that it saw."""
    examples = ((self._example(each, view)) for each in shown for view in self._views)
    rows, affines = [], []
    for some in groups(examples, self.batch_size):
      found = jax.device_get(self._step(self.variables, feed.put(self._batch(some), self._mesh)))
      smaller = np.stack([example["smaller"] for example in some])
      affines.append(np.asarray(crop.compose_affine(np.stack([e["crop_from_img"] for e in some]), smaller)))
      made = {key: np.array(value[: len(some)]) for key, value in found.items()}
      for key in {"joints_img", "joints_img_unrecovered"} & made.keys():
        made[key] = np.asarray(crop.apply_affine(crop.invert_affine(smaller), made[key]))
      if "hand_crop_from_img" in made:
        of_hands = np.broadcast_to(smaller[:, None], made["hand_crop_from_img"].shape)
        made["hand_crop_from_img"] = np.asarray(crop.compose_affine(made["hand_crop_from_img"], of_hands))
      rows.append(made)
    raw = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    schema.check_finite(raw)
    affine = np.concatenate(affines)
    if self.system.view == "pair":
      return raw, np.stack([affine, affine], axis=1)
    right, left = ({key: value[hand::2] for key, value in raw.items()} for hand in (0, 1))
    return _of_both(right, mirror.mirror(left)), affine.reshape(-1, 2, 2, 3)

  # ---- from predictions to hands --------------------------------------------------

  def _hands(self, shown: list[_Shown], raw: dict[str, np.ndarray], crops: np.ndarray, root_depth_mm: Any) -> Hands:
    known = np.array([each.camera is not None for each in shown])
    picture_hw = np.array([each.picture.shape[:2] for each in shown], np.int32)
    assumed = np.asarray(lift.normalised_camera(picture_hw), np.float32)
    given = np.stack([np.zeros((3, 3), np.float32) if each.camera is None else each.camera for each in shown])
    cameras = np.where(known[:, None, None], given, assumed)
    batch: dict[str, Any] = {"camera_img": cameras, "camera_valid": np.ones(len(shown), bool)}
    source: lift.DepthSource = "place"
    if root_depth_mm is not None:
      source = "rootnet"
      depth = np.asarray(root_depth_mm, np.float32)
      batch |= {"root_depth_estimated": depth, "root_depth_estimated_valid": depth > 0}
    relative = self.system.view == "pair"
    placed = lift.lift(raw, batch, source, "relative_if_seen" if relative else "own", bones.mean_bones())
    prob = np.clip(raw["hand_prob"], 0, 1)
    present = prob > SEEN
    valid = np.asarray(placed.valid) & present & np.isfinite(placed.joints_cam).all((-1, -2))
    joints_cam = np.where(valid[..., None, None], placed.joints_cam, 0).astype(np.float32)
    ahead = np.where(valid[..., None, None], joints_cam, np.array([0, 0, 1], np.float32))
    projected = np.asarray(camera.project(ahead, cameras[:, None]))
    error = np.where(valid[..., None], np.linalg.norm(projected - raw["joints_img"], axis=-1), 0)
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
      reprojection_px=error.astype(np.float32),
      camera_img=cameras.astype(np.float32),
      scale=tuple(scales),  # pyright: ignore[reportArgumentType]
      box_img=np.stack([np.stack([each.box(hand) for hand in schema.HANDS]) for each in shown]),
      crop_from_img=crops,
      raw={key: value for key, value in raw.items() if key not in schema.POSE | {"joints_cam"}},
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Shown:
  """A picture with its boxes [2, 4], one a hand, 0 = not there, and its camera, None = not known."""

  picture: np.ndarray
  boxes: np.ndarray
  camera: np.ndarray | None

  @classmethod
  def of(cls, picture: Any, box: Any = None, camera_img: Any = None) -> _Shown:
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
      raise ValueError(f"it is {picture.dtype} {picture.shape}, expected uint8 [H, W, 3] (RGB)")
    height, width = picture.shape[:2]
    boxes = np.array([[-0.5, -0.5, width, height]] * 2, np.float32) if box is None else np.asarray(box, np.float32)
    boxes = np.stack([boxes, boxes]) if boxes.shape == (4,) else boxes
    if boxes.shape != (2, 4) or not np.isfinite(boxes).all():
      raise ValueError(f"its box is {box}, expected x, y, width, height, or one such box for each hand")
    for x, y, w, h in boxes[boxes.any(-1)]:
      seen_w, seen_h = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
      if min(seen_w, seen_h) < _BOX_PX or seen_w * seen_h < _SEEN * w * h:
        raise ValueError(f"its box x={x:g} y={y:g} width={w:g} height={h:g} shows nothing of {width} x {height} pixels")
    if camera_img is not None:
      camera_img = check_camera(camera_img)
    return cls(np.ascontiguousarray(picture), boxes, camera_img)

  def box(self, view: str) -> np.ndarray:
    """What a view looks at: of a pair the smallest box around both, of a missing hand the picture."""
    whole = np.array([-0.5, -0.5, self.picture.shape[1], self.picture.shape[0]], np.float32)
    chosen = self.boxes[[schema.HANDS.index(view)]] if view in schema.HANDS else self.boxes
    chosen = chosen[chosen.any(-1)]
    if not len(chosen):
      return whole
    low, high = chosen[:, :2].min(0), (chosen[:, :2] + chosen[:, 2:]).max(0)
    return np.concatenate([low, high - low]).astype(np.float32)

  def scale(self, box: np.ndarray, crop_hw: tuple[int, int], room_hw: tuple[int, int] | None) -> float:
    """How much smaller the picture is shown, so that the crop does not skip pixels, and a system's frame holds it."""
    if room_hw is not None:  # the system cuts finer crops of its own out of the picture
      return min(1.0, *(room / side for room, side in zip(room_hw, self.picture.shape[:2], strict=True)))
    return min(1.0, _TOP * max(crop_hw) / float(max(box[2:])))


def check(picture: Any, box: Any = None, camera_img: Any = None) -> None:
  """Raises `ValueError` if `Model.predict` would refuse a picture with its box and camera."""
  _Shown.of(picture, box, camera_img)


def check_camera(camera_img: Any) -> Float[np.ndarray, "3 3"]:
  """Pinhole intrinsics in pixels, as float32.

  Raises:
    ValueError: not [3, 3], not finite, a focal length that is not positive, or a last row other than 0 0 1.
  """
  found = np.asarray(camera_img, np.float32)
  if found.shape != (3, 3) or not np.isfinite(found).all():
    raise ValueError(f"its intrinsics have shape {found.shape}, expected a finite [3, 3]")
  if min(found[0, 0], found[1, 1]) <= 0 or np.any(found[2] != [0, 0, 1]) or found[1, 0] != 0:
    raise ValueError(f"its intrinsics {found.tolist()} are none: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]], px")
  return found


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
  return np.zeros([int(axis) if axis.isdigit() else 1 for axis in field.axes[1:]], field.dtype)


def _of_both(right: Mapping[str, np.ndarray], left: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """One prediction of the right hand of one and the left hand of the other."""
  both = {}
  for key, value in right.items():
    axes = schema.PREDICTION[key].axes
    if "2" in axes:
      axis = axes.index("2")
      both[key] = np.concatenate([value.take([0], axis), left[key].take([1], axis)], axis)
    else:
      both[key] = value & left[key] if value.dtype == bool else value
  if "rel_root_depth" in both:  # each hand was seen alone
    both["rel_root_depth"] = np.zeros_like(both["rel_root_depth"])
  return both


def groups(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
  """Lists of `size` items; the last may be shorter."""
  group = []
  for item in items:
    group.append(item)
    if len(group) == size:
      yield group
      group = []
  if group:
    yield group
