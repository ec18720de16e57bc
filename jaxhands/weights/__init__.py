"""NAME.py maps the names in a released network's file to ours; convert.py is the machinery, kept/ the package's own."""
