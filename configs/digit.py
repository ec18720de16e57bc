"""DIGIT (Fan et al., 3DV 2021): part segmentation of both hands, fused into their 2.5D pose.

    python launch.py --config=configs/digit.py                        # demo: 2 idle CPU cores, 2 minutes
    python launch.py --config=configs/digit.py:synth                  # the paper's network on embedded data: one GPU
    python launch.py --config=configs/digit.py:paper,released --config.init_from.backbone=hrnet_w32.npz
                                                                      # InterHand2.6M (built with --mano DIR) as the
                                                                      # authors trained it
    python -m benchmarks.digit_table2                                 # table 2 and section 4.3 at size small

Sizes: demo, tiny, kept, small, synth, paper. Switches: scratch, no_segmentation_features, no_segmentation_loss,
no_bone_loss, no_visual_features, labels, two_stage, released. What they are, which of the paper's rows they make, and
where paper and release differ: docs/systems/digit.md.

MPJPE of interacting hands and MRRPE on InterHand2.6M test (H+M), RootNet depths, mm:
  paper             14.27, 29.22 (baseline 15.06, 31.36; InterNet 16.02, 32.57)
  released weights  14.21, 29.04; one hand 10.73 (the authors' file of results)
Ours, kept weights on synthetic/demo:test, 1,000 embedded pictures, MPJPE of interacting hands and MRRPE, mm
(docs/kept.md): 56.6 (55.1 to 58.0), 93.4; one hand 37.0; mean pose 78.9, one hand 64.2, mean wrists 121.1.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SWITCHES = (
  "scratch", "no_segmentation_features", "no_segmentation_loss", "no_bone_loss", "no_visual_features", "labels",
  "two_stage", "released",
)  # fmt: skip
# The paper's rows: name -> switches.
ROWS = {
  "Baseline": "no_segmentation_features,no_segmentation_loss,no_bone_loss",
  "Baseline + BL": "no_segmentation_features,no_segmentation_loss",
  "Baseline + BL + SL": "no_segmentation_features",
  "Baseline + BL + SF*": "no_segmentation_loss",
  "Baseline + BL + SF (DIGIT)": "",
  "segmentation to pose, end to end": "no_visual_features",
  "segmentation to pose, labels": "no_visual_features,labels",
  "segmentation to pose, two stages": "no_visual_features,two_stage",
}
VARIANTS = (
  "demo", "demo,scratch", "tiny", "kept", "small", "synth", "paper", "tiny,released", "paper,released",
  *(f"tiny,{switches}" for switches in ROWS.values() if switches),
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or switches that exclude each other.
  """
  config: Any = base.get_config()
  config.name = "digit"
  choice = base.choose(config, variant, switches=SWITCHES, sizes=(*base.SIZES, "kept"))
  _check(variant, choice)
  semantic = "none" if "no_segmentation_features" in choice else "labels" if "labels" in choice else "scores"
  config.system = ConfigDict({
    "name": "digit",
    "released": "released" in choice,
    "visual": "no_visual_features" not in choice,
    "semantic": semantic,
    "pose": True,
    "segmentation_weight": 0.0 if "no_segmentation_loss" in choice else 10.0,
    "bone_weight": 0.0 if "no_bone_loss" in choice else 1.0,
    "root_depth_weight": 1.0,
    "handedness_weight": 1.0,
    "heatmap_weight": 0.0,  # of a loss that is not in the paper, for few steps
    "width": 32,
    "modules": (1, 4, 3),  # exchanges of HRNet's stages 2 to 4
    "blocks": 4,
    "stem": 64,
    "segmentation_kind": "conv",  # or "shuffle", fast on a CPU
    "segmentation_features": (16, 64),
    "semantic_features": (64, 512),
    "fusion_features": (64, 128, 256, 256),
    "pooled_features": (64, 128, 256, 512, 512, 512),
    "bins": 64,  # of depth
    "depth_range_mm": 400.0,
    "bn_groups": 1,
  })  # fmt: skip
  config.init_from.backbone = ""
  if choice.size == "demo":
    _demo(config, bool(choice.switches))
  else:
    {"tiny": _tiny, "kept": _kept, "small": _small, "synth": _synth, "paper": _paper}[choice.size](config)
  if choice.size == "paper" and "released" in choice:
    config.accumulation = 2
  if choice.size == "paper" and "no_visual_features" in choice:
    config.train_for, config.schedule.drops = "25 epochs", ()  # each stage
    config.schedule.name = "constant"
  return _two_stages(config) if "two_stage" in choice else config


def _check(variant: str, choice: base.Choice) -> None:
  if "scratch" in choice and choice.size != "demo":
    raise ValueError(f"variant {variant!r}: only the demo starts from weights, which 'scratch' leaves out")
  wrong = [
    ("no_segmentation_features", "no_visual_features", "leave nothing to estimate a pose from"),
    ("no_segmentation_features", "labels", "exclude each other"),
    ("no_segmentation_features", "two_stage", "exclude each other"),
    ("no_segmentation_loss", "labels", "leave the segmentation without any gradient"),
    ("no_segmentation_loss", "two_stage", "leave the first stage without a loss"),
  ]
  for one, other, why in wrong:
    if one in choice and other in choice:
      raise ValueError(f"variant {variant!r}: {one} and {other} {why}")


def _two_stages(pose: Any) -> ConfigDict:
  """First the segmentation with its backbone; then, both frozen, the pose."""
  pose.init_from.segmentation = ""
  segmentation = pose.copy_and_resolve_references()
  segmentation.system.pose = False
  pose.system.segmentation_weight = 0.0
  pose.init_from.update(backbone="stages/segmentation", segmentation="stages/segmentation")
  pose.freeze = ("backbone", "segmentation")
  return base.staged(pose, {"segmentation": segmentation, "pose": pose})


def _paper(config: Any) -> None:
  base.require_imagenet(config, "HRNet-W32")
  base.paper_data(config)
  config.train_for = "50 epochs"
  config.batch_size = 64
  config.optimizer.learning_rate = 1e-4
  config.schedule.name, config.schedule.drops = "drops", (("40 epochs", 0.1),)


def _synth(config: Any) -> None:
  _paper(config)
  base.synth_data(config)


def _compact(config: Any) -> None:
  """What the small sizes have in common."""
  config.system.update(
    width=24, modules=(1, 1), blocks=1, stem=8, stride=8, segmentation_kind="shuffle", segmentation_features=(24,),
    semantic_features=(32, 32), fusion_features=(24, 48, 96), pooled_features=(24, 32, 64, 64),
    root_depth_weight=0.2, handedness_weight=2.0, heatmap_weight=1.0,
  )  # fmt: skip
  config.data.crop_hw, config.data.shrink = (96, 96), True
  config.data.rough = True
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:test",)
  config.data.augmentation.update(translation=0.05, scale=0.1, rotation_deg=10.0)
  config.batch_size = 16
  config.optimizer.learning_rate = 4e-3
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.ema = 0.999


def _demo(config: Any, scratch: bool) -> None:
  """The weights that come with the package, fitted to other upright hands; or nothing but these hands.

  A switch changes the network or what it learns, so that a demo with one starts from nothing.
  """
  _compact(config)
  config.data.synthetic = ConfigDict({"train": 1_500, "val": 0, "test": 500, "seed": 0})
  if scratch:
    config.train_for = "4400 steps"
  else:
    config.data.augmentation.update(translation=0.1, scale=0.2, rotation_deg=30.0)
    base.fit_kept(config, "kept/digit", 150.0, "200 steps", "600 steps", "1800 steps")
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "200 steps"


def _kept(config: Any) -> None:
  """The weights that come with the package."""
  _compact(config)
  base.kept_data(config)
  config.data.augmentation.update(translation=0.1, scale=0.2, rotation_deg=30.0)
  config.train_for, config.clip_norm = "12000 steps", 1.0
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "0 steps", "500 steps"


def _small(config: Any) -> None:
  _compact(config)
  config.data.synthetic.update(train=8_000, val=0, test=1_000)
  config.train_for = "1200 steps"
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "0 steps", "400 steps"


def _tiny(config: Any) -> None:
  config.system.update(
    width=4, modules=(1,), blocks=1, stem=4, segmentation_kind="shuffle", segmentation_features=(4,),
    semantic_features=(4, 4), fusion_features=(4, 4), pooled_features=(4, 4), bins=8,
    root_depth_weight=8.0,  # bins are eight times as deep
  )  # fmt: skip
  base.tiny(config)
