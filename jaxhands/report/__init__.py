"""The report of a run: one page that opens without a network, made of what the run has written into its folder."""

from __future__ import annotations

import html
import importlib.resources
import os
import pathlib

from jaxhands.report import mesh_cards
from jaxhands.report.files import RunFiles
from jaxhands.report.headline import contents, headline
from jaxhands.report.sections import SECTIONS
from jaxhands.runs import folder as runs


def write(workdir: pathlib.Path) -> pathlib.Path:
  """Writes `WORKDIR/report/index.html`, whole or not at all, and returns its path.

  Raises:
    FileNotFoundError: the run was not evaluated.
  """
  path = workdir / runs.REPORT
  path.parent.mkdir(exist_ok=True)
  partial = path.with_name("index.html.partial")
  partial.write_text(page(RunFiles.read(workdir)), encoding="utf-8")
  os.replace(partial, path)
  return path


def page(run: RunFiles) -> str:
  """The page as HTML, with everything in it."""
  style = importlib.resources.files("jaxhands.report").joinpath("style.css").read_text(encoding="utf-8")
  title = html.escape(f"{run.result['system']} on {run.result['dataset']} {run.result['split']}")
  sections = "\n".join(text for text in (section(run) for section in SECTIONS) if text)
  body = f"{headline(run)}\n{contents(sections)}\n{sections}"
  model = mesh_cards.model_of(run)
  script = f"{mesh_cards.script(model)}\n" if model is not None and 'class="turn"' in sections else ""
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body><main>\n{body}\n</main>\n{script}</body></html>\n"
  )
