"""The side of people and schedulers: plan, submit, watch, reprocess. Loads no torch."""
