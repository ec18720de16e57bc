"""The parts of `configs/hdr.py`, one file for each network, and the pipeline that trains and chains them."""
