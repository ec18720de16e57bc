"""What parts of `configs/hdr.py` share: their data and the sizes of their crops."""

from __future__ import annotations

from typing import Any

from configs import base

KEPT = "kept/hdr"  # the weights of all parts that come with the package
SWITCHES = (
  "scratch", "released", "internet_pose", "no_removal", "no_deocclusion", "no_discriminator", "no_transformer",
  "render_only", "syn_only", "with_aih",
)  # fmt: skip
HAND_HW = (64, 64)  # of the demo's crops of one hand
DEMO_FACTOR = 1.3  # of a hand's box, which is the tight one of its joints 1.2 times, at small sizes
PAPER_FACTOR = 1.9  # of the same: with it, about twice the box of the whole mask, as the release has it


def tiny(config: Any) -> None:
  """Seconds, for tests."""
  base.tiny(config)
  config.data.synthetic.pictures = "all"


def demo_data(config: Any) -> None:
  """Some thousand pictures, with those that HDRM learns from: one data set for all parts."""
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:val",)
  config.data.synthetic.update(train=2_000, val=240, test=0, pictures="all")
  config.data.rough = True
  config.data.keep_mb = 600


def kept_data(config: Any) -> None:
  """The pictures that weights that come with the package learn from, the same for all of them."""
  demo_data(config)
  base.kept_data(config)
  config.data.keep_mb = 5_000


def small_data(config: Any) -> None:
  """More pictures, and AIH of as upright hands for HDRM to learn from, as in the paper."""
  demo_data(config)
  config.data.synthetic.update(train=12_000, val=1_000, pictures="input")
  config.data.aih.update(train=3_000, val=300, test=0, upright_deg=60.0)
  config.data.keep_mb = 2_000


def aih_parts(split: str) -> tuple[str, str]:
  """AIH_Render and AIH_Syn, as many of each."""
  return f"aih/render:{split}", f"aih/syn:{split}"


def paper_aih(config: Any, part: str = "") -> str:
  """The name of as much AIH as the paper has, or of a "/render" or "/syn" part of it, of real hands."""
  config.data.aih.train = {"": 2_900_000, "/render": 700_000, "/syn": 2_200_000}[part]
  fields = {"": ("singles", "poses", "mano"), "/render": ("poses", "mano"), "/syn": ("singles",)}[part]
  released = "data.train~aih/released"
  conditions = [f"data.aih.{field} or {released}" for field in fields]
  base.require(config, "embedded_aih", "AIH made of InterHand2.6M, not of embedded hands", *conditions)
  if part != "/syn":
    base.require(config, "drawn_skin", "pictures of skin for AIH_Render", f"data.aih.textures or {released}")
  return f"aih{part}"


def demo_of_a_hand(config: Any) -> None:
  """Training of a small network on crops of one hand."""
  demo_data(config)
  config.data.crop_hw = HAND_HW
  config.batch_size = 16
  config.optimizer.learning_rate = 2e-3
  config.schedule.name = "cosine"
  config.ema = 0.99
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "0 steps"


def starts_from_kept(choice: base.Choice) -> bool:
  """Whether the networks are those of the weights that come with the package: the demo's, of no ablation."""
  return choice.size == "demo" and choice.switches <= {"internet_pose"}


def unhurried(config: Any) -> None:
  """Longer averages, and checkpoints in between."""
  config.ema = 0.999
  config.checkpoint_every = "500 steps"


def for_hours(config: Any) -> None:
  """As long as weights that come with the package are trained."""
  unhurried(config)
  config.log_every, config.checkpoint_every = "200 steps", "1000 steps"
  config.schedule.warmup = "500 steps"
  config.clip_norm = 1.0
