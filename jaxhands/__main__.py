"""`python -m jaxhands COMMAND`, and `jaxhands COMMAND`."""

import sys

from jaxhands import cli, huge_pages


def main() -> int:
  """The exit status."""
  huge_pages.start_anew()
  return cli.main()


if __name__ == "__main__":
  sys.exit(main())
