"""The contract between producer and worker: records, states, ledger, object layout, errors.

Imports nothing of `producer` or `worker`, and neither Celery nor torch.
"""

__version__ = "0.1.0"
