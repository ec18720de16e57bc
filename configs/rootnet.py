"""RootNet (Moon et al., ICCV 2019): depth of both wrists, which turns relative poses into places in the camera's frame.

    python launch.py --config=configs/rootnet.py                      # demo: 2 idle CPU cores, 1.5 minutes
    python launch.py --config=configs/rootnet.py:synth                # the paper's network on embedded data: one GPU
    python launch.py --config=configs/rootnet.py:paper --config.init_from.backbone=resnet50-19c8e357.pth
                                                                      # InterHand2.6M, or any set with absolute depth

Sizes: demo, tiny, kept, small, synth, paper. Switches: scratch, hand, released. What they are, how others are evaluated
with the depths of a run, and where paper and release differ: docs/systems/rootnet.md.

Depth of the wrists, mean error in mm, kept weights on synthetic/demo:test, 1,000 pictures (docs/kept.md):
  the mean depth of the training pictures  165.2
  ours                                     84.0 (80.4 to 88.1)

InterNet's left wrist from the right one, with these depths, mm (MRRPE on InterHand2.6M test):
  paper, RootNet's depth for the left wrist as well  92.14 (`--config.eval.protocol.left_root=own`)
  paper, InterNet's relative depth                   32.57
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SWITCHES = ("scratch", "hand", "released")
VARIANTS = (
  "demo", "demo,scratch", "tiny", "kept", "small", "synth", "paper", "tiny,hand", "tiny,released", "paper,hand",
  "paper,released",
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or a switch that the size has no use for.
  """
  config: Any = base.get_config()
  config.name = "rootnet"
  choice = base.choose(config, variant, switches=SWITCHES, sizes=(*base.SIZES, "kept"))
  released = "released" in choice
  if "scratch" in choice and choice.size != "demo":
    raise ValueError(f"variant {variant!r}: only the demo starts from weights, which 'scratch' leaves out")
  if choice.size == "demo" and (released or "hand" in choice):
    raise ValueError(f"variant {variant!r}: the demo starts from weights of both hands in one crop; take 'small'")
  config.system = ConfigDict({
    "name": "rootnet",
    "released": released,
    "view": "hand" if "hand" in choice or released else "pair",
    "depth": 50,
    "width": 64,
    "upsampler": "deconv",  # or "shuffle", fast on a CPU
    "upsampler_features": 256,
    "depth_weight": 1.0,
    "real_mm": (300.0, 300.0),
    "bn_groups": 4 if released and choice.size == "paper" else 1,
  })  # fmt: skip
  config.data.augmentation.update(translation=0.0, scale=0.0, rotation_deg=30.0)
  if config.system.view == "hand":
    config.data.augmentation.mirror_probability = 0.0
  config.eval.mean_pose = 0  # a pose, which says nothing of the wrist
  if choice.size == "demo":
    _demo(config, "scratch" in choice)
  else:
    {"tiny": _tiny, "kept": _kept, "small": _small, "synth": _synth, "paper": _paper}[choice.size](config)
  return config


def _paper(config: Any) -> None:
  base.require_imagenet(config, "ResNet-50")
  base.paper_data(config)
  config.init_from.backbone = ""
  config.train_for = "20 epochs"
  config.batch_size = 128
  config.optimizer.learning_rate = 1e-3
  config.schedule.name, config.schedule.drops = "drops", (("17 epochs", 0.1),)


def _synth(config: Any) -> None:
  _paper(config)
  base.synth_data(config)


def _compact(config: Any) -> None:
  """What the small sizes have in common."""
  config.system.update(depth=18, width=24, upsampler="shuffle", upsampler_features=32, depth_weight=0.02)
  config.data.crop_hw = (96, 96)
  config.data.rough = True
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:test",)
  config.batch_size = 32
  config.optimizer.learning_rate = 1e-3
  config.schedule.name, config.schedule.warmup = "cosine", "100 steps"
  config.clip_norm = 1.0
  config.ema = 0.999


def _demo(config: Any, scratch: bool) -> None:
  """The weights that come with the package, fitted to other upright hands; or nothing but these hands."""
  _compact(config)
  config.data.synthetic = ConfigDict({"train": 1_500, "val": 0, "test": 500, "seed": 0})
  if scratch:
    config.train_for = "2000 steps"
  else:
    base.fit_kept(config, "kept/rootnet", 150.0, "100 steps", "300 steps", "900 steps")
  config.log_every, config.eval_every, config.checkpoint_every = "50 steps", "0 steps", "100 steps"


def _kept(config: Any) -> None:
  """The weights that come with the package, from the trunk of InterNet's, which has seen these hands."""
  _compact(config)
  base.kept_data(config)
  config.init_from.backbone = "kept/internet"
  config.train_for = "4000 steps"
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "200 steps"


def _small(config: Any) -> None:
  _compact(config)
  config.data.synthetic.update(train=2_000, val=0, test=500)
  config.train_for = "1000 steps"
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "500 steps"


def _tiny(config: Any) -> None:
  config.system.update(depth=18, width=4, upsampler_features=8, depth_weight=0.02)
  base.tiny(config)
