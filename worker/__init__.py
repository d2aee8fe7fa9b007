"""The worker: turns a chunk into a result file.

Importing this package is cheap; torch and transformers are loaded with the first model.
"""
