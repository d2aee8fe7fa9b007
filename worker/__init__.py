"""The worker: turns a chunk into a result file.

Importing this package is cheap; torch and transformers are loaded with the first model.
"""

import os

# Nothing is ever fetched from a model hub. The variable is read once, when transformers is first
# imported, and every way there leads through this package.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
