"""Helpers for the tests: real servers, small corpora, tiny models and processes."""
