"""Generates the files of `deploy/kubernetes` that Kustomize cannot derive: Prometheus' targets, the operator's rules.

`make manifests` writes them. They are committed, so that `kubectl apply -k` needs nothing else, and a test checks that
they are current.
"""
