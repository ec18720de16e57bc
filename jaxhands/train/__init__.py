"""Training: one loop for every system and any number of devices and processes."""
