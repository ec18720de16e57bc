"""Configs: where they lie, the flags that change them, what their values may be."""
