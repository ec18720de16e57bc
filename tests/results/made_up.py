"""Made-up records of experiments, and lines of the page made of them."""

from jaxhands.results import page

CODE = {"version": "0.1.0", "commit": "0123456789abcdef", "modified": False}
PROTOCOL = "depth=rootnet root=wrist left_root=relative"


def made_up(variant="paper-human", seed=0, config="internet", value=12.0, dataset="interhand26m", **changes):
  metric = {"value": value, "interval": [value - 1, value + 1], "unit": "mm"}
  return {
    "format": 1, "config_name": config, "variant": variant, "seed": seed, "date": "2026-11-25", "note": "",
    "system": "internet", "dataset": dataset, "split": "test", "examples": 1000, "protocol": PROTOCOL,
    "metrics": {"mpjpe/single": metric, "mrrpe": metric}, "mean_pose": {"mpjpe/single": 30.0},
    "also": [{"protocol": PROTOCOL.replace("relative", "own"), "method": "internet", "metrics": {"mrrpe": 91.5}}],
    "evaluated_with": {
      "code": CODE, "devices": "1 x cpu",
      "data": [{"name": dataset, "split": "test", "examples": 1000, "version": "V1.0"}],
    },
    "trained_with": [{"data": [{"name": f"{dataset}-train", "split": "train"}]}], "config": {},
  } | changes  # fmt: skip


def lines_of(records, *words):
  return [line for line in page.page(records).splitlines() if all(word in line for word in words)]
