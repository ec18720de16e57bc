"""What stands beside a system of several parts: itself without some, each part alone, and the time of each step."""

from __future__ import annotations

import html

from jaxhands.report.charts import number
from jaxhands.report.files import RunFiles
from jaxhands.report.headline import exactly, said
from jaxhands.report.labels import HEADLINE, SHARES, named, section, unit_of

_OF_A_PART = 3  # metrics that are shown of each


def methods(run: RunFiles) -> str | None:
  """The system with other fields, beside itself: values, and intervals of what each has more, of the same scenes."""
  result = run.result
  others = [entry for entry in result["also"] if "differences" in entry]
  if not others:
    return None
  family = next(iter(result["metrics"])).split("/")[0]
  keys = [key for key in result["metrics"] if key.split("/")[0] == family]
  rows = [(result["system"], result["metrics"], {})]
  rows += [(entry["method"].replace("_", " "), entry["metrics"], entry["differences"]) for entry in others]
  body = []
  for method, found, differences in rows:
    cells = []
    for key in keys:
      value = f"<strong>{number(found[key])}</strong>" if key in found else ""
      if key in differences and key in found:
        low, high = (f"{end:+.2g}" for end in differences[key])
        value += f"<p>{low} … {high}</p>"
      cells.append(f"<td>{value}</td>")
    body.append(f"<tr><th>{html.escape(method)}</th>{''.join(cells)}</tr>")
  head = "".join(f"<th>{html.escape(named(key)[1] or named(key)[0])}</th>" for key in keys)
  table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
  unit = unit_of(result, keys[0])
  name = named(keys[0])[0] + (f", {unit}" if unit not in (*SHARES, "") else "")
  caption = (
    "The same weights and pictures, with fields of the system changed as <code>eval.methods</code> in the config. "
    "Below a value: 95 % interval, over scenes, of what it is more than the first row's."
  )
  return section(f"What each part brings: {html.escape(name)}", f'<div class="scroll">{table}</div>', caption)


def parts(run: RunFiles) -> str | None:
  """The stages before the last, each evaluated on its own data."""
  rows = []
  for stage, result in run.parts.items():
    keys = [key for key in HEADLINE if key in result["metrics"]][:_OF_A_PART]
    data = f"{result['dataset']} {result['split']}"
    for place, key in enumerate(keys):
      unit = unit_of(result, key)
      title = " ".join(filter(None, named(key))) + (f", {unit}" if unit not in (*SHARES, "") else "")
      low, high = result["intervals"][key]
      rows.append(
        f'<tr title="{exactly(result, key)}">'
        f"<th>{html.escape(stage.replace('_', ' ')) if place == 0 else ''}</th>"
        f'<td class="data">{html.escape(data) if place == 0 else ""}</td>'
        f"<td>{html.escape(title)}</td>"
        f"<td><strong>{number(result['metrics'][key])}</strong></td>"
        f'<td class="interval">{number(low)} – {number(high)}</td>'
        f'<td class="said">{said(result, key)}</td></tr>'
      )
  if not rows:
    return None
  head = '<th>stage</th><th class="data">data</th><th></th><th></th><th class="interval">95 % interval</th><th></th>'
  table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
  caption = "Each stage before the last, evaluated by itself on the data that are named."
  return section("The stages, each on its own", table, caption)


def times(run: RunFiles) -> str | None:
  """Milliseconds of each step of a prediction."""
  if not run.timings:
    return None
  steps = run.timings["ms"]
  rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{number(ms)}</td></tr>" for name, ms in steps.items())
  rows += f"<tr><th>together</th><td><strong>{number(sum(steps.values()))}</strong></td></tr>"
  table = f"<table><thead><tr><th></th><th>ms a picture</th></tr></thead><tbody>{rows}</tbody></table>"
  where = html.escape(f"{run.timings['pictures']} pictures at once on {run.timings['device']}")
  return section("Time of each step", table, f"Median of several runs after compiling; {where}.")
