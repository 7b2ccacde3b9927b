"""From a float network to integers: calibration, equalisation, quantisation, mixed precision."""
