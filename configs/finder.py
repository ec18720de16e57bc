"""The finder: boxes of the hands of whole pictures, and which hand each is; for `predict --finder`.

    python launch.py --config=configs/finder.py                       # demo: 800 steps
    python launch.py --config=configs/finder.py:kept                  # what comes with the package

Of no paper. Trained on `synthetic/wide`: rendered hands of any size anywhere in pictures with arms, faces and other
skin, one picture in four without hands. Training looks at whole pictures and at parts of them, as the predictor does,
which looks again where it found something (`jaxhands/prediction/find.py`). An evaluation looks at whole pictures once.

Metrics: share of hands whose box is found (IoU of at least 0.5, `box_recall`; 0.3, `box_recall_loose`), by size of the
hand; share of these whose side is right; boxes on no hand for each picture; share of pictures without hands in which
one is seen. Beside them what the whole picture as a box would have.

`kept` is what `predict` and `benchmarks.photos` look with where no other finder is named (docs/kept.md): one look at
400 held-out pictures finds 0.15 of their hands, 0.43 of the large ones, and sees one in 0.02 of those without; told
nothing, `predict` finds more than half of the hands of our few real pictures, as it looks several times.

Sizes:
  demo   the network of `kept` on fewer pictures, with fewer steps
  tiny   seconds, for tests
  small  `demo` with half the steps: for ablations
  kept   the trunk of `kept/internet`, which it starts from, 96 px: what comes with the package
  synth  `kept` on twenty times the pictures
  paper  the same as `synth`: there is no paper
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("demo", "tiny", "kept", "small", "synth", "paper")


def get_config(variant: str = "") -> ConfigDict:
  """The config of a size; see the module.

  Raises:
    ValueError: an unknown word.
  """
  config: Any = base.get_config()
  config.name = "finder"
  choice = base.choose(config, variant, sizes=(*base.SIZES, "kept"))
  config.system = ConfigDict({
    "name": "finder",
    "depth": 18,
    "width": 24,
    "features": 48,
    "candidates": 6,
    "box_weight": 1.0,
    "side_weight": 0.5,
    "bn_groups": 1,
  })  # fmt: skip
  config.data.crop_hw = (96, 96)
  config.data.train, config.data.eval = ("synthetic/wide:train",), ("synthetic/wide:test",)
  config.data.synthetic = ConfigDict({"train": 5_000, "val": 200, "test": 400, "seed": 0})
  config.data.augmentation.update(translation=0.1, scale=0.2, rotation_deg=20.0)
  config.data.keep_mb = 4000  # all pictures of `kept`
  config.batch_size = 16
  config.init_from = ConfigDict({"all": "", "backbone": "kept/internet"})  # which has seen hands, if larger ones
  config.train_for = "14500 steps"
  config.optimizer.learning_rate = 1.5e-3
  config.clip_norm = 1.0
  config.schedule.name, config.schedule.warmup = "cosine", "200 steps"
  config.ema = 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "500 steps"
  config.eval.mean_pose = 0  # a pose, which says nothing of boxes
  if choice.size != "kept":
    {"demo": _demo, "small": _small, "tiny": _tiny, "synth": _synth, "paper": _synth}[choice.size](config)
  return config


def _synth(config: Any) -> None:
  config.data.synthetic.train = 100_000
  config.train_for = "60000 steps"
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "5000 steps", "1000 steps"


def _demo(config: Any) -> None:
  config.data.synthetic = ConfigDict({"train": 2_000, "val": 0, "test": 300, "seed": 0})
  config.train_for, config.ema = "800 steps", 0.99


def _small(config: Any) -> None:
  _demo(config)
  config.train_for = "400 steps"


def _tiny(config: Any) -> None:
  config.init_from = ConfigDict({"all": ""})
  config.system.update(depth=10, width=4, features=8)
  base.tiny(config)
