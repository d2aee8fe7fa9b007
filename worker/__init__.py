"""The worker: turns a chunk into a result file.

Importing this package is cheap; torch and transformers are loaded with the first model.
"""

import os

# Nothing is ever fetched from a model hub. The variable is read once, when transformers is first
# imported, and every way there leads through this package.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A thread of PyTorch's that waits for the others asks so often before it sleeps. GNU OpenMP's own
# 300,000 times are a good millisecond of a processor that somebody else could use. Read once, too,
# when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
