"""Chaos: a real job on a real stack, faults drawn by a seed, and a recount at the end.

`faults` lists what breaks, `stack` is what runs, `checks` what must hold, `driver` the loop that
ties them together, `report` what is written down. `make chaos SEED=7 MINUTES=10` runs it.
"""
