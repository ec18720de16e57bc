"""HandFlowNet (Wang et al., VMV 2022): a distribution over the poses of two hands, and the baselines beside it.

    python launch.py --config=configs/handflow.py                     # demo: 2 idle CPU cores, 3 minutes
    python launch.py --config=configs/handflow.py:gaussian            # another distribution, from a trunk alone
    python launch.py --config=configs/handflow.py:kept                # the weights that come with the package
    python launch.py --config=configs/handflow.py:synth               # the paper's network on embedded data: one GPU
    python launch.py --config=configs/handflow.py:paper --config.hand_model=MANO_DIR \\
        --config.init_from.backbone=resnet50-11ad3fa6.pth             # MultiHands, built from your InterHand2.6M

`paper` needs InterHand2.6M built with `--mano`, and from it `python -m data_builders.multihands --source interhand26m
--mano DIR`. The embedded sizes build their data, annotations included, when they are first run.

Sizes:
  demo   fits the weights that come with the package (docs/kept.md) to other upright hands, for as long as there is
         time; with another distribution or a switch it starts from InterNet's trunk, and with `scratch` from nothing
  tiny   seconds, for tests
  small  the demo's network on more pictures: for ablations; every row starts from InterNet's trunk
  kept   the weights that come with the package: ResNet-18 three eighths as wide, 96 px, from InterNet's trunk, of
         whose last map all cells are seen, and a flow of 128 units without norm and dropout, whose determinant weighs a
         fifth (docs/systems/handflow.md); more pictures, more augmented
  synth  the paper's network on embedded data
  paper  ResNet-50, 224 px, a flow of four layers of 1,024 units, 100 annotations a picture

Distributions (one of them): flow (default), gaussian, vae, mcdropout; see `jaxhands/systems/handflow_baselines.py`.

Switches, the rows of the paper's table 3 but for `scratch` and `additive`:
  scratch            `demo` and `small` from nothing
  no_multihands      one annotation a picture: its fit
  no_nll             without the likelihood, and so without what balances the determinant
  no_determinant     without the determinant's magnitude, which lets samples spread
  no_mode, no_joints, no_projection, no_orthonormality   without one of the other losses
  additive           couplings as ProHMR's: the determinant then says nothing of the picture (docs/systems/handflow.md)

The paper's text and what is done here where it is silent or its supplement is gone: docs/systems/handflow.md.

MMD on InterHand2.6M with MultiHands (paper, table 2: global, right wrist, each wrist); its kernel's scales are unknown,
ours are in `jaxhands/evaluation/metrics/mmd.py`, so that numbers are not comparable but in their order:
  flow .50 .42 .44   VAE .61 .47 .48   Gaussian .82 .51 .46   MC dropout .91 .60 .51   InterNet 1.12 .59 .56
Ours, kept weights on multihands/demo:test, 500 embedded pictures, in the same order: .65 .61 .60. At size small, 300
pictures, three seeds: flow .68 .64 .63, Gaussian .73 .71 .65, MC dropout .83 .73 .75, VAE .86 .76 .77, DIGIT 1.07 .88
.83, InterNet 1.09 .87 .83 (RESULTS.md).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

DISTRIBUTIONS = ("flow", "gaussian", "vae", "mcdropout")
# Switch -> fields of `system` that it sets.
DROPPED = {
  "no_nll": {"nll_weight": 0.0},
  "no_determinant": {"determinant_weight": 0.0},
  "no_mode": {"mode_weight": 0.0},
  "no_joints": {"joints_weight": 0.0},
  "no_projection": {"projection_weight": 0.0, "projection_samples_weight": 0.0},
  "no_orthonormality": {"orthonormality_weight": 0.0},
}
ROWS = ("no_multihands", "additive", *DROPPED)
SWITCHES = ("scratch", *ROWS)
_COMPACT = ("demo", "small", "kept")
TRUNK = "kept/internet"  # of the compact sizes, which have the trunk that these weights have
VARIANTS = (
  "demo", "demo,scratch", "tiny", "small", "kept", "synth", "paper", "tiny,gaussian", "tiny,vae", "tiny,mcdropout",
  "tiny,additive", "tiny,no_multihands", *(f"small,{name}" for name in DISTRIBUTIONS[1:]),
  *(f"small,{name}" for name in ROWS),
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,distribution][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or a switch that the distribution has no use for.
  """
  config: Any = base.get_config()
  config.name = "handflow"
  choice = base.choose(config, variant, parts=DISTRIBUTIONS, switches=SWITCHES, sizes=(*base.SIZES, "kept"))
  config.system = ConfigDict({
    "name": "handflow" if choice.part == "flow" else "handflow_baselines",
    "depth": 50,
    "width": 64,
    "pooled": True,
    "hidden": 1024,
    "dropout": 0.5,
    "annotations": 100,  # of a picture in a step of training
    "compared": 100,  # in an evaluation
    "samples": 100,  # of a prediction
    "multihands": "no_multihands" not in choice,
    "noise": 0.005,
    "mode_weight": 0.01,
    "joints_weight": 0.05,
    "projection_weight": 0.05,
    "projection_samples_weight": 0.01,
    "orthonormality_weight": 0.1,
    "bn_groups": 1,
  })  # fmt: skip
  if choice.part == "flow":
    config.system.update(
      layers=4, blocks=2, coupling="additive" if "additive" in choice else "affine", batch_norm=True, nll_weight=1e-3,
      determinant_weight=1e-4 if choice.size in _COMPACT else 5e-4,
    )  # fmt: skip
  else:
    own = {"gaussian": {"nll_weight": 1e-3}, "vae": {"reconstruction_weight": 1e-3, "divergence_weight": 1e-6}}
    config.system.update(kind=choice.part, **own.get(choice.part, {}))
  for switch in choice.switches & DROPPED.keys():
    _drop(config, switch)
  if "scratch" in choice and choice.size not in ("demo", "small"):
    raise ValueError(f"variant {variant!r}: only demo and small start from weights, which 'scratch' leaves out")
  if "additive" in choice and choice.part != "flow":
    raise ValueError(f"variant {variant!r}: 'additive' is about the flow's couplings")
  config.data.crop_hw = (224, 224)
  config.data.kind = "interacting"
  # Global, at the right wrist, at each wrist: the last one first, as elsewhere.
  config.eval.protocol.depth = "predicted"
  config.eval.also = ConfigDict({
    "right_wrist": {"root": "right_wrist"}, "global": {"root": "none"}, "occluded": {"joints": "occluded"},
  })  # fmt: skip
  {"demo": _demo, "tiny": _tiny, "small": _small, "kept": _kept, "synth": _synth, "paper": _paper}[choice.size](config)
  if choice.size == "demo" and choice.part == "flow" and not choice.switches:
    _go_on(config)
  elif choice.size in _COMPACT:
    config.init_from.backbone = "" if "scratch" in choice else TRUNK
  return config


def _drop(config: Any, switch: str) -> None:
  unknown = sorted(set(DROPPED[switch]) - set(config.system))
  if unknown:
    raise ValueError(f"{switch!r}: the system {config.system.name!r} has no {unknown[0]}")
  config.system.update(DROPPED[switch])


def _paper(config: Any) -> None:
  base.require_imagenet(config, "ResNet-50")
  config.data.train, config.data.eval = ("multihands/interhand26m:train",), ("multihands/interhand26m:test",)
  config.init_from.backbone = ""
  config.train_for = "500000 steps"
  config.batch_size = 64
  config.optimizer.name, config.optimizer.weight_decay = "adamw", 1e-4
  config.optimizer.learning_rate = 1e-4
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "20000 steps", "20000 steps"


def _synth(config: Any) -> None:
  _paper(config)
  config.requires = ConfigDict()  # embedded data, from scratch
  config.data.train, config.data.eval = ("multihands/full:train",), ("multihands/full:val",)
  config.data.synthetic.train = 100_000
  config.data.rough = True
  config.train_for = "100000 steps"


def _compact(config: Any) -> None:
  """What the small sizes have in common."""
  config.system.update(depth=18, width=24, pooled=False, hidden=128, dropout=0.0, annotations=8, normalised=False)
  if config.system.name == "handflow":
    config.system.batch_norm = False
  elif config.system.kind == "mcdropout":
    config.system.dropout = 0.2  # what its samples are made of
  config.data.crop_hw, config.data.shrink = (96, 96), True
  config.data.rough = True
  config.data.augmentation.update(translation=0.05, scale=0.1, rotation_deg=10.0)
  config.batch_size = 32
  config.optimizer.learning_rate = 1e-3
  config.schedule.name, config.schedule.warmup = "cosine", "100 steps"
  config.clip_norm = 1.0


def _demo(config: Any) -> None:
  _compact(config)
  config.data.train, config.data.eval = ("multihands/demo:train",), ("multihands/demo:val",)
  config.data.synthetic.update(train=600, val=150, test=0)
  config.train_for, config.ema = "500 steps", 0.99
  config.log_every, config.eval_every, config.checkpoint_every = "50 steps", "0 steps", "250 steps"


def _go_on(config: Any) -> None:
  """From the weights that come with the package; other distributions and rows have a trunk to start from alone."""
  base.fit_kept(config, "kept/handflow", 60.0, "50 steps", "100 steps", "200 steps")
  config.fit.cost = 0.5  # an evaluation decodes a hundred samples of each picture
  config.log_every, config.checkpoint_every = "25 steps", "100 steps"


def _small(config: Any) -> None:
  _demo(config)
  config.data.synthetic.update(train=4_000, val=300)
  config.train_for = "1000 steps"
  config.log_every, config.checkpoint_every = "100 steps", "500 steps"


def _kept(config: Any) -> None:
  """The first pictures of two hands of what all weights that come with the package learn from, with annotations."""
  _compact(config)
  base.kept_data(config)
  config.data.synthetic.hands = "all"
  config.data.multihands = ConfigDict({**config.data.multihands, "train": 8_000, "test": 500})
  config.data.train, config.data.eval = ("multihands/demo:train",), ("multihands/demo:test",)
  config.data.augmentation.update(translation=0.1, scale=0.2, rotation_deg=30.0)
  config.train_for, config.ema = "6000 steps", 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "50 steps", "0 steps", "100 steps"


def _tiny(config: Any) -> None:
  config.system.update(depth=18, width=4, hidden=16, dropout=0.1, annotations=3, compared=3, samples=8)
  if config.system.name == "handflow":
    config.system.update(layers=2, blocks=1)
  base.tiny(config)
  config.data.train, config.data.eval = ("multihands/demo:train",), ("multihands/demo:val",)
  config.data.synthetic.test = 0
  config.data.multihands.update(annotations=4, population=8, rounds=2)
