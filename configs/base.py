"""What every config starts from, on one page; a system's config sets what differs.

Durations and intervals are strings, "20 epochs" or "5000 steps" ("0 steps" = never). Fields may be overridden on the
command line, `--config.optimizer.learning_rate=3e-4`; unknown names and wrong types are refused.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from jaxhands.configuration.ordered import Ordered

SIZES = ("demo", "tiny", "small", "synth", "paper")


def get_config() -> ConfigDict:
  """The shared defaults."""
  config = ConfigDict()
  # The run's folder is runs/NAME-VARIANT; see `choose`.
  config.name = "base"
  config.variant = ""
  config.seed = 0
  config.compute_dtype = "float32"  # or "bfloat16"; parameters, statistics, geometry and losses stay float32

  config.hand_model = "embedded-v1"  # or the folder of a user's own MANO files

  # system.name is a module of jaxhands/systems; the rest of `system` is read by that module alone.
  config.system = ConfigDict({"name": ""})

  # ---- data -----------------------------------------------------------------
  config.data = ConfigDict()
  config.data.train = ("synthetic:train",)  # "NAME[/VARIANT]:SPLIT" or "FOLDER:SPLIT"; several are mixed
  config.data.eval = ("synthetic:val",)
  config.data.dir = ""  # where data sets lie; "" = $JAXHANDS_DATA, or the user's cache
  # Training pictures: "all", "single" (of one hand) or "interacting"; "single,all" = one kind for each data set.
  config.data.kind = "all"
  config.data.limit = 0  # the first examples of each set only; 0 = all
  config.data.root_depths = ""  # wrist depths for eval.protocol.depth="rootnet": a run, "stages/NAME", or a file .npz
  config.data.fits = ""  # file of `jaxhands fit`: parameters of training pictures that have none of their own
  config.data.crop_hw = (256, 256)  # the network's input, px
  # Random crops in training, as InterNet and DIGIT have them: jaxhands.data.augment.Augmentation. HDR's SHPE and HDRM
  # always have these, but never mirrored, and HASM has `system.zoom`; a change is refused by them.
  config.data.augmentation = ConfigDict({
    "translation": 0.15, "scale": 0.25, "rotation_deg": 45.0, "rotation_probability": 0.6, "mirror_probability": 0.5,
  })  # fmt: skip
  # Decode pictures at a half or a quarter of their size where a crop has so few pixels anyway: fast, but not the
  # references' pixels. Of InterNet, DIGIT and HandFlow; SHPE and HDRM always do so, others refuse it.
  config.data.shrink = False
  # Grey, exposure, contrast, blur, noise and covers at random in training: jaxhands.data.rough. The papers have none.
  config.data.rough = False
  config.data.threads = 8  # that read and decode
  config.data.processes = 0  # worker processes besides the trainer's own; 0 = threads only
  config.data.keep_mb = 2000  # memory for decoded examples, so that a small set is decoded once
  # Arguments of the embedded data, which are built when they are needed: data_builders.synthetic.SyntheticConfig. The
  # variant is in the data set's name: "synthetic/demo:train".
  config.data.synthetic = ConfigDict({"train": 10_000, "val": 1_000, "test": 1_000, "seed": 0})
  # Arguments of AIH ("aih", "aih/render", "aih/syn"), which is built likewise: data_builders.aih.AihConfig. Without
  # data sets to make it of, it is made of the embedded hands.
  config.data.aih = ConfigDict({
    "train": 10_000, "val": 1_000, "test": 1_000, "seed": 0, "upright_deg": 180.0, "singles": "", "poses": "",
    "mano": "", "textures": "",
  })  # fmt: skip
  # Arguments of the annotations of embedded hands ("multihands/demo"): data_builders.multihands.MultiHandsConfig.
  config.data.multihands = ConfigDict({"annotations": 100, "population": 200, "rounds": 20, "seed": 0})

  # ---- training -------------------------------------------------------------
  config.train_for = "20 epochs"
  # Of a run that starts from finished weights: how many seconds of training there are, lengths to choose among, and how
  # many times longer computing takes in training than in evaluation, see jaxhands.train.time_budget. () = `train_for`;
  # which stays, too, where it is not the first of them.
  config.fit = ConfigDict({"seconds": 0.0, "choices": (), "cost": 4.0})
  config.batch_size = 64  # examples of one update, over all devices and processes
  config.accumulation = 1  # micro-batches that an update is split into, to save memory
  config.optimizer = ConfigDict()
  config.optimizer.name = "adam"  # adam (weight decay = L2 term of the gradient), adamw (decoupled), sgd
  config.optimizer.learning_rate = 1e-4
  config.optimizer.b1 = 0.9  # sgd: the momentum
  config.optimizer.b2 = 0.999
  config.optimizer.eps = 1e-8
  config.optimizer.weight_decay = 0.0
  config.optimizer.no_decay = ()  # parameters whose path contains one of these have no weight decay
  config.optimizer.faster = ()  # ((text, factor), ...): parameters whose path contains the text learn faster
  config.optimizers = ConfigDict()  # what differs by objective, e.g. {"discriminator": {"learning_rate": 1e-5}}
  config.schedule = ConfigDict()  # a factor of the learning rate, the same for all objectives
  config.schedule.name = "constant"  # constant, drops, cosine, poly
  config.schedule.warmup = "0 steps"  # linear, from warmup_start
  config.schedule.warmup_start = 0.0
  config.schedule.drops = ()  # (("15 epochs", 0.1), ("17 epochs", 0.1)): multiply from then on
  config.schedule.power = 1.0  # of poly
  config.schedule.end = 0.0  # factor at the end of cosine and poly
  config.clip_norm = 0.0  # of each objective's gradient; 0 = no clipping
  config.ema = 0.0  # decay of the average of parameters and batch statistics; 0 = none
  config.freeze = ()  # subtrees without gradient, optimizer state or average, in evaluation mode: ("backbone",)

  # Devices that share one copy of parameters, averages and optimizer state, and how it is divided among them: the first
  # (regular expression, dimension) that an array's path contains; what does not divide is whole on each. See
  # jaxhands.train.distributed.layout. 1 = every device has all of it.
  config.sharding = ConfigDict({"fsdp": 1, "rules": (("kernel$", -1),)})

  # ---- where weights come from ----------------------------------------------
  # Subtree -> "RUN or file[:source subtree]"; "all" = everything, "." = the whole source, "" = fresh.
  # "stages/NAME" is an earlier stage of the same run.
  config.init_from = ConfigDict({"all": ""})
  config.vgg = ""  # file of VGG-16's weights (jaxhands.weights.vgg), where losses and distances use them; "" = without
  # What a paper's size needs to be the paper's, see `require`, and which differences a run may have instead, by name:
  # "no_imagenet,no_vgg". They are written beside its numbers.
  config.requires = ConfigDict()
  config.accept = ""
  # Whole configs by name of the trainings that a run consists of, see `staged`; empty = one training, this one.
  config.stages = Ordered()

  # ---- log, evaluate, keep --------------------------------------------------
  config.log_every = "50 steps"
  config.eval_every = "1 epoch"
  config.checkpoint_every = "1 epoch"
  config.keep = 1  # latest checkpoints, besides the best
  config.best_metric = ""  # e.g. "mpjpe/all"; "" = no best checkpoint
  config.best_mode = "min"

  config.eval = ConfigDict()
  config.eval.batch_size = 64
  config.eval.checkpoint = "latest"  # or "best", which `best_metric` chooses
  config.eval.metrics = ()  # names, e.g. ("mpjpe", "mrrpe"); () = all that the system's predictions and data allow
  # How poses are compared: jaxhands.evaluation.metrics.base.Protocol. `also`: name -> what other protocols change.
  config.eval.protocol = ConfigDict({
    "depth": "gt", "root": "wrist", "scale": "predicted", "joints": "annotated", "average": "per_joint",
    "count_root": True, "left_root": "relative",
  })  # fmt: skip
  config.eval.also = ConfigDict()
  # The same system with other fields and the same weights, to stand beside it: name -> what of `system` changes. A
  # system may have fields that change how it predicts and not what it reads from the data.
  config.eval.methods = ConfigDict()
  # Annotations of a picture that poses and samples are compared with (data_builders.multihands), of a system that does
  # not ask for them itself; 0 = none.
  config.eval.annotations = 0
  config.eval.mean_pose = 10_000  # training examples that the baseline is the mean of; 0 = no baseline
  return config


# What the stages of a run have in common, of the config, of its `data` and of `data.aih`.
_SHARED = ("name", "variant", "seed", "compute_dtype", "hand_model", "vgg", "accept")
_SHARED_DATA = ("dir", "threads", "processes", "keep_mb")
_SHARED_AIH = ("singles", "poses", "mano", "textures")
_SHARED_BY_USERS_OF_AIH = ("train", "val", "test", "seed")  # where theirs are the same


def staged(config: Any, stages: Mapping[str, Any]) -> ConfigDict:
  """A run of several trainings, one after the other, each in WORKDIR/stages/NAME.

  Its config is a short section that all of them share (a flag that sets one of its fields sets it for all) and, in
  `stages`, their whole configs: `--config.stages.NAME.FIELD=VALUE` sets a field of one.

  Args:
    config: has the values of the shared fields.
    stages: name -> config, as `get_config` of its system gives it, in order.
  """
  run: Any = ConfigDict({key: config[key] for key in _SHARED})
  run.data = ConfigDict({key: config.data[key] for key in (*_SHARED_DATA, "synthetic")})
  run.data.aih = ConfigDict({key: config.data.aih[key] for key in _SHARED_AIH})
  run.stages = Ordered()
  for name, stage in stages.items():
    for own, shared, keys in (
      (stage, run, _SHARED), (stage.data, run.data, _SHARED_DATA), (stage.data.aih, run.data.aih, _SHARED_AIH),
    ):  # fmt: skip
      for key in keys:
        own[key] = shared.get_ref(key)
    stage.data.synthetic = run.data.synthetic
    run.stages[name] = stage
  users = [stage.data.aih for stage in stages.values() if _uses_aih(stage.data)]
  for key in _SHARED_BY_USERS_OF_AIH:
    if len({aih[key] for aih in users}) == 1:
      run.data.aih[key] = users[0][key]
      for aih in users:
        aih[key] = run.data.aih.get_ref(key)
  return run


def _uses_aih(data: Any) -> bool:
  return any(name.partition(":")[0].partition("/")[0] == "aih" for name in (*data.train, *data.eval))


def paper_data(config: Any) -> None:
  """InterHand2.6M."""
  config.data.train, config.data.eval = ("interhand26m:train",), ("interhand26m:test",)


def synth_data(config: Any) -> None:
  """Embedded data in place of the paper's, as much as pays on an accelerator; from scratch, so that nothing else is
  required."""
  config.requires = ConfigDict()
  config.data.train, config.data.eval = ("synthetic:train",), ("synthetic:val",)
  config.data.synthetic.train = 100_000
  config.data.rough = True


def tiny(config: Any) -> None:
  """Seconds, for tests."""
  config.data.crop_hw = (64, 64)
  config.data.synthetic.update(train=32, val=16, test=16)
  config.train_for = "4 steps"
  config.batch_size = config.eval.batch_size = 8
  config.optimizer.learning_rate = 1e-3
  config.log_every, config.eval_every, config.checkpoint_every = "1 step", "2 steps", "2 steps"


def kept_data(config: Any) -> None:
  """Upright embedded hands that no demo shows, with every label: what the weights of the package learn from."""
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:test",)
  config.data.synthetic = ConfigDict({"train": 48_000, "val": 0, "test": 1_000, "seed": 1, "pictures": "all"})
  config.data.rough = True


def fit_kept(config: Any, weights: str, seconds: float, *choices: str) -> None:
  """A short training that goes on from weights that come with the package.

  Args:
    config: gets where it starts from, gentle rates, and a length that the machine decides.
    weights: "kept/NAME[:SUBTREE]".
    seconds: that there are for it.
    choices: lengths, from short to long; see `jaxhands.train.time_budget`.
  """
  config.init_from.all = weights
  config.train_for, config.fit.seconds, config.fit.choices = choices[0], seconds, choices
  config.optimizer.learning_rate, config.schedule.warmup = 3e-4, "50 steps"
  config.ema = 0.99


def require(config: Any, difference: str, what: str, *conditions: str) -> None:
  """States something that the paper has: a run without it stops, unless `config.accept` names the difference.

  Args:
    config: gets it in `config.requires`.
    difference: its name for whoever accepts it, e.g. "no_imagenet".
    what: is needed, in words.
    conditions: fields that must be set, as `jaxhands.configuration.requirements` reads them.
  """
  config.requires[difference] = (what, *conditions)


def require_imagenet(config: Any, network: str) -> None:
  """The backbone starts from ImageNet weights of a network."""
  require(config, "no_imagenet", f"ImageNet weights of {network}", "init_from.backbone or init_from.all")


@dataclasses.dataclass(frozen=True)
class Choice:
  """A variant taken apart: "paper,hasm,no_aug" -> size "paper", part "hasm", switches {"no_aug"}."""

  size: str
  part: str
  switches: frozenset[str]

  def __contains__(self, switch: str) -> bool:
    return switch in self.switches


def choose(
  config: ConfigDict,
  variant: str,
  parts: Sequence[str] = (),
  switches: Sequence[str] = (),
  sizes: Sequence[str] = SIZES,
) -> Choice:
  """Reads `[size][,part][,switch...]` in any order, and names the run after it.

  Args:
    config: gets `config.variant`.
    variant: what follows the colon of `--config=configs/NAME.py:...`; "" = `demo` and the first part.
    parts: of which one is chosen, e.g. ("pipeline", "hasm", "hdrm").
    switches: of which any number is chosen.
    sizes: that there are, the default first; "kept" of a system whose weights come with the package.
  Raises:
    ValueError: an unknown word, a word twice, or two sizes or parts.
  """
  words = [word.strip() for word in variant.split(",") if word.strip()]
  known = [*sizes, *parts, *switches]
  for word in words:
    if word not in known:
      close = difflib.get_close_matches(word, known, n=1)
      hint = f"did you mean {close[0]!r}? " if close else ""
      raise ValueError(f"unknown variant {word!r}: {hint}known are {known}")
  chosen_sizes = [word for word in words if word in sizes]
  chosen_parts = [word for word in words if word in parts]
  if len(set(words)) < len(words) or len(chosen_sizes) > 1 or len(chosen_parts) > 1:
    raise ValueError(f"variant {variant!r}: at most one of the sizes {list(sizes)} and one of the parts {list(parts)}")
  size = chosen_sizes[0] if chosen_sizes else sizes[0]
  part = chosen_parts[0] if chosen_parts else next(iter(parts), "")
  chosen = [word for word in switches if word in words]
  config.variant = "-".join([size, *chosen_parts, *chosen])
  return Choice(size, part, frozenset(chosen))
