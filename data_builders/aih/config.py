"""What an AIH data set is made of. Imports nothing heavy, so that a configuration costs nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from data_builders.synthetic.config import SPLITS, SyntheticConfig

VARIANTS = ("full", "render", "syn")
RENDER, SYN = "render", "syn"
RELEASED = "released"  # the authors' own, from a download
# Of how records are drawn and pasted; raised by changes, so that old records are not mixed with new ones. Changes of
# the renderer raise the version in `synthetic`, which is an argument of these data sets as well.
VERSION = 2
# Of `full`: one rendered picture, then three pasted ones (paper: 0.7 and 2.2 million).
_PERIOD = 4
_FEWEST_SINGLES = 24


@dataclasses.dataclass(frozen=True)
class AihConfig:
  """Arguments of an AIH data set; equal arguments, and equal data sets that it is made of, give equal files.

  Attributes:
    train, val, test: numbers of records; each split is made of the same split of other data.
    seed: of everything drawn.
    variant: `render`: AIH_Render, two hands rendered together; `syn`: AIH_Syn, a hand pasted onto the picture of
      another; `full`: a quarter of the first, three quarters of the second, as in the paper.
    singles: the data set with the pictures of one hand that AIH_Syn is made of, a path or NAME[/VARIANT], with masks
      and hand model; "" = embedded ones, which are built.
    poses: the data set with fits of two hands that AIH_Render shows, a path or NAME[/VARIANT]; "" = the pose bank.
    mano: folder of the user's MANO files, to which the fits of `poses` belong.
    textures: folder of pictures of skin for MANO's mesh with one OBJ file that has their layout, such as HTML's; "" =
      skin is drawn.
    upright_deg: of embedded hands: how far a camera stands from their front and is turned, at most.
    background_dir: folder of pictures that join the procedural backgrounds of AIH_Render.
  """

  train: int = 10_000
  val: int = 1_000
  test: int = 1_000
  seed: int = 0
  variant: str = "full"
  singles: str = ""
  poses: str = ""
  mano: str = ""
  textures: str = ""
  upright_deg: float = 180.0
  background_dir: str | None = None

  def __post_init__(self) -> None:
    if self.variant not in VARIANTS:
      raise ValueError(f"variant is {self.variant!r}, expected one of {', '.join(VARIANTS)}")
    if bool(self.poses) != bool(self.mano):
      raise ValueError("poses and mano go together: the fits of a data set, and your files of their hand model")
    if self.textures and not self.poses:
      raise ValueError("textures are for MANO's mesh: they go with poses and mano")
    _ = self.embedded_pairs  # checks the rest

  @property
  def counts(self) -> dict[str, int]:
    return {split: getattr(self, split) for split in SPLITS}

  @property
  def has_syn(self) -> bool:
    return self.variant != RENDER

  @property
  def has_render(self) -> bool:
    return self.variant != SYN

  @property
  def folder_name(self) -> str:
    """Of the data set, without the hash of its arguments."""
    return "aih" if self.variant == "full" else f"aih-{self.variant}"

  @property
  def embedded_pairs(self) -> SyntheticConfig:
    """AIH_Render of the pose bank."""
    return self._embedded("pair", self.counts, "all")

  @property
  def embedded_singles(self) -> SyntheticConfig:
    """What AIH_Syn is made of without `singles`: half as many pictures as records."""
    counts = {split: max(count // 2, _FEWEST_SINGLES) if count else 0 for split, count in self.counts.items()}
    return self._embedded("single", counts, "input")

  def _embedded(self, hands: str, counts: dict[str, int], pictures: str) -> SyntheticConfig:
    return SyntheticConfig(
      train=counts["train"],
      val=counts["val"],
      test=counts["test"],
      seed=self.seed,
      hands=hands,
      pictures=pictures,
      upright_deg=self.upright_deg,
      background_dir=self.background_dir,
    )

  def part_of(self, index: int) -> tuple[str, int]:
    """The part that record `index` of a split belongs to, and its number there."""
    if self.variant != "full":
      return self.variant, index
    period, place = divmod(index, _PERIOD)
    return (RENDER, period) if place == 0 else (SYN, period * (_PERIOD - 1) + place - 1)

  def arguments(self, singles: dict[str, Any] | None, poses: dict[str, Any] | None) -> dict[str, Any]:
    """What decides the records, under the names of the command line's flags.

    Args:
      singles, poses: identities of the data sets that it is made of; None = embedded.
    """
    pairs = self.embedded_pairs.arguments()
    return {
      **self.counts,
      "seed": self.seed,
      "variant": self.variant,
      "singles": singles or (self.embedded_singles.arguments() if self.has_syn else None),
      "poses": poses,
      "upright": self.upright_deg,
      "background-dir": pairs["background-dir"],
      "assets": pairs["assets"],
      "version": VERSION,
      "rendering": pairs["version"],
    }
