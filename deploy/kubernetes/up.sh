#!/bin/sh
# Applies an overlay to the cluster of kubectl's current context and waits until everything is running, or deletes it.
#   up.sh up|down [OVERLAY]    default: small
set -eu
cd "$(dirname "$0")/../.."
overlay=deploy/kubernetes/overlays/${2:-small}
[ -d "$overlay" ] || { echo "k8s-up: no overlay ${2:-}: $(ls deploy/kubernetes/overlays | tr '\n' ' ')" >&2; exit 2; }
context=$(kubectl config current-context) || { echo "k8s-up: kubectl has no cluster: kind create cluster" >&2; exit 2; }

if [ "$1" = down ]; then
    echo "k8s-down: deleting the namespace glasshouse and its data from $context"
    kubectl delete -k "$overlay" --ignore-not-found
    exit
fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# `kind load` cannot load an image with BuildKit's attestations from Docker's containerd image store, the default since
# Docker 29 (https://github.com/kubernetes-sigs/kind/issues/3795)
export BUILDX_NO_DEFAULT_ATTESTATIONS=1
# the images exist only locally, so the cluster cannot pull them
case $context in
    kind-*) load() { kind load docker-image --name "${context#kind-}" "$@"; } ;;
    k3d-*) load() { k3d image import -c "${context#k3d-}" "$@"; } ;;
    minikube) load() { for image in "$@"; do minikube --profile "$context" image load "$image"; done; } ;;
    *) load() { echo "k8s-up: $context is not kind, k3d or minikube: the cluster must be able to pull $*" >&2; } ;;
esac
case ${2:-small} in
    production | managed | large)
        moving=$(kubectl kustomize "$overlay" | sed -n 's/^ *-* *image: //p' | grep -v '@sha256:' | sort -u || true)
        [ -z "$moving" ] || { printf 'k8s-up: images without a digest (make k8s-digests):\n%s\n' "$moving" >&2; exit 2; } ;;
    *)
        docker build -q -f service/Dockerfile -t "glasshouse-todo:$version" . >/dev/null
        docker build -q -f lab/Dockerfile -t "glasshouse-lab:$version" . >/dev/null
        load "glasshouse-todo:$version" "glasshouse-lab:$version" ;;
esac

kubectl apply -k "$overlay"
kubectl -n glasshouse get deployments,statefulsets,daemonsets -o name | while read -r each; do
    kubectl -n glasshouse rollout status "$each" --timeout=10m
done
echo "k8s-up: addresses; run each command in its own terminal:"
for part in "gateway 5000" "grafana 3000" "prometheus 9090" "desk 8060"; do
    kubectl -n glasshouse get service "${part% *}" >/dev/null 2>&1 || continue
    echo "  kubectl -n glasshouse port-forward service/$part    # http://127.0.0.1:${part#* }"
done
