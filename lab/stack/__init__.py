"""The stack without Docker: the same topology under supervisor, made from the Docker way's own files."""
