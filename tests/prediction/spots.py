"""A system whose answer is known: a red spot is the right hand, a blue one the left, a green one any single hand."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from configs import base as base_config
from jaxhands import schema
from jaxhands.data import host_ops
from jaxhands.geometry import crop
from jaxhands.hands.model import HandModel
from jaxhands.prediction import predictor
from jaxhands.systems import base
from jaxhands.train import checkpoint
from jaxhands.train import state as states

CROP_HW = (64, 64)
RADIUS_IMG = 10.0  # the joints lie on a circle around the spot, the wrist in its middle
FOCAL_PX = 200.0  # of the camera that `meshes` are predicted for
# Both hands upright, palms to the camera.
MANO = np.zeros((2, schema.MANO_DIM), np.float32)
MANO[:, 0], MANO[:, 2], MANO[:, 60] = 0.2, (np.pi / 2, -np.pi / 2), 500
COLOURS = {"right": (255, 0, 0), "left": (0, 0, 255), "any": (0, 255, 0)}


def circle() -> np.ndarray:
  """Joints around a spot, pixels of the picture."""
  angle = np.arange(20) * 2 * np.pi / 20
  return np.concatenate([RADIUS_IMG * np.stack([np.cos(angle), np.sin(angle)], -1), np.zeros((1, 2))]).astype(
    np.float32
  )


@dataclasses.dataclass(frozen=True)
class Spots:
  """Both hands of a pair, or one hand; `masks` instead of a pose if `finds`; with `meshes` of the embedded model.

  `samples`: so many poses, each 10 mm farther than the one before, of which the first is the pose itself.
  """

  view: Any = "pair"
  finds: bool = False
  meshes: bool = False
  samples: int = 0

  objectives = ()

  @property
  def needs(self) -> frozenset[str]:
    return frozenset(
      {"image", "crop_from_img", "joints_cam", "joints_cam_valid", "masks", "camera_img", "camera_valid"}
    )

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    return {"params": {"scale": jnp.zeros(1)}, "constants": {"one": jnp.ones(1)}}

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    return host_ops.crop_ops(CROP_HW, shrink=True)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    return {**batch, "image": batch["image"].astype(jnp.float32) / 255}

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    image = batch["image"]
    size = len(image)
    channels = (0, 2) if self.view == "pair" else (1, 1)
    shown = jnp.stack([image[..., channel] - 0.5 * image.sum(-1) for channel in channels], 1).clip(0)
    if self.finds:
      return {"masks": jnp.stack([shown, shown], 2) * 2}
    total = shown.sum((2, 3))
    x = (shown.sum(2) * jnp.arange(image.shape[2])).sum(-1) / jnp.maximum(total, 1e-6)
    y = (shown.sum(3) * jnp.arange(image.shape[1])).sum(-1) / jnp.maximum(total, 1e-6)
    middle = crop.apply_affine(crop.invert_affine(batch["crop_from_img"]), jnp.stack([x, y], -1))
    there = total > 1
    if self.meshes:
      return self._meshed(middle, there)
    return {
      "joints_img": (middle[:, :, None] + circle()) * variables["params"]["scale"] * variables["constants"]["one"],
      "joints_rel_depth": jnp.zeros((size, 2, 21)),
      "rel_root_depth": jnp.full(size, 30.0),
      "hand_prob": there * 0.9,
      "confidence": jnp.where(there[..., None], 0.5, 0.0) * jnp.ones((size, 2, 21)),
      "scale_known": jnp.ones(size, bool),
    }

  def _meshed(self, middle: jax.Array, there: jax.Array) -> schema.Prediction:
    """Open hands as seen from half a metre, moved in the picture so that their wrists are at the spots."""
    mano = jnp.broadcast_to(MANO, (len(middle), 2, schema.MANO_DIM))
    posed = HandModel.default().forward_mano(mano)
    joints = posed.keypoints
    seen = FOCAL_PX * joints[..., :2] / joints[..., 2:]
    depth = joints[..., 2] - joints[..., 20:, 2]
    farther = 10.0 * jnp.arange(self.samples)[:, None, None, None] * jnp.array([0, 0, 1])
    more = {"samples": joints[:, None] + farther} if self.samples else {}
    return more | {
      "joints_img": middle[:, :, None] + seen - seen[:, :, 20:],
      "joints_rel_depth": depth,
      "rel_root_depth": joints[:, 1, 20, 2] - joints[:, 0, 20, 2],
      "hand_prob": there * 0.9,
      "confidence": jnp.ones((len(middle), 2, 21)) * 0.5,
      "scale_known": jnp.ones(len(middle), bool),
      "joints_cam": joints,
      "vertices_cam": posed.vertices,
      "mano": mano,
    }

  def import_weights(self, state_dict: Any) -> base.Variables:
    raise ValueError(f"there are no weights of others for this system: {sorted(state_dict)}")


def build(config: Any) -> Spots:
  return Spots(config.system.view, config.system.finds, config.system.meshes, config.system.samples)


def make_config(view: str = "pair", finds: bool = False, meshes: bool = False, samples: int = 0) -> Any:
  config = base_config.get_config()
  config.name, config.variant = "spots", "tiny"
  config.system = ConfigDict({"name": "spots", "view": view, "finds": finds, "meshes": meshes, "samples": samples})
  config.data.crop_hw = CROP_HW
  return config


def write_run(folder: pathlib.Path, **options: Any) -> pathlib.Path:
  """A run of the system; its one trained parameter is 1."""
  checkpoint.write_config(folder, make_config(**options))
  with checkpoint.Checkpoints(folder) as saved:
    saved.save(0, states.State(jnp.int32(0), {"params": {"scale": jnp.ones(1)}}, {}, {}))
  return folder


def make_model(batch_size: int = 4, **options: Any) -> predictor.Model:
  return predictor.Model(
    make_config(**options), lambda shapes: {"params": {"scale": np.ones(1, np.float32)}}, batch_size
  )


def picture(height: int, width: int, **spots: tuple[float, float]) -> np.ndarray:
  """Black, with a square around each spot, as `right=(x, y)`, 1/15 of the picture wide."""
  pixels, half = np.zeros((height, width, 3), np.uint8), max(height, width) // 30
  for name, (x, y) in spots.items():
    pixels[round(y) - half : round(y) + half + 1, round(x) - half : round(x) + half + 1] = COLOURS[name]
  return pixels
