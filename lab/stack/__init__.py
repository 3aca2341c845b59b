"""The stack: starts the native one, and acts on the running one, whether native, in Docker or on Kubernetes.
The native stack has the same topology as in Docker, under supervisor, with configuration derived from Docker's.
"""
