"""DIGIT's table 2 and section 4.3 on embedded data: every row with several seeds, one run after the other.

    python -m benchmarks.digit_table2                     # size small, seeds 0 1 2; the same command goes on
    python -m benchmarks.digit_table2 --summary           # only the table of what is finished
    python -m benchmarks.digit_table2 --seeds 0 --rows "Baseline" "Baseline + BL"

How runs are named, skipped and recorded: `benchmarks.row_runs`. The data are the same for all seeds.
"""

from __future__ import annotations

from benchmarks import row_runs
from configs.digit import ROWS

TABLE = row_runs.Table(
  "DIGIT, table 2 and section 4.3", {row: ("digit", switch) for row, switch in ROWS.items()},
  ("mpjpe/interacting", "mrrpe", "mpjpe/single", "bone_asymmetry", "iou/parts"),
)  # fmt: skip


def main() -> None:
  row_runs.main(TABLE, "digit_table2", (__doc__ or "").splitlines()[0])


if __name__ == "__main__":
  main()
