"""The producer side: the command line and what stands behind it. Never imports torch or worker."""
