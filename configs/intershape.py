"""Intershape (Zhang et al., ICCV 2021): pose and shape of two interacting hands, by attention and refinement.

    python launch.py --config=configs/intershape.py                   # demo: 2 idle CPU cores, 2.5 minutes and its data
    python launch.py --config=configs/intershape.py:kept              # on the InterNet that comes with the package
    python launch.py --config=configs/intershape.py:synth             # the paper's network on embedded data: one GPU
    python launch.py --config=configs/intershape.py:paper --config.hand_model=MANO_DIR \\
      --config.stages.heatmaps.init_from.backbone=resnet50-19c8e357.pth \\
      --config.stages.hands.init_from.encoder=resnet50-19c8e357.pth    # InterHand2.6M, built with --mano

Parts:
  whole   InterNet is trained for the heatmaps, then kept, and the hands' parameters are trained on them (default)
  hands   the second training alone: `--config.init_from.heatmaps=RUN:.`, of configs/internet.py, or its released file

Sizes:
  demo   fits the weights that come with the package (docs/kept.md) to other upright hands, while there is time:
         ResNet-18s three eighths as wide at 96 px, 2D heatmaps with depth maps in place of volumes; embedded data
  tiny   seconds, for tests; volumes
  kept   `demo` on more hands and for longer, for the weights that come with the package
  small  `kept` on fewer hands and with fewer steps: for ablations, `python -m benchmarks.intershape_table`
  synth  the paper's networks and losses on embedded data
  paper  the paper's networks, losses and schedule on InterHand2.6M (`python -m data_builders.interhand26m --mano`),
         pictures of interacting hands; both ResNets start from ImageNet weights, without which it needs
         `--config.accept=no_imagenet`

Switches, and the paper's rows (table 2 and figure 8; MPJPE in mm, AUC):
  baseline             no refinement, no attention                                         14.218, 0.734
  no_attention         refinement of features that nothing is left out of                  14.095, 0.735
  heatmaps_2p5d        attention of the 2.5D heatmaps in place of rendered joints          13.464, 0.746
  predicted_camera     of rendered joints; the network predicts it                         14.040, 0.737
  high_level_features  all refinements see the encoder's last map                          13.986, 0.737
  single_mano          a refinement sees the last parameters of its own hand alone         13.170, 0.752
  (none)               Intershape                                                          13.071, 0.754
  scratch              `demo` from nothing
  shared_shape         both hands have the mean of their shapes; not in the paper
  attention_loss       the rendered attention has a loss, see below
  released             the second release's conventions; released_v1: the first one's

`kept`, `small` and ablations of `demo` have one training: the heatmaps are those of the InterNet that comes with the
package (docs/kept.md); the encoder starts from its backbone, as v2's from ImageNet's. Joints have one order in both.

Evaluation is the paper's: each hand from the base of its middle finger, with the true length of the bone from there to
the wrist (`scale=gt`); beside it the same with the predicted length (`scale=predicted`).

What the paper does not say, and what is chosen: rotations are regressed as vectors from the hand model's mean pose
(both releases), and the regulariser leaves the global one out, which equation 9 has; the encoder's image is normalised
as ImageNet's (v2); heatmaps have height 1, so that attention is a probability as equation 3 says; offsets are compared
in the unit and from the side of both hands (v2); the attention's loss, which equation 10 does not have, is off (v1's
settings say weight 0.1, without formula); a predicted camera comes from the mean of the encoder's last map and learns
from the joints' cells, weight 0.1 (v1's settings).

Where paper and releases differ: the default | `released` (v2) | `released_v1`:
  encoder       ResNet-50 | norm behind stem and in shortcuts alone | no norm, image - 0.5
  heatmaps      height 1 | raw, 255 | raw
  regulariser   0.05 (0.1 shape^2 + fingers^2) | 0.1 (shape^2 + 0.1 pose^2), left global rotation included | default
  truth         annotated joints | those of the fitted hand model | annotated (v1 has no training)
  valid joints  as they are | flags in another order than the joints | as they are
  fingertip     vertex 445 of MANO, as InterHand2.6M | 444 | 444, left 445
  training      500,000 steps of 20, 5e-5 | 100 epochs of 128, 1e-4, a tenth after 45 and 47 | 500,000 of 15
Slips that are not repeated: both keep InterNet in training mode while they train on it, so that its statistics drift;
v2's mirror does not exchange the flags of fitted hands.

InterHand2.6M, MPJPE / MPVPE in mm with the true scale: paper 13.071 / 10.398 (its first version); v2's README 8.64 /
9.59 (version 1.0). The two are not comparable.
Ours, of two hands with the true scale, MPJPE / MPVPE in mm: kept weights on synthetic/demo:test, 1,000 embedded
pictures, 29.1 / 30.1 (mean pose 47.3 / 49.6). At size small, 500 pictures, means of three seeds: 37.1 / 39.3; the rows
above from 36.7 (heatmaps_2p5d) to 37.8 (no_attention) (RESULTS.md). Of InterHand2.6M nothing has been trained.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base, internet

PARTS = ("whole", "hands")
# The paper's rows: name -> switch.
ROWS = {
  "baseline": "baseline",
  "no attention": "no_attention",
  "predicted 2.5D heatmap": "heatmaps_2p5d",
  "predict camera parameters": "predicted_camera",
  "high level feature": "high_level_features",
  "cascaded single MANO parameters": "single_mano",
  "our full model": "",
}
_HEATMAPS = "kept/internet"
_RELEASES = {"released": "v2", "released_v1": "v1"}
SWITCHES = ("scratch", *(switch for switch in ROWS.values() if switch), "shared_shape", "attention_loss", *_RELEASES)
VARIANTS = (
  "demo", "demo,scratch", "tiny", "kept", "small", "synth", "paper", "tiny,released", "tiny,released_v1",
  "paper,released", "tiny,hands", "paper,hands", "paper,hands,released", "paper,hands,released_v1",
  "tiny,shared_shape,attention_loss",
  *(f"tiny,{switch}" for switch in ROWS.values() if switch),
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,part][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or switches that exclude each other.
  """
  config: Any = base.get_config()
  config.name = "intershape"
  choice = base.choose(config, variant, PARTS, SWITCHES, (*base.SIZES, "kept"))
  rows = [switch for switch in ROWS.values() if switch in choice]
  releases = [release for switch, release in _RELEASES.items() if switch in choice]
  if len(rows) > 1 or len(releases) > 1:
    raise ValueError(f"variant {variant!r}: one row of the paper's table and one release at most")
  if "scratch" in choice and choice.size != "demo":
    raise ValueError(f"variant {variant!r}: only the demo starts from weights, which 'scratch' leaves out")
  on_kept = choice.size in ("demo", "kept", "small") and "scratch" not in choice
  of_first = "kept" if choice.size == "small" else choice.size
  # InterNet's `released` is about how layers start, which the package's have done.
  words = (of_first, "released" if releases and not on_kept else "", "scratch" if "scratch" in choice else "")
  first: Any = internet.get_config(",".join(word for word in words if word))
  attention = "none" if {"baseline", "no_attention"} & choice.switches else "rendered"
  levels = ("layer4",) * 3 if "high_level_features" in choice else ("layer4", "layer3", "layer2")
  config.system = ConfigDict({
    "name": "intershape",
    "heatmaps": first.system,
    "release": releases[0] if releases else "",
    "depth": 50,
    "width": 64,
    "hidden": 512,
    "refinements": () if "baseline" in choice else levels,
    "attention": "heatmap" if "heatmaps_2p5d" in choice else attention,
    "camera": "predicted" if "predicted_camera" in choice else "fit",
    "context": "own" if "single_mano" in choice else "both",
    "shared_shape": "shared_shape" in choice,
    "attention_weight": 0.1 if "attention_loss" in choice else 0.0,
    "bn_groups": 1,
  })  # fmt: skip
  config.data.update(first.data)
  config.freeze = ("heatmaps",)
  sizes = {"tiny": _tiny, "kept": _kept, "small": _small, "synth": _synth, "paper": _paper}
  _demo(config, choice) if choice.size == "demo" else sizes[choice.size](config)
  if on_kept:
    _on_kept_heatmaps(config, choice)
  elif choice.part == "hands":
    _second(config)
  else:
    return _both(config, first)
  return config


def _on_kept_heatmaps(config: Any, choice: base.Choice) -> None:
  """The hands, on the InterNet that comes with the package; its backbone is where the encoder begins."""
  if choice.size != "small":  # whose results were recorded with them
    config.system.heatmaps.elsewhere = 0.0  # crops without hands would teach InterNet, which is finished
  if not config.init_from.all:
    config.init_from.update(heatmaps=f"{_HEATMAPS}:.", encoder=f"{_HEATMAPS}:backbone")
  _evaluate(config)


def _both(config: Any, first: Any) -> ConfigDict:
  """InterNet, then the hands on its heatmaps; each stage is evaluated as its own paper has it."""
  config.init_from.update(heatmaps="stages/heatmaps:.", encoder="")
  _evaluate(config)
  first.data = config.data.copy_and_resolve_references()
  return base.staged(config, {"heatmaps": first, "hands": config})


def _second(config: Any) -> None:
  """The hands alone, on the heatmaps of another run."""
  config.init_from.update(heatmaps="", encoder="")
  base.require(config, "untrained_heatmaps", "a trained InterNet", "init_from.heatmaps or init_from.all")
  _evaluate(config)


def _evaluate(config: Any) -> None:
  """The paper's protocol, and the same with the predicted size of each hand."""
  config.eval.protocol.update(depth="predicted", root="middle1", scale="gt")
  config.eval.also = ConfigDict({"predicted_scale": {"scale": "predicted"}})


def _paper(config: Any) -> None:
  base.require(config, "no_imagenet", "ImageNet weights of ResNet-50", "init_from.encoder or init_from.all")
  config.data.train, config.data.eval = ("interhand26m:train",), ("interhand26m:test",)
  config.data.kind = "interacting"
  config.optimizer.learning_rate = 5e-5
  config.train_for, config.batch_size = "500000 steps", 15 if config.system.release == "v1" else 20
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "50000 steps", "10000 steps"
  if config.system.release == "v2":
    config.train_for, config.batch_size, config.optimizer.learning_rate = "100 epochs", 128, 1e-4
    config.schedule.name, config.schedule.drops = "drops", (("45 epochs", 0.1), ("47 epochs", 0.1))
    config.eval_every, config.checkpoint_every = "5 epochs", "1 epoch"


def _synth(config: Any) -> None:
  data = config.data.train, config.data.eval
  _paper(config)
  config.data.train, config.data.eval = data
  config.requires = ConfigDict()  # embedded data, from scratch
  config.train_for = "100000 steps"


def _kept(config: Any) -> None:
  """The weights that come with the package; data as InterNet's."""
  config.system.update(depth=18, width=24, hidden=256)
  config.train_for, config.batch_size = "6000 steps", 16
  config.optimizer.learning_rate = 1e-3
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.clip_norm = 0.0
  config.ema = 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "3000 steps", "500 steps"


def _demo(config: Any, choice: base.Choice) -> None:
  """The weights that come with the package, fitted to other upright hands; an ablation starts from the heatmaps."""
  _kept(config)
  config.data.synthetic = ConfigDict({"train": 1_500, "val": 0, "test": 500, "seed": 0})
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "200 steps"
  if _starts_from_kept(choice):
    base.fit_kept(config, "kept/intershape", 150.0, "200 steps", "600 steps", "1800 steps")
    config.optimizer.learning_rate = 2e-4  # at 1e-3 600 steps of few pictures lose more than they bring
  else:
    config.train_for = "1000 steps"


def _starts_from_kept(choice: base.Choice) -> bool:
  """Whether the networks are those of the weights that come with the package: the demo's, of no ablation."""
  return choice.size == "demo" and not choice.switches


def _small(config: Any) -> None:
  _kept(config)
  config.data.synthetic = ConfigDict({"train": 6_000, "val": 0, "test": 500, "seed": 0})
  config.train_for = "2000 steps"
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "0 steps", "1000 steps"


def _tiny(config: Any) -> None:
  config.system.update(depth=18, width=4, hidden=16)
  config.train_for, config.batch_size, config.eval.batch_size = "4 steps", 8, 8
  config.optimizer.learning_rate = 1e-3
  config.log_every, config.eval_every, config.checkpoint_every = "1 step", "2 steps", "2 steps"
