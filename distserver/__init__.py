"""distserver: an OCI distribution server that keeps clusters pulling when the link is gone."""

__version__ = "0.1.0"
