"""HASM: amodal segmentation."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.hdr_parts import shared


def hasm(config: Any, choice: base.Choice) -> None:
  released = "released" in choice
  config.system = ConfigDict({
    "name": "hdr.hasm",
    "released": released,
    "map_hw": (256, 256),  # of the masks, px
    "backbone": "b5",  # or "b0" to "b4"; or "resnet18", ..., with optimizer.no_decay=("bn",)
    "width": 0,  # of the trunk; 0 = the published one
    "drop_path": 0.1,
    "decoder_features": 256,
    "dropout": 0.1,
    "box_factor": 2.0,
    "zoom": (0.5, 2.0),
    "most_of_one_class": 0.75,
    "bn_groups": 1,
  })  # fmt: skip
  config.eval.mean_pose = 0  # masks have baselines of their own
  config.optimizer.update(name="adamw", weight_decay=0.01, no_decay=("norm",), faster=(("decoder", 10.0),))
  config.schedule.name = "poly"
  sizes = {"demo": _demo, "tiny": _tiny, "small": _small, "kept": _kept, "synth": _synth, "paper": _paper}
  sizes[choice.size](config)
  if shared.starts_from_kept(choice):
    base.fit_kept(config, f"{shared.KEPT}:hasm", 60.0, "150 steps", "400 steps", "1200 steps")


def _paper(config: Any) -> None:
  base.require_imagenet(config, "MiT-B5")
  base.paper_data(config)
  config.data.kind = "interacting"
  config.init_from.backbone = ""
  config.batch_size = 48
  config.train_for, config.optimizer.learning_rate = "200000 steps", 2.5e-3
  if config.system.released:
    config.train_for, config.optimizer.learning_rate = "500000 steps", 2.88e-3
  config.schedule.warmup, config.schedule.warmup_start = "1500 steps", 1e-6


def _synth(config: Any) -> None:
  _paper(config)
  base.synth_data(config)
  config.data.kind = "all"
  config.train_for, config.optimizer.learning_rate = "40000 steps", 5e-4  # from scratch


def _compact(config: Any) -> None:
  """What the small sizes have in common. A hand's box fills 0.55 to 1.1 times the crop."""
  config.system.update(
    drop_path=0.0, decoder_features=32, dropout=0.0, box_factor=1.05, zoom=(0.7, 1.4), most_of_one_class=1.0
  )  # fmt: skip
  config.batch_size = 16
  config.optimizer.learning_rate = 2e-3
  config.optimizer.faster = ()
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.clip_norm = 1.0
  config.ema = 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "500 steps"


def _like_internet(config: Any) -> None:
  """InterNet's trunk and crop, so that its weights are a start; its batch norm gets used to normalised pictures."""
  config.system.update(backbone="resnet18", width=24, map_hw=(48, 48))
  config.data.crop_hw = (96, 96)
  config.optimizer.no_decay = ("bn",)


def _demo(config: Any) -> None:
  _compact(config)
  _like_internet(config)
  shared.demo_data(config)
  config.train_for = "2200 steps"


def _small(config: Any) -> None:
  _compact(config)
  config.system.update(backbone="b0", width=16, map_hw=(32, 32))
  config.data.crop_hw = (64, 64)
  shared.small_data(config)
  config.train_for = "6000 steps"


def _kept(config: Any) -> None:
  _demo(config)
  shared.kept_data(config)
  shared.for_hours(config)
  config.init_from.backbone = "kept/internet"
  config.batch_size, config.train_for = 32, "9000 steps"


def _tiny(config: Any) -> None:
  shared.tiny(config)
  config.system.update(backbone="b0", width=8, drop_path=0.1, decoder_features=8, box_factor=1.25, map_hw=(32, 32))
  config.optimizer.faster = ()
