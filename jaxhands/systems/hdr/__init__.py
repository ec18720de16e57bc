"""HDR (Meng et al., ECCV 2022): segmentation, recovery, single-hand pose, and the pipeline that chains the three."""
