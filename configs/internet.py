"""InterNet (Moon et al., ECCV 2020): both hands' 3D heatmaps, handedness, relative root depth.

    python launch.py --config=configs/internet.py                     # demo: 2 idle CPU cores, 3 minutes
    python launch.py --config=configs/internet.py:synth               # the paper's network on embedded data: one GPU
    python launch.py --config=configs/internet.py:paper,released --config.init_from.backbone=resnet50-19c8e357.pth
                                                                      # InterHand2.6M as the authors trained it

Sizes: demo, tiny, kept, small, synth, paper. Switches: scratch, single_only, interacting_only, human, machine, all,
rootnet, soft_argmax, literal_losses, released. What they are, and where paper and release differ:
docs/systems/internet.md.

MPJPE on InterHand2.6M test (H+M), RootNet depths, single / interacting, mm, and MRRPE:
  paper                                  12.16 / 16.02, 32.57 (92.14 with RootNet's depth for the left wrist as well)
  paper, trained on human, on machine    12.58 / 17.16; 12.43 / 17.79
  independent re-implementation (mmpose) 9.5 to 9.7 / 13.4 to 13.7, 29.3 (true wrist depths)
Ours, kept weights on synthetic/demo:test, 1,000 embedded pictures, true wrist depths: 27.6 / 48.3, MRRPE 77.5 (mean
pose 64.2 / 78.8, mean wrists 121.1). Of InterHand2.6M nothing has been trained.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, rootnet

BRANCHES = {"human": "interhand26m/human", "machine": "interhand26m/machine", "all": "interhand26m"}
SWITCHES = (
  "scratch", "single_only", "interacting_only", *BRANCHES, "rootnet", "soft_argmax", "literal_losses", "released",
)  # fmt: skip
_WITH_VOLUMES = ("tiny", "synth", "paper")  # sizes that have 3D heatmaps
VARIANTS = (
  "demo", "demo,scratch", "tiny", "kept", "small", "synth", "paper", "small,single_only", "small,interacting_only",
  "tiny,soft_argmax", "tiny,literal_losses", "tiny,released", "tiny,rootnet", "demo,rootnet", "small,rootnet",
  "synth,released", "synth,rootnet",
  "paper,single_only", "paper,interacting_only", "paper,human", "paper,machine", "paper,all", "paper,rootnet",
  "paper,soft_argmax", "paper,literal_losses", "paper,released",
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, switches that exclude each other, or one that the size has no use for.
  """
  config: Any = base.get_config()
  config.name = "internet"
  choice = base.choose(config, variant, switches=SWITCHES, sizes=(*base.SIZES, "kept"))
  _check(variant, choice)
  config.system = ConfigDict({
    "name": "internet",
    "released": "released" in choice,
    "literal_losses": "literal_losses" in choice,
    "head": "heatmap3d",  # or "soft_argmax_2p5d"
    "depth": 50,
    "width": 64,
    "upsampler": "deconv",  # or "shuffle", fast on a CPU, or "skip"
    "upsampler_features": 256,
    "doublings": 3,  # by the upsampler: heatmaps of a quarter of the crop's size
    "bins": 64,  # of depth
    "depth_range_mm": 400.0,
    "sigma": 2.5,  # of the target's Gaussian, cells
    "root_depth_weight": 1.0,  # factors of these two losses
    "handedness_weight": 1.0,
    "pose_loss": "soft_argmax" if "soft_argmax" in choice else "heatmap",
    "decode": "argmax",  # or "soft_argmax", sub-voxel
    "give_heatmaps": False,  # with predictions
    "bn_groups": 4 if "released" in choice and choice.size == "paper" else 1,
  })  # fmt: skip
  branches = [branch for branch in BRANCHES if branch in choice]
  config.data.kind = "single" if "single_only" in choice else "interacting" if "interacting_only" in choice else "all"
  if choice.size == "demo":
    _demo(config, "scratch" in choice)
  else:
    {"tiny": _tiny, "kept": _kept, "small": _small, "synth": _synth, "paper": _paper}[choice.size](config)
  if branches:
    config.data.train = (f"{BRANCHES[branches[0]]}:train",)
  return _evaluate_with_rootnet(config, choice) if "rootnet" in choice else config


def _check(variant: str, choice: base.Choice) -> None:
  if "literal_losses" in choice and ("released" in choice or "soft_argmax" in choice):
    raise ValueError(f"variant {variant!r}: literal_losses has the paper's heatmap loss, which the other has not")
  if "scratch" in choice and choice.size != "demo":
    raise ValueError(f"variant {variant!r}: only the demo starts from weights, which 'scratch' leaves out")
  if "single_only" in choice and "interacting_only" in choice:
    raise ValueError(f"variant {variant!r}: single_only and interacting_only exclude each other")
  branches = [branch for branch in BRANCHES if branch in choice]
  if len(branches) > 1 or (branches and choice.size != "paper"):
    raise ValueError(f"variant {variant!r}: one of {list(BRANCHES)}, of InterHand2.6M's annotations, goes with 'paper'")
  of_volumes = [switch for switch in ("soft_argmax", "literal_losses") if switch in choice]
  if of_volumes and choice.size not in _WITH_VOLUMES:
    raise ValueError(
      f"variant {variant!r}: {of_volumes[0]} changes nothing at size {choice.size}, which has no 3D heatmaps; "
      f"take one of {', '.join(_WITH_VOLUMES)}"
    )
  if "released" in choice and choice.size == "demo" and "scratch" not in choice:
    raise ValueError(
      f"variant {variant!r}: released changes nothing at size demo, which starts from the package's weights; "
      "add 'scratch' or take another size"
    )


def _evaluate_with_rootnet(config: Any, choice: base.Choice) -> ConfigDict:
  """Two stages on the same data; RootNet's own network and schedule, and always pictures of one hand and of two."""
  estimator: Any = rootnet.get_config("demo,scratch" if "scratch" in choice else choice.size)
  own = {key: estimator.data[key] for key in ("augmentation", "shrink", "rough")}
  estimator.data = config.data.copy_and_resolve_references()
  estimator.data.update(own, kind="all")
  # The paper's 92.14 mm against 32.57: MRRPE with RootNet's depth for the left wrist too.
  config.eval.also.left_of_rootnet = estimator.eval.also.left_of_rootnet = ConfigDict({"left_root": "own"})
  config.data.root_depths, config.eval.protocol.depth = "stages/rootnet", "rootnet"
  return base.staged(config, {"rootnet": estimator, "internet": config})


def _paper(config: Any) -> None:
  base.require_imagenet(config, "ResNet-50")
  base.paper_data(config)
  config.init_from.backbone = ""
  config.train_for = "20 epochs"
  config.batch_size = 64
  config.optimizer.learning_rate = 1e-4
  config.schedule.name, config.schedule.drops = "drops", (("15 epochs", 0.1), ("17 epochs", 0.1))


def _synth(config: Any) -> None:
  _paper(config)
  base.synth_data(config)


def _compact(config: Any) -> None:
  """What the small sizes have in common."""
  config.system.update(
    head="soft_argmax_2p5d", depth=18, width=16, upsampler="shuffle", upsampler_features=32, sigma=1.0,
    doublings=2, root_depth_weight=0.2, handedness_weight=5.0,
  )  # fmt: skip
  config.data.crop_hw, config.data.shrink = (96, 96), True
  config.data.rough = True
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:test",)
  config.data.augmentation.update(translation=0.05, scale=0.1, rotation_deg=10.0)
  config.batch_size = 16
  config.optimizer.learning_rate = 1.5e-3
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.ema = 0.999


def _demo(config: Any, scratch: bool) -> None:
  """The weights that come with the package, fitted to upright hands; or nothing but these hands."""
  _kept(config)
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:test",)
  config.data.synthetic = ConfigDict({"train": 1_500, "val": 0, "test": 500, "seed": 0})
  config.batch_size = 16
  if scratch:
    config.train_for = "4000 steps"
  else:
    base.fit_kept(config, "kept/internet", 150.0, "200 steps", "600 steps", "1800 steps")
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "200 steps"


def _kept(config: Any) -> None:
  """The weights that come with the package."""
  _compact(config)
  config.system.update(width=24, upsampler="skip", upsampler_features=32, doublings=3, elsewhere=0.1)
  base.kept_data(config)
  config.data.augmentation.update(translation=0.1, scale=0.2, rotation_deg=30.0)
  config.batch_size, config.train_for = 32, "16000 steps"
  config.optimizer.learning_rate, config.clip_norm = 2e-3, 1.0
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "4000 steps", "1000 steps"


def _small(config: Any) -> None:
  _compact(config)
  config.init_from.backbone = ""
  config.data.synthetic.update(train=6_000, val=0, test=500)
  config.train_for = "3500 steps"
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "4500 steps", "4500 steps"


def _tiny(config: Any) -> None:
  config.system.update(depth=18, width=4, upsampler_features=8, bins=8)
  base.tiny(config)
