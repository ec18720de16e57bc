"""RESULTS.md: every number of the papers beside ours, what is missing, and all experiments with their origins.

A row of `published.json` names a variant of the paper's config (null: no experiment of ours), or of another `config`,
and, where one run gives several rows, its `method`: one of `eval.methods`. A value is null where the paper has none,
and "unread" where the text that we have cannot be read. `ours_only` of a table are metrics of all its rows that the
paper has not, under further words of the protocol. `same` of a table is what further makes data the same, and concerns
real pictures alone: the `version` of the data; the `depth` of the protocol, but for handedness, which needs none; and
the `variant`'s further words, of released weights. What nobody can compute, the reason why a paper's direction did
not hold, comes from `results/remarks.toml`: for each config a table of texts by the table's source in the paper.
"""

from __future__ import annotations

import importlib.resources
import json
import math
import pathlib
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxhands.evaluation import verdict
from jaxhands.results import directions, form, views
from jaxhands.results.record import code_named
from jaxhands.runs import folder as files

REMARKS = "remarks.toml"
Remarks = Mapping[str, Mapping[str, str]]  # config -> source of a table -> text
Records = Mapping[str, Mapping[str, Any]]
_MISSING, _UNREAD, _NONE = "missing", "unread", "none"
# Words of a variant that change no experiment at the paper's size: its data are all annotations anyway, and where the
# wrists' depths come from is the protocol's.
_SAY_NOTHING = ("all", "rootnet")
_EMBEDDED = ("full", "demo", "other", "studio", "phone", "wide")  # variants of `synthetic`
_USUAL = "demo"  # of these, that experiments are evaluated on


def write(path: pathlib.Path, records: Records, remarks: Remarks | None = None, chosen: Records | None = None) -> None:
  """Writes the page, whole or not at all; arguments as of `page`."""
  with files.written(path) as file:
    file.write(page(records, remarks, chosen).encode())


def read_remarks(folder: pathlib.Path) -> Remarks:
  """What people say to the tables, of the folder of the records.

  Raises:
    ValueError: a remark on a table that no paper has.
  """
  path = folder / REMARKS
  try:
    remarks = tomllib.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else {}
    if any(not isinstance(texts, dict) for texts in remarks.values()):
      raise ValueError("a remark stands outside of the table of its config")
    form.check(remarks, {str: {str: str}})
  except ValueError as error:
    raise files.DamagedFile(path, error, "mend it, as RESULTS.md is written with it") from error
  known = {(paper["config"], table["source"]) for paper in published() for table in paper["tables"]}
  if unknown := sorted({(config, source) for config, texts in remarks.items() for source in texts} - known):
    raise ValueError(f"{path} has a remark on {unknown[0]}; there are the tables {sorted(known)}")
  return remarks


def published() -> list[dict[str, Any]]:
  """The papers with their tables: `published.json` of this package."""
  text = importlib.resources.files("jaxhands.results").joinpath("published.json").read_text(encoding="utf-8")
  return json.loads(text)["papers"]


def page(records: Records, remarks: Remarks | None = None, chosen: Records | None = None) -> str:
  """The page as Markdown.

  Args:
    records: name -> record, of `record.read_all`.
    remarks: of `read_remarks`.
    chosen: of `views.read_all`.
  """
  papers = published()
  bodies = [_paper(paper, records, (remarks or {}).get(paper["config"], {})) for paper in papers]
  rows = [row for paper in papers for table in paper["tables"] for row in _rows(paper, table, records)]
  rows = [row for row in rows if row[3] not in (_UNREAD, _NONE)]
  there = sum(row[-2] != _MISSING for row in rows)
  parts = [
    "# Results",
    "Written by `python -m jaxhands results` from `results/*.json`, one file for each finished experiment, from "
    "`results/views/*.json`, and from the papers' numbers in `jaxhands/results/published.json`. Not to be edited by "
    "hand.",
    f"{len(records)} experiment{'' if len(records) == 1 else 's'}. Of {len(rows)} published numbers, {there} have a "
    f"result of ours on the same data; the other {len(rows) - there} are missing. Rendered hands are the embedded "
    "data: they show the direction of an effect, and their numbers do not compare with those of real pictures. "
    "In brackets: the 95 % interval, by scenes; of several seeds that of their mean, by scenes and seeds, then each of "
    "them. A difference of several seeds has its 95 % by seeds behind ±.",
    "A verdict says how a number stands beside the best plain method, as the mean pose of the training data, the "
    "commonest hands or the mean colour: better or worse is what the 95 % interval of the difference is on one side "
    "of. Older records are judged beside the mean pose alone, by the interval of their own number.",
    *bodies,
    *_views(chosen or {}),
    _experiments(records),
  ]
  return "\n\n".join(parts) + "\n"


def _paper(paper: Mapping[str, Any], records: Records, remarks: Mapping[str, str]) -> str:
  parts = [f"## {paper['name']} ({paper['cite']})"]
  # Of several tables of one source, a remark stands below the last, or the last that has directions.
  by_rank = sorted(paper["tables"], key=lambda table: "directions" in table)
  remarked = {table["source"]: table for table in by_rank}
  for table in paper["tables"]:
    rows = _rows(paper, table, records)
    protocol = ", ".join(f"`{key}={value}`" for key, value in table.get("protocol", {}).items())
    about = [f"{table['data']}.", table.get("note", ""), f"Compared with {protocol}." if protocol else ""]
    head = ("experiment", "split", "metric", "paper", "ours, same data", "ours, rendered hands")
    parts += [
      f"### {table['source']}: {table['about']}",
      " ".join(text for text in about if text),
      _table(head, rows),
    ]
    compared = _directions(paper, table, records)
    if compared:
      head = ("what against what", "metric", "paper", "ours, rendered hands", "direction")
      parts += ["Differences; ours are of runs with the same seed.", _table(head, compared)]
    if table["source"] in remarks and remarked[table["source"]] is table:
      parts.append(remarks[table["source"]].strip())
  return "\n\n".join(parts)


def _directions(paper: Mapping[str, Any], table: Mapping[str, Any], records: Records) -> list[tuple[str, ...]]:
  """Whether what the paper found better is better in ours; nothing where nothing of ours is to be compared."""

  split = _usual_split(records, paper, table)

  def of_row(row: Mapping[str, Any], key: str) -> dict[str, dict[int, float]]:
    return directions.by_size(
      [
        (_size_and_data(record, split), record["seed"], metric["value"])
        for record in records.values()
        if _is_of(record, paper, row) and _is_rendered(record, table)
        for metric in _metrics(record, table.get("protocol", {}), key, row.get("method", ""))
      ]
    )

  return list(directions.rows(table, of_row))


def _rows(paper: Mapping[str, Any], table: Mapping[str, Any], records: Records) -> list[tuple[str, ...]]:
  """One for each published number, and for each number of ours beside them."""
  rows, split = [], _usual_split(records, paper, table)
  for row in table["rows"]:
    ours = [record for record in records.values() if _is_of(record, paper, row)]
    on_same_data = [record for record in records.values() if _is_on_same_data(record, paper, table, row)]
    published_of_row = zip(table["metrics"], row["values"], strict=True)
    wanted: list[tuple[str, str, Any, Mapping[str, str]]] = [
      (key, unit, value, {}) for (key, unit), value in published_of_row if value is not None
    ]
    wanted += [(key, unit, _NONE, words) for key, unit, words in table.get("ours_only", ())]
    for key, unit, value, words in wanted:
      protocol = table.get("protocol", {}) | words
      method, of_same = row.get("method", ""), protocol | _depth_of_same(table, key)
      records_of_row = [(record, metric) for record in ours for metric in _metrics(record, protocol, key, method)]
      same = [(record, metric) for record in on_same_data for metric in _metrics(record, of_same, key, method)]
      if value == _NONE and not records_of_row and not same:
        continue
      rendered: dict[str, list[Mapping[str, Any]]] = {}
      for record, metric in records_of_row:
        if _is_rendered(record, table):
          rendered.setdefault(_size_and_data(record, split), []).append(metric)
      by_size = [f"{size}: {_numbers(found)}" for size, found in rendered.items()]
      ours_same = (
        _numbers([metric for _, metric in same]) + _lacks([record for record, _ in same]) if same else _MISSING
      )
      said = value if value in (_UNREAD, _NONE) else f"{value:g} {unit}".strip()
      rows.append((
        row["what"], row["split"], ", ".join([key, *(f"{word}={words[word]}" for word in words)]), said,
        ours_same, "; ".join(by_size) or _MISSING,
      ))  # fmt: skip
  return rows


def _size(record: Mapping[str, Any]) -> str:
  return record["variant"].split("-")[0]


def _usual_split(records: Records, paper: Mapping[str, Any], table: Mapping[str, Any]) -> str:
  """The split of the usual rendered data that most of a table's experiments are evaluated on."""
  splits = [
    record["split"]
    for record in records.values()
    if _is_rendered(record, table)
    and record["dataset"].endswith(f"/{_USUAL}")
    and any(_is_of(record, paper, row) for row in table["rows"])
  ]
  return statistics.mode(splits) if splits else ""


def _size_and_data(record: Mapping[str, Any], usual_split: str) -> str:
  """What numbers of ours must have in common to be seeds of one experiment; data are named where they are unusual."""
  usual = record["dataset"].endswith(f"/{_USUAL}") and record["split"] == usual_split
  return _size(record) if usual else f"{_size(record)} on {record['dataset']} {record['split']}"


def _is_of(record: Mapping[str, Any], paper: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
  """Whether a record is of a row's variant, whatever its size."""
  variant, config = row["variant"], row.get("config", paper["config"])
  return variant is not None and record["config_name"] == config and _words(record) == _split(variant)


def _is_on_same_data(
  record: Mapping[str, Any], paper: Mapping[str, Any], table: Mapping[str, Any], row: Mapping[str, Any]
) -> bool:
  """Whether a record is a row's experiment at the paper's size, on its data in their version."""
  same = table.get("same", {})
  if row["variant"] is None or record["config_name"] != row.get("config", paper["config"]):
    return False
  words = [word for word in _words(record) if word not in _SAY_NOTHING]
  return (
    (_size(record), record["dataset"], record["split"]) == ("paper", table["dataset"], row["split"])
    and words == _split(row["variant"]) + _split(same.get("variant", ""))
    and ("version" not in same or _versions(record, table["dataset"]) == {same["version"]})
  )


def _versions(record: Mapping[str, Any], dataset: str) -> set[Any]:
  """Of a table's data: what a record was evaluated on, and what of the same builder it learnt from."""
  builder = dataset.partition("/")[0]
  learnt = [data for entry in record["trained_with"] for data in entry["data"] if data.get("builder") == builder]
  return {data.get("version") for data in (*record["evaluated_with"]["data"], *learnt)}


def _depth_of_same(table: Mapping[str, Any], key: str) -> dict[str, str]:
  """The protocol's depth that a metric of the same data has, where the table says one and the metric needs any."""
  same = table.get("same", {})
  return {"depth": same["depth"]} if "depth" in same and not key.startswith("handedness") else {}


def _words(record: Mapping[str, Any]) -> list[str]:
  """Of a record's variant, without its size."""
  return record["variant"].split("-")[1:]


def _split(variant: str) -> list[str]:
  return variant.split(",") if variant else []


def _is_rendered(record: Mapping[str, Any], table: Mapping[str, Any]) -> bool:
  """Whether a record is of the embedded hands that stand for a table's data: for InterHand2.6M's rendered pictures, for
  MultiHands' those with many annotations; nothing for what the paper only looks at besides."""
  name, _, variant = record["dataset"].partition("/")
  tables_data = table["dataset"].partition("/")[0]
  if tables_data == "multihands":
    return name == "multihands" and variant in _EMBEDDED
  return tables_data == "interhand26m" and name == "synthetic"


def _metrics(
  record: Mapping[str, Any], protocol: Mapping[str, str], key: str, method: str = ""
) -> list[dict[str, Any]]:
  """The metric under a protocol that has the words of `protocol`: the main one, or one of those besides.

  With a `method`, that of the system with other fields (`eval.methods`), or of a baseline.
  """
  if not method and _fits(record["protocol"], protocol):
    return [record["metrics"][key]] if key in record["metrics"] else []
  for entry in record["also"]:
    named = entry["method"] == (method or record["system"])
    if named and _fits(entry["protocol"], protocol) and key in entry["metrics"]:
      return [{"value": entry["metrics"][key]}]
  return []


def _fits(text: str, protocol: Mapping[str, str]) -> bool:
  return {f"{key}={value}" for key, value in protocol.items()} <= set(text.split())


def _numbers(records: Sequence[Mapping[str, Any]]) -> str:
  """One result with its interval, or the mean of several with its own, and each of them."""
  values = [metric["value"] for metric in records]
  mean = statistics.fmean(values)
  text = f"{mean:.4g}"
  if all("interval" in metric for metric in records):
    # All seeds look at the same scenes, so that theirs do not average out; what seeds differ by comes on top.
    low, high = (statistics.fmean(metric["interval"][end] for metric in records) - mean for end in range(2))
    by_seeds = directions.half_interval(values) or 0.0
    text += f" [{mean - math.hypot(low, by_seeds):.4g}, {mean + math.hypot(high, by_seeds):.4g}]"
  return text if len(records) == 1 else f"{text} ({', '.join(f'{value:.4g}' for value in values)})"


def _lacks(records: Sequence[Mapping[str, Any]]) -> str:
  """Names of what the paper has and one of the records has not."""
  names = sorted({text.partition(":")[0] for record in records for text in record.get("accepted", ())})
  return f"; {', '.join(names)}" if names else ""


def _views(chosen: Records) -> list[str]:
  """View selection, if it was measured."""
  if not chosen:
    return []
  about = (
    "HandFlow, section 5.8, on rendered scenes: of the views of a scene the one whose samples deviate least, or most, "
    "or any. Regret is the error less that of the scene's best view; in brackets: the 95 % interval over scenes."
  )
  return ["## View selection", about, _table(views.HEAD, views.rows(chosen))]


def _experiments(records: Records) -> str:
  parts = ["## All experiments"]
  if not records:
    return parts[0] + "\n\nNone yet."
  for name, record in records.items():
    commit = code_named(record["evaluated_with"]["code"])
    data = [f"{entry['name']}:{entry['split']}" for entry in record["evaluated_with"]["data"]]
    trained = [entry["name"] for entry in record["trained_with"][-1]["data"]] if record["trained_with"] else []
    facts = [
      f"`configs/{record['config_name']}.py:{record['variant'].replace('-', ',')}`, seed {record['seed']}",
      f"{record['examples']:,} pictures of {', '.join(data)}"
      + (f", trained on {', '.join(trained)}" if trained else ""),
      f"{commit}, {record['evaluated_with']['devices']}, {record['date']}",
    ]
    rows = [
      (
        key,
        f"{metric['value']:.4g}",
        f"{metric['interval'][0]:.4g} – {metric['interval'][1]:.4g}",
        metric["unit"],
        _verdict(record, key),
      )
      for key, metric in record["metrics"].items()
    ]
    parts += [
      f"### {name}",
      "; ".join(facts) + "." + (f" {record['note']}" if record["note"] else ""),
      *([f"Lacks what the paper has: {'; '.join(record['accepted'])}."] if record.get("accepted") else []),
      f"`{record['protocol']}`",
      _table(("metric", "value", "95 %", "unit", "verdict"), rows),
      *_protocols(record),
      *_methods(record),
    ]
  return "\n\n".join(parts)


def _verdict(record: Mapping[str, Any], key: str) -> str:
  """In the words of the evaluation, with the plain method's number.

  Records of before verdicts were kept are judged beside the mean pose, by the interval of their own value alone.
  """
  if said := verdict.words_of(record, key):
    return f"{said} ({record['verdicts'][key]['baseline']:.4g})"
  if "verdicts" in record or key not in record["mean_pose"]:
    return ""
  mean, metric = record["mean_pose"][key], record["metrics"][key]
  low, high = (end - mean for end in metric["interval"])
  better = "higher" if key.startswith("pck") else "lower"  # of what the mean pose has
  return f"{verdict.words(verdict.judge(metric['value'] - mean, (low, high), better), 'mean pose')} ({mean:.4g})"


def _protocols(record: Mapping[str, Any]) -> list[str]:
  """The same poses compared otherwise: what differs from the first protocol, and the numbers that do."""
  others = [entry for entry in record["also"] if entry["method"] == record["system"] and "differences" not in entry]
  first = set(record["protocol"].split())
  rows = []
  for entry in others:
    words = " ".join(word for word in entry["protocol"].split() if word not in first)
    changed = [
      f"{key} {value:.4g}"
      for key, value in entry["metrics"].items()
      if key not in record["metrics"] or value != record["metrics"][key]["value"]
    ]
    if changed:
      rows.append((f"`{words}`", ", ".join(changed)))
  return [_table(("compared with", "numbers that differ"), rows)] if rows else []


def _methods(record: Mapping[str, Any]) -> list[str]:
  """The system with other fields below itself, with what each has more, if it was evaluated so."""
  others = [entry for entry in record["also"] if "differences" in entry]
  keys = [key for key in record["metrics"] if any(key in entry["differences"] for entry in others)]
  if not keys:
    return []
  rows = [(record["system"], *(f"{record['metrics'][key]['value']:.4g}" for key in keys))]
  for entry in others:
    cells = []
    for key in keys:
      low, high = entry["differences"].get(key, (math.nan, math.nan))
      there = key in entry["differences"] and key in entry["metrics"]
      cells.append(f"{entry['metrics'][key]:.4g} [{low:+.3g}, {high:+.3g}]" if there else "")
    rows.append((entry["method"].replace("_", " "), *cells))
  about = "The same weights with other fields of the system; in brackets: 95 % of what it is more than the first row."
  return [about, _table(("method", *keys), rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [head, ["---"] * len(head), *rows]
  return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
