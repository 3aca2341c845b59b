#!/bin/sh
# Downloads kubectl to .stack/bin if this machine has none with Kustomize 5: the package of Debian sid, from the mirror
# that this Debian uses, without installing it. If that is not possible, prints why and exits with status 1.
set -eu
cd "$(dirname "$0")/../.."
bin=.stack/bin/kubectl

# whether this kubectl has Kustomize 5
is_new() { "$1" version --client 2>/dev/null | grep -q '^Kustomize Version: v[5-9]'; }
for found in "$bin" "$(command -v kubectl || true)"; do
    [ -z "$found" ] || ! is_new "$found" || exit 0
done

why() { echo "kubectl: $*: checks that need it are skipped" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keyring ] || why "this machine has no kubectl, and is not a Debian that can download sid's"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -nE 's/^(URIs: *|deb +(\[[^]]*\] +)?)(https?:[^ ]*debian\/?)( .*)?$/\3/p' | sed -n 1p)
[ -n "$mirror" ] || why "no Debian mirror among apt's sources"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial"
echo "deb [signed-by=$keyring] $mirror sid main" > "$work/sid.list"
# lists of a mirror that is not updated daily are out of date, but signed
from_sid() {
    apt-get -qq -o Acquire::Check-Valid-Until=false -o Dir::Etc::sourcelist="$work/sid.list" \
        -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$work/lists" \
        -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User="$(id -un)" "$@"
}
from_sid update || why "sid's package lists cannot be downloaded"
(cd "$work" && from_sid download kubectl/sid) || why "sid's kubectl cannot be downloaded"
dpkg-deb -x "$work"/kubectl_*.deb "$work/x"
is_new "$work/x/usr/bin/kubectl" || why "sid's kubectl does not run here"
mkdir -p "${bin%/*}"
mv "$work/x/usr/bin/kubectl" "$bin"
echo "kubectl: $($bin version --client | sed -n '1s/.*: //p'), from Debian sid, is in .stack/bin"
