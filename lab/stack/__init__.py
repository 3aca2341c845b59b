"""The native stack: the same topology as in Docker, run by supervisor, with configuration derived from Docker's."""
