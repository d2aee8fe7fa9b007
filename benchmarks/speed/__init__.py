"""How fast bulkscore scores, beside what people use today: `python -m benchmarks.speed`."""
