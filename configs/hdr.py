"""HDR (Meng et al., ECCV 2022): hand de-occlusion and removal, one part for each network.

    python launch.py --config=configs/hdr.py:demo,hasm             # 2 CPU cores
    python launch.py --config=configs/hdr.py:synth,hasm            # the paper's network on embedded data: one GPU
    python launch.py --config=configs/hdr.py:paper,hasm,released   # InterHand2.6M as the authors trained it

Parts:
  hasm   amodal segmentation: the whole (amodal) and the visible mask of each hand, from a crop of both

Sizes:
  demo   embedded data of upright hands, networks a fraction as wide, 96 px
  tiny   seconds, for tests
  small  `demo` with more steps
  synth  the paper's networks and losses on embedded data
  paper  the paper's networks, losses and schedule on InterHand2.6M with masks of the user's MANO files
         (`python -m data_builders.interhand26m --mano DIR`)

Switches:
  released  the release's conventions in place of the paper's text, and what its weights need

The paper starts HASM's trunk from ImageNet weights: `--config.init_from.backbone=FILE`, MiT-B5 as NVIDIA or
mmsegmentation give it, as arrays by name (.npz).

Where paper and release differ; the first value is the default, the second is `released`:
  HASM scores      one for each mask, binary cross-entropy | background and mask, cross-entropy of their softmax
  HASM schedule    200,000 steps, peak rate 2.5e-3 | 500,000 steps (237,500 of the released weights), 2.88e-3
  batch            48 in all | 48 on each GPU of an unknown number; 48 here
In both: equation 1 names the left visible mask twice and means the right one. The paper says Adam with SegFormer's
settings, which are AdamW with decay 0.01 but for norms, ten times the rate in the decoder, a linear warm-up of 1,500
steps and then straight down to 0. The release ignores padding; here a crop that leaves the picture is background.
How large the training crops were is not known: the box is enlarged twice, as in the release's demo, and seen at 0.5 to
2 times that.

The paper gives no figure of the masks.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

PARTS = ("hasm",)
SWITCHES = ("released",)
VARIANTS = (
  "demo,hasm", "tiny,hasm", "small,hasm", "synth,hasm", "paper,hasm", "tiny,hasm,released", "paper,hasm,released",
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,part][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or switches that exclude each other.
  """
  config: Any = base.get_config()
  config.name = "hdr"
  choice = base.choose(config, variant, PARTS, SWITCHES)
  {"hasm": _hasm}[choice.part](config, choice)
  return config


def _tiny(config: Any) -> None:
  """What all parts share at this size."""
  config.data.crop_hw, config.data.map_hw = (64, 64), (32, 32)
  config.data.synthetic.update(train=32, val=16, test=16)
  config.train_for = "4 steps"
  config.batch_size = config.eval.batch_size = 8
  config.log_every, config.eval_every, config.checkpoint_every = "1 step", "2 steps", "2 steps"


# ---- amodal segmentation ------------------------------------------------------


def _hasm(config: Any, choice: base.Choice) -> None:
  released = "released" in choice
  config.system = ConfigDict({
    "name": "hdr.hasm",
    "released": released,
    "backbone": "b5",
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
  config.data.map_hw = config.data.crop_hw
  config.optimizer.update(name="adamw", weight_decay=0.01, no_decay=("norm",), faster=(("decoder", 10.0),))
  config.schedule.name = "poly"
  sizes = {"demo": _hasm_demo, "tiny": _hasm_tiny, "small": _hasm_small, "synth": _hasm_synth, "paper": _hasm_paper}
  sizes[choice.size](config)


def _hasm_paper(config: Any) -> None:
  config.data.train, config.data.eval = ("interhand26m:train",), ("interhand26m:test",)
  config.data.kind = "interacting"
  config.init_from.backbone = ""
  config.batch_size = 48
  config.train_for, config.optimizer.learning_rate = "200000 steps", 2.5e-3
  if config.system.released:
    config.train_for, config.optimizer.learning_rate = "500000 steps", 2.88e-3
  config.schedule.warmup, config.schedule.warmup_start = "2000 steps", 1e-6


def _hasm_synth(config: Any) -> None:
  _hasm_paper(config)
  config.data.train, config.data.eval = ("synthetic:train",), ("synthetic:val",)
  config.data.kind = "all"
  config.data.synthetic.train = 100_000
  config.train_for, config.optimizer.learning_rate = "40000 steps", 5e-4  # from scratch


def _hasm_demo(config: Any) -> None:
  # A hand's box fills 0.3 to 1.3 times the crop, so that the network also finds hands in a whole picture.
  config.system.update(
    backbone="b0", width=16, drop_path=0.0, decoder_features=64, dropout=0.0, box_factor=1.25, zoom=(0.4, 1.6),
    most_of_one_class=1.0,
  )  # fmt: skip
  config.data.crop_hw, config.data.map_hw = (96, 96), (48, 48)
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:val",)
  config.data.synthetic.update(train=8_000, val=1_000, test=0)
  config.train_for = "2000 steps"
  config.batch_size = 16
  config.optimizer.learning_rate = 1e-3
  config.optimizer.faster = ()
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.clip_norm = 1.0
  config.ema = 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "500 steps"


def _hasm_small(config: Any) -> None:
  _hasm_demo(config)  # and its pictures, so that there is nothing to build
  config.train_for = "2700 steps"


def _hasm_tiny(config: Any) -> None:
  _tiny(config)
  config.system.update(backbone="b0", width=8, drop_path=0.1, decoder_features=8, box_factor=1.25)
  config.optimizer.learning_rate = 1e-3
  config.optimizer.faster = ()
