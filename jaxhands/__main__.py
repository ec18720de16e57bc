"""`python -m jaxhands COMMAND`."""

import sys

from jaxhands import cli

if __name__ == "__main__":
  sys.exit(cli.main())
