"""The commands of `python -m jaxhands`, one module each; `jaxhands.cli` lists them."""
