"""The top of a report: the numbers that are asked for first, with their verdicts, and where they come from."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxhands.evaluation import verdict
from jaxhands.report.charts import number
from jaxhands.report.files import RunFiles
from jaxhands.report.labels import HEADLINE, SHARES, named, unit_of

_TILES = 4
_NOTHING_BESIDE = "nothing plain to compare with"
_SECTION = re.compile(r'<section id="([^"]+)"><h2>(.*?)</h2>')


def headline(run: RunFiles) -> str:
  """Title, tiles, and the origin of the numbers."""
  result = run.result
  where = html.escape(f"{result['dataset']} {result['split']}")
  asked = dict.fromkeys([*(key for key in HEADLINE if key in result["metrics"]), *result["metrics"]])
  judged = sorted(asked, key=lambda key: key not in result.get("verdicts", {}))  # stable: in their order otherwise
  tiles = "".join(_tile(result, key) for key in judged[:_TILES])
  facts = "".join(f"<div><dt>{name}</dt><dd>{told}</dd></div>" for name, told in _facts(run))
  return (
    f"<header><h1>{html.escape(result['system'])} <span>on {where}</span></h1>"
    f'<div class="tiles">{tiles}</div><dl class="facts">{facts}</dl></header>'
  )


def contents(page: str) -> str:
  """Links to the sections of a page."""
  links = [f'<a href="#{name}">{title}</a>' for name, title in _SECTION.findall(page)]
  return f'<nav aria-label="Contents">{"".join(links)}</nav>' if links else ""


def said(answer: Mapping[str, Any], key: str) -> str:
  """The verdict on a metric as HTML, with the plain method's number; "" where there is none."""
  found = answer.get("verdicts", {}).get(key)
  if not found:
    return ""
  kind, exact = found["kind"].replace(" ", "-"), found["baseline"]
  words = html.escape(verdict.words(found["kind"], found["beside"]))
  low, high = found["more"]
  tip = f"{found['beside'].replace('_', ' ')}: {exact:.6g}; difference, 95 %: {low:+.3g} to {high:+.3g}"
  return f'<span class="verdict {kind}" title="{html.escape(tip)}">{words} ({number(exact)})</span>'


def exactly(answer: Mapping[str, Any], key: str) -> str:
  """A value with more digits and its interval, to be shown where it is pointed at."""
  low, high = answer["intervals"][key]
  told = f"{key} {answer['metrics'][key]:.6g} {unit_of(answer, key)}"
  return html.escape(f"{told.rstrip()}, 95 %: {low:.6g} to {high:.6g}")


def _tile(result: Mapping[str, Any], key: str) -> str:
  name, group = named(key)
  title = html.escape(f"{name}, {group}" if group else name)
  unit = unit_of(result, key)
  value = number(result["metrics"][key]) + (f" <small>{html.escape(unit)}</small>" if unit not in SHARES else "")
  below = said(result, key) or f'<span class="verdict few">{_NOTHING_BESIDE}</span>'
  return f'<div title="{exactly(result, key)}"><p>{title}</p><strong>{value}</strong><p>{below}</p></div>'


def _facts(run: RunFiles) -> list[tuple[str, str]]:
  """Where the numbers come from, as (name, HTML); what an older run has not noted is left out."""
  origin, result = run.origin, run.result
  steps = sum(int(lines[-1]["step"]) for lines in run.lines.values())
  seconds = sum(line.get("train/seconds", 0.0) for lines in run.lines.values() for line in lines)
  code = origin.get("code", {})
  commit = code.get("commit", "")[:10] or (f"version {code['version']}" if code else "")
  trained = [f"{steps:,} steps" if steps else "", f"in {_duration(seconds)}" if seconds else ""]
  found = [
    ("size", str(run.config.get("variant", ""))),
    ("evaluated", f"{result['examples']:,} pictures" + _when(origin.get("date", ""))),
    ("trained", " ".join(filter(None, trained))),
    ("code", commit + (" with changes" if code.get("modified") else "")),
    ("device", origin.get("devices", "")),
  ]
  told = [(name, html.escape(text)) for name, text in found if text]
  command = origin.get("command", "")
  return told + ([("command", f"<code>{html.escape(command)}</code>")] if command else [])


def _when(date: str) -> str:
  return f" on {date[:16].replace('T', ' ')} UTC" if date else ""


def _duration(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  parts: Sequence[str] = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s"]
  return " ".join(part for part in parts[: 2 if hours else 3] if part)
