"""The embedded hand model's arrays, and the scripts that make them."""
