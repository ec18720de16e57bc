"""What can be wrong with a download: every finding has a kind, a name and a consequence, and is kept in a list."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import TextIO

SHOWN = 5  # names of a kind on the terminal
_IN_ONE_LINE = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})  # of names as a download may have them

UNUSABLE, LEFT_OUT, MASKED, NOTED = "cannot build", "record left out", "masked", "noted"


@dataclasses.dataclass
class Problems:
  """Findings in the order in which they come: all in the list, their numbers and the first names in memory."""

  consequence: Mapping[str, str]  # kind -> what becomes of it, one of those above
  listing: TextIO | None = None  # gets a line for each: kind, split, name, detail, consequence, with tabs between
  counts: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
  first: dict[tuple[str, str], list[str]] = dataclasses.field(default_factory=dict)

  def add(self, kind: str, split: str, name: str, detail: str = "") -> None:
    """Keeps a finding.

    Args:
      kind: of `consequence`.
      split: where it is, "" = in none.
      name: the file, picture or frame; tabs and ends of lines in it are written as \\t and \\n.
      detail: what exactly; the same.
    """
    name, detail = name.translate(_IN_ONE_LINE), detail.translate(_IN_ONE_LINE)
    self.counts[kind, split] += 1
    shown = self.first.setdefault((kind, split), [])
    if len(shown) < SHOWN:
      shown.append(f"{name} ({detail})" if detail else name)
    if self.listing:
      self.listing.write("\t".join((kind, split, name, detail, self.consequence[kind])) + "\n")

  def begin_listing(self) -> None:
    """Writes the names of the columns."""
    if self.listing:
      self.listing.write("problem\tsplit\tname\tdetail\tconsequence\n")

  def unusable(self) -> list[str]:
    """The findings without whose mending nothing can be built, a line each."""
    return [name for (kind, _), names in self.first.items() if self.consequence[kind] == UNUSABLE for name in names]

  def lines(self) -> list[str]:
    """One line a kind and split: number, consequence, first names."""
    lines = []
    for (kind, split), count in sorted(self.counts.items(), key=lambda item: list(self.consequence).index(item[0][0])):
      names = self.first[kind, split]
      more = f", and {count - len(names):,} more" if count > len(names) else ""
      where = f"{split}: " if split else ""
      lines.append(f"{where}{count:,} x {kind} [{self.consequence[kind]}]: {', '.join(names)}{more}")
    return lines
