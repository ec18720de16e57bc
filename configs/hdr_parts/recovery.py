"""HDRM: de-occlusion and removal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.hdr_parts import segmentation, shared


def hdrm(config: Any, choice: base.Choice) -> None:
  config.system = ConfigDict({
    "name": "hdr.hdrm",
    "released": "released" in choice,
    "masks": "true",  # or "predicted", by `hasm`
    "hasm": {},  # the system that predicts them, as `system` of its own config
    "width": 64,
    "levels": 8,
    "transformers": "no_transformer" not in choice,
    "discriminator_width": 64,
    "over": "occluded" if "no_removal" in choice else "distractor" if "no_deocclusion" in choice else "both",
    "dilation": 9,
    "adversarial": 0.0 if "no_discriminator" in choice else 0.1,
    "l1": 3.0,
    "perceptual": 0.1,
    "style": 250.0,
    "box_factor": shared.PAPER_FACTOR,
  })  # fmt: skip
  config.eval.mean_pose = 0
  config.data.kind = "interacting"  # one hand alone hides nothing
  config.init_from.hdrnet = ""
  sizes = {"demo": _demo, "tiny": _tiny, "small": _small, "kept": _kept, "synth": _synth, "paper": _paper}
  sizes[choice.size](config, choice)
  if shared.starts_from_kept(choice):
    config.init_from.hdrnet = shared.KEPT
    config.train_for, config.optimizer.learning_rate = "100 steps", 5e-4
  config.data.rough = False  # a recovered picture is compared with the true one
  if config.system.adversarial:  # the release's: a tenth of the generator's rate, and no momentum
    config.optimizers.discriminator = ConfigDict({"learning_rate": 0.1 * config.optimizer.learning_rate, "b1": 0.0})


def _paper(config: Any, choice: base.Choice) -> None:
  part = "/render" if "render_only" in choice else "/syn" if "syn_only" in choice else ""
  config.data.train, config.data.eval = (f"{shared.paper_aih(config, part)}:train",), ("aih:val",)
  base.require(config, "no_vgg", "VGG-16's weights for the perceptual and the style loss", "vgg")
  config.batch_size = 48
  config.train_for, config.optimizer.learning_rate = "100000 steps", 1.5e-3
  if config.system.released:
    config.train_for, config.optimizer.learning_rate = "35000 steps", 8e-4


def _synth(config: Any, choice: base.Choice) -> None:
  _paper(config, choice)
  config.data.aih.train = 100_000
  config.requires = ConfigDict()  # embedded data


def _demo(config: Any, choice: base.Choice) -> None:
  config.system.update(width=16, levels=5, discriminator_width=16, dilation=3, box_factor=shared.DEMO_FACTOR)
  shared.demo_of_a_hand(config)
  config.train_for = "450 steps"


def _small(config: Any, choice: base.Choice) -> None:
  _demo(config, choice)
  shared.small_data(config)
  render, syn = shared.aih_parts("train")
  config.data.train = (render,) if "render_only" in choice else (syn,) if "syn_only" in choice else (render, syn)
  config.data.eval = shared.aih_parts("val")
  config.train_for = "2000 steps"
  shared.unhurried(config)


def _kept(config: Any, choice: base.Choice) -> None:
  _demo(config, choice)
  shared.kept_data(config)
  shared.for_hours(config)
  config.train_for = "700 steps"


def _tiny(config: Any, choice: base.Choice) -> None:
  shared.tiny(config)
  config.system.update(width=4, levels=3, discriminator_width=4, dilation=3, box_factor=shared.DEMO_FACTOR)
  config.data.crop_hw = (32, 32)


def hdrm_finetune(config: Any, choice: base.Choice) -> None:
  """The same network and data, with masks of a frozen HASM and a lower rate."""
  hdrm(config, choice)
  segmenter: Any = base.get_config()
  segmentation.hasm(segmenter, choice)
  config.system.masks, config.system.hasm = "predicted", segmenter.system
  config.freeze = ("hasm",)
  switches = [switch for switch in shared.SWITCHES if switch in choice]
  of_hasm = [switch for switch in switches if switch in ("scratch", "released")]
  sources(config, _run("hdrm", choice, switches), f"{_run('hasm', choice, of_hasm)}:.")
  if "released" not in choice:  # the release keeps its rate
    config.optimizer.learning_rate *= 2 / 3
    if config.system.adversarial:
      config.optimizers.discriminator.learning_rate *= 2 / 3
  if choice.size in ("demo", "small", "kept"):
    config.train_for = {"demo": "150 steps", "small": "500 steps", "kept": "200 steps"}[choice.size]


def sources(config: Any, hdrm_run: str, hasm_run: str) -> None:
  """Where fine-tuning starts from: runs as `init_from` names them."""
  config.init_from.update(hdrnet=hdrm_run, hasm=hasm_run)
  if config.system.adversarial:
    config.init_from.discriminator = hdrm_run


def _run(part: str, choice: base.Choice, switches: Sequence[str]) -> str:
  return "-".join([f"runs/hdr-{choice.size}-{part}", *switches])
