"""What Kustomize cannot make of the stack's own files for `deploy/kubernetes`: Prometheus' targets, operator's rules.

`make manifests` writes the files. They are committed, so that `kubectl apply -k` needs nothing else, and a test holds
them equal to what would be written now.
"""
