"""What can be wrong with a download: every finding has a kind, a name and a consequence, and is kept in a list."""

from __future__ import annotations

import collections
import dataclasses
from typing import TextIO

SHOWN = 5  # names of a kind on the terminal

UNUSABLE, LEFT_OUT, MASKED, NOTED = "cannot build", "record left out", "masked", "noted"
# Kind -> what becomes of it. Masked labels are stored as unknown: 0 with their flag False.
KINDS = {
  "missing annotation file": UNUSABLE,
  "broken annotation file": UNUSABLE,
  "missing archive part": NOTED,
  "damaged archive part": NOTED,
  "malformed entry": LEFT_OUT,
  "annotation id twice": LEFT_OUT,
  "annotation without picture entry": LEFT_OUT,
  "picture entry without annotation": NOTED,
  "human id without annotation": NOTED,
  "missing camera": LEFT_OUT,
  "missing 3D joints": LEFT_OUT,
  "bad box": LEFT_OUT,
  "missing picture": LEFT_OUT,
  "cut picture": LEFT_OUT,
  "joint not finite": MASKED,
  "absurd joint": MASKED,
  "MANO parameters not finite": MASKED,
  "MANO fit far from the joints": MASKED,
  "broken RootNet file": NOTED,
  "missing RootNet depth": NOTED,
}


@dataclasses.dataclass
class Problems:
  """Findings in the order in which they come: all in the list, their numbers and the first names in memory."""

  listing: TextIO | None = None  # gets a line for each: kind, split, name, detail, consequence, with tabs between
  counts: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
  first: dict[tuple[str, str], list[str]] = dataclasses.field(default_factory=dict)

  def add(self, kind: str, split: str, name: str, detail: str = "") -> None:
    """Keeps a finding.

    Args:
      kind: of `KINDS`.
      split: where it is, "" = in none.
      name: the file, picture or frame.
      detail: what exactly.
    """
    self.counts[kind, split] += 1
    shown = self.first.setdefault((kind, split), [])
    if len(shown) < SHOWN:
      shown.append(f"{name} ({detail})" if detail else name)
    if self.listing:
      self.listing.write("\t".join((kind, split, name, detail, KINDS[kind])) + "\n")

  def begin_listing(self) -> None:
    """Writes the names of the columns."""
    if self.listing:
      self.listing.write("problem\tsplit\tname\tdetail\tconsequence\n")

  def unusable(self) -> list[str]:
    """The findings without whose mending nothing can be built, a line each."""
    return [name for (kind, _), names in self.first.items() if KINDS[kind] == UNUSABLE for name in names]

  def lines(self) -> list[str]:
    """One line a kind and split: number, consequence, first names."""
    lines = []
    for (kind, split), count in sorted(self.counts.items(), key=lambda item: list(KINDS).index(item[0][0])):
      names = self.first[kind, split]
      more = f", and {count - len(names):,} more" if count > len(names) else ""
      where = f"{split}: " if split else ""
      lines.append(f"{where}{count:,} x {kind} [{KINDS[kind]}]: {', '.join(names)}{more}")
    return lines
