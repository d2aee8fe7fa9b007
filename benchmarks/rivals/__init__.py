"""Scripts that score a corpus as people do today, Parquet in, Parquet out."""
