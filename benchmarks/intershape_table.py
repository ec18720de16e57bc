"""Intershape's table 2 and figure 8 on embedded data: every row with several seeds, one run after the other.

    python -m benchmarks.intershape_table                  # size small, seeds 0 1 2; the same command goes on
    python -m benchmarks.intershape_table --summary        # only the table of what is finished
    python -m benchmarks.intershape_table --seeds 0 --rows "baseline" "our full model"
    python -m benchmarks.intershape_table --size tiny --no-record --config.data.synthetic.test=16   # a try

How runs are named, skipped and recorded: `benchmarks.row_runs`. All rows see the same pictures and, at size `small`,
the heatmaps of the InterNet that comes with the package. A row that is no better than the mean pose has learnt nothing,
is marked, and says nothing about the method.
"""

from __future__ import annotations

from benchmarks import row_runs
from configs.intershape import ROWS

TABLE = row_runs.Table(
  "Intershape, table 2 and figure 8, true scale where no other is named (MRRPE has the predicted one)",
  {row: ("intershape", switch) for row, switch in ROWS.items()},
  (
    "mpjpe/interacting", "pck_auc/interacting", "mpvpe/interacting", "mpjpe/single", "placement", "mrrpe",
    "mpjpe/interacting scale=predicted", "mpvpe/interacting scale=predicted",
  ),
  decisive="mpjpe/all",
)  # fmt: skip


def main() -> None:
  row_runs.main(TABLE, "intershape_table", (__doc__ or "").splitlines()[0])


if __name__ == "__main__":
  main()
