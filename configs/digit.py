"""DIGIT (Fan et al., 3DV 2021): part segmentation of both hands, fused into their 2.5D pose.

    python launch.py --config=configs/digit.py                        # demo: 2 CPU cores, ten minutes
    python launch.py --config=configs/digit.py:synth                  # the paper's network on embedded data: one GPU
    python launch.py --config=configs/digit.py:paper,released --config.init_from.backbone=hrnet_w32.npz
                                                                      # InterHand2.6M as the authors trained it
    python -m benchmarks.digit_table2                                 # table 2 and section 4.3 at size small

Sizes:
  demo   a narrow HRNet of three branches, the finest with stride 8 instead of 4, for 96 px, and segmentation by
         shuffled 1x1 convolutions; embedded data
  tiny   seconds, for tests
  small  `demo` with fewer steps: for ablations
  synth  the paper's network and losses on embedded data
  paper  the paper's network, losses and schedule on InterHand2.6M (`python -m data_builders.interhand26m`)

Switches, and the paper's rows (table 2; section 4.3 with figure 6c):
  no_segmentation_features,no_segmentation_loss,no_bone_loss  Baseline (6a)
  no_segmentation_features,no_segmentation_loss               Baseline + BL
  no_segmentation_features                                    Baseline + BL + SL (6b)
  no_segmentation_loss                                        Baseline + BL + SF*, features without supervision
  (none)                                                      Baseline + BL + SF, DIGIT
  no_visual_features                                          pose from the segmentation alone (6c), end to end
  no_visual_features,labels                                   6c from hard labels, which pass no gradient
  no_visual_features,two_stage                                6c, the segmentation trained first and then kept
  released                                                    the release's conventions in place of the paper's text

`demo` and `small` add what the paper does not have, so that a few thousand steps teach something: a cross-entropy on
the heatmaps, a handedness loss of weight 2, a root depth loss of weight 0.2, and gentler crops.

The paper starts the backbone from ImageNet weights: `--config.init_from.backbone=FILE`, HRNet-W32 of the HRNet pose
repository as it is published (.pth); `paper` without them needs `--config.accept=no_imagenet`.
With RootNet's results, `--config.data.root_depths=FILE --config.eval.protocol.depth=rootnet`.

Where paper and release differ; the first value is the default, the second is `released`:
  bone loss     mean absolute difference of the bone vectors, weight 1 | mean squared one of each hand, 0.1
  soft-argmax   cells count from 0, as those of the targets do | from 0.5
  x and y       of a joint count where they are annotated | where its depth is known and in range, too
  batch norm    over the whole batch | over each half of it, which are accumulated
and by choice of the evaluation, not of the system:
  left hand     its depth is the right wrist's plus the relative one wherever a right hand is found: paper,
                `eval.protocol.left_root=relative_if_seen` | that only within MRRPE: release, `relative`, the default
  handedness    average precision | accuracy; both are always computed
In both: "probabilities" are scores, as the paper's discussion says; the sums of the paper's equations 7 and 8 are
means; 50 epochs, a tenth of the rate after 40 (the release; the paper's sentence about it is lost to us); ImageNet
weights without ImageNet's normalisation; no normalisation of depths. 6a to 6c: what the paper does not say is ours,
the same UNet and heads on the inputs that there are.

MPJPE of interacting hands and MRRPE on InterHand2.6M test (H+M), RootNet depths, mm:
  paper             14.27, 29.22 (baseline 15.06, 31.36; InterNet 16.02, 32.57)
  released weights  14.21, 29.04; one hand 10.73 (the authors' file of results)
Table 2, on the initial release, val and test MPJPE, val and test MRRPE: baseline 21.91 18.71, 36.73 34.05; + BL 20.43
17.54, 38.84 37.36; + BL + SL 19.72 17.05, 34.51 32.10; + BL + SF* 20.31 17.60, 40.09 38.20; + BL + SF 19.05 16.55,
34.14 31.39. Section 4.3, val MPJPE: 20.01 end to end, 25.49 from labels, 23.52 in two stages.

Ours, on embedded data of version 6, which had fewer poses (synthetic/demo:test, 1,000 pictures), MPJPE of interacting
hands, mm; mean pose 77.14:
  demo   53.28 (50.8 to 55.7), one hand 36.36 (mean pose 63.32); seed 0
  small  mean of three seeds, deviation 0.2 to 1.1, by `python -m benchmarks.digit_table2`: baseline 65.64; + BL 63.68;
         + BL + SL 60.38; + BL + SF* 62.61; + BL + SF 59.20; segmentation alone 60.69 end to end, 62.42 from labels,
         59.55 in two stages, which train twice as long. RESULTS.md says what does not go as in the paper
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

SWITCHES = (
  "no_segmentation_features", "no_segmentation_loss", "no_bone_loss", "no_visual_features", "labels", "two_stage",
  "released",
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
  "demo", "tiny", "small", "synth", "paper", "tiny,released", "paper,released",
  *(f"tiny,{switches}" for switches in ROWS.values() if switches),
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or switches that exclude each other.
  """
  config: Any = base.get_config()
  config.name = "digit"
  choice = base.choose(config, variant, switches=SWITCHES)
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
  {"demo": _demo, "tiny": _tiny, "small": _small, "synth": _synth, "paper": _paper}[choice.size](config)
  if choice.size == "paper" and "released" in choice:
    config.accumulation = 2
  if choice.size == "paper" and "no_visual_features" in choice:
    config.train_for, config.schedule.drops = "25 epochs", ()  # each stage
    config.schedule.name = "constant"
  if "two_stage" in choice:
    _two_stages(config)
  return config


def _check(variant: str, choice: base.Choice) -> None:
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


def _two_stages(config: Any) -> None:
  """First the segmentation with its backbone; then, both frozen, the pose."""
  config.init_from.segmentation = ""
  config.stages = ("segmentation", "pose")
  first = "stages/segmentation"
  config.stage = ConfigDict({
    "segmentation": {"system": {"pose": False}},
    "pose": {
      "system": {"segmentation_weight": 0.0},
      "init_from": {"backbone": first, "segmentation": first},
      "freeze": ("backbone", "segmentation"),
    },
  })  # fmt: skip


def _paper(config: Any) -> None:
  base.require_imagenet(config, "HRNet-W32")
  config.data.train, config.data.eval = ("interhand26m:train",), ("interhand26m:test",)
  config.train_for = "50 epochs"
  config.batch_size = 64
  config.optimizer.learning_rate = 1e-4
  config.schedule.name, config.schedule.drops = "drops", (("40 epochs", 0.1),)


def _synth(config: Any) -> None:
  _paper(config)
  config.requires = ConfigDict()  # embedded data, from scratch
  config.data.train, config.data.eval = ("synthetic:train",), ("synthetic:val",)
  config.data.synthetic.train = 100_000
  config.data.rough = True


def _demo(config: Any) -> None:
  config.system.update(
    width=24, modules=(1, 1), blocks=1, stem=8, stride=8, segmentation_kind="shuffle", segmentation_features=(24,),
    semantic_features=(32, 32), fusion_features=(24, 48, 96), pooled_features=(24, 32, 64, 64),
    root_depth_weight=0.2, handedness_weight=2.0, heatmap_weight=1.0,
  )  # fmt: skip
  config.data.crop_hw, config.data.map_hw, config.data.shrink = (96, 96), (24, 24), True
  config.data.rough = True
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:test",)
  config.data.synthetic.update(train=8_000, val=0, test=1_000)
  config.data.augmentation.update(translation=0.05, scale=0.1, rotation_deg=10.0)
  config.train_for = "4400 steps"
  config.batch_size = 16
  config.optimizer.learning_rate = 4e-3
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.ema = 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "0 steps", "1100 steps"


def _small(config: Any) -> None:
  _demo(config)  # and its pictures, so that there is nothing to build
  config.train_for = "1200 steps"
  config.checkpoint_every = "400 steps"


def _tiny(config: Any) -> None:
  config.system.update(
    width=4, modules=(1,), blocks=1, stem=4, segmentation_kind="shuffle", segmentation_features=(4,),
    semantic_features=(4, 4), fusion_features=(4, 4), pooled_features=(4, 4), bins=8,
    root_depth_weight=8.0,  # bins are eight times as deep
  )  # fmt: skip
  config.data.crop_hw, config.data.map_hw = (64, 64), (32, 32)
  config.data.synthetic.update(train=32, val=16, test=16)
  config.train_for = "4 steps"
  config.batch_size = config.eval.batch_size = 8
  config.optimizer.learning_rate = 1e-3
  config.log_every, config.eval_every, config.checkpoint_every = "1 step", "2 steps", "2 steps"
