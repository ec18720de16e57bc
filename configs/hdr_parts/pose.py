"""SHPE, and InterNet in its place: pose of a single hand."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, internet
from configs.hdr_parts import shared

# What InterNet's config decides of its training.
_OF_TRAINING = (
  "train_for", "batch_size", "optimizer", "schedule", "clip_norm", "ema", "log_every", "eval_every", "checkpoint_every",
)  # fmt: skip


def shpe(config: Any, choice: base.Choice) -> None:
  config.system = ConfigDict({
    "name": "hdr.shpe",
    "released": "released" in choice,
    "width": 64,
    "blocks": (2, 4, 6),
    "head_features": 256,
    "kernel_std": 0.001,  # of the initial convolutions; 0 = He's
    "sigma": 2.5,  # of the target's Gaussian, cells
    "loss_form": "hdr",  # or "minimal_hand"
    "decode": "argmax",  # or "soft_argmax", between cells
    "box_factor": shared.PAPER_FACTOR,
    "alone": False,
    "give_heatmaps": False,
  })  # fmt: skip
  config.data.kind = "single"
  compared_as_released(config)
  sizes = {"demo": _demo, "tiny": _tiny, "small": _small, "kept": _kept, "synth": _synth, "paper": _paper}
  sizes[choice.size](config, choice)
  if shared.starts_from_kept(choice):
    base.fit_kept(config, f"{shared.KEPT}:pose", 60.0, "150 steps", "400 steps", "1200 steps")


def compared_as_released(config: Any) -> None:
  """The predicted form at the true scale, wrists upon each other; and at the assumed scale."""
  config.eval.protocol.update(depth="predicted", scale="gt")
  config.eval.also = ConfigDict({"assumed_scale": {"scale": "predicted"}})


def _paper(config: Any, choice: base.Choice) -> None:
  base.paper_data(config)
  if "with_aih" in choice:
    config.data.train, config.data.kind = (*config.data.train, f"{shared.paper_aih(config)}:train"), "single,all"
  config.batch_size = 48
  config.optimizer.weight_decay = 0.0 if config.system.released else 1e-5
  config.schedule.name = "drops"
  config.train_for, config.optimizer.learning_rate = "300000 steps", 1e-3
  config.schedule.drops = (("100000 steps", 0.1), ("200000 steps", 0.1))
  if config.system.released:
    config.train_for, config.optimizer.learning_rate = "600000 steps", 1e-4
    config.schedule.drops = (("500000 steps", 0.1), ("550000 steps", 0.1))


def _synth(config: Any, choice: base.Choice) -> None:
  _paper(config, choice)
  base.synth_data(config)


def _one_of_two(config: Any) -> None:
  """Learns also from hands that interact, shown without the other one: poses that single hands do not have."""
  config.data.kind, config.system.alone = "all", True


def _demo(config: Any, choice: base.Choice) -> None:
  _one_of_two(config)
  _compact(config)


def _compact(config: Any) -> None:
  # 77 million operations a crop; twice as wide this network has 268.
  config.system.update(
    width=8, blocks=(1, 2, 2), head_features=32, kernel_std=0.0, sigma=1.0, decode="soft_argmax",
    box_factor=shared.DEMO_FACTOR,
  )  # fmt: skip
  shared.demo_of_a_hand(config)
  config.train_for = "2000 steps"


def _small(config: Any, choice: base.Choice) -> None:
  _compact(config)
  shared.small_data(config)
  if "with_aih" in choice:
    config.data.train, config.data.kind = (*config.data.train, *shared.aih_parts("train")), "single,all,all"
  config.train_for = "3000 steps"
  shared.unhurried(config)


def _kept(config: Any, choice: base.Choice) -> None:
  _demo(config, choice)
  shared.kept_data(config)
  shared.for_hours(config)
  config.train_for = "6500 steps"


def _tiny(config: Any, choice: base.Choice) -> None:
  shared.tiny(config)
  _one_of_two(config)
  config.system.update(
    width=4, blocks=(1, 1, 1), head_features=8, kernel_std=0.0, decode="soft_argmax", box_factor=shared.DEMO_FACTOR
  )  # fmt: skip
  config.data.crop_hw = (32, 32)


def internet_pose(config: Any, choice: base.Choice) -> None:
  """InterNet that sees one hand at a time, trained on single hands as SHPE is, on the same crops."""
  single: Any = internet.get_config("demo,scratch" if "scratch" in choice else choice.size)
  for key in ("system", *_OF_TRAINING, "requires"):
    config[key] = single[key]
  config.init_from = single.init_from
  config.data.augmentation.update(single.data.augmentation, mirror_probability=0.0)  # the view shows right hands
  config.data.kind = "single"
  config.system.view = "hand"
  config.freeze = ("root_depth", "upsampler_left", "heatmap_left")  # a hand is seen as a right one
  config.system.box_factor = shared.PAPER_FACTOR if choice.size in ("synth", "paper") else shared.DEMO_FACTOR
  config.eval.protocol.scale = "gt"
  data = {"demo": shared.demo_data, "small": shared.small_data, "synth": base.synth_data, "paper": base.paper_data}
  if choice.size == "tiny":
    shared.tiny(config)
    config.data.crop_hw = (32, 32)
  else:
    data[choice.size](config)
  if choice.size in ("demo", "small"):
    config.data.crop_hw, config.data.shrink = shared.HAND_HW, True
    config.system.doublings = 3  # cells of a small crop a quarter as large as it, as SHPE's
    config.train_for, config.ema = {"demo": ("1000 steps", 0.99), "small": ("3000 steps", 0.999)}[choice.size]
