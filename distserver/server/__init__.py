"""gunicorn: its settings, our worker, how a file leaves, the request log."""
