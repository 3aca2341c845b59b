"""Our own rules for every object, in addition to the schemas. Each yields one line per violation."""

import json
import re
from collections.abc import Callable, Iterator

from tests.kubernetes.manifests import NAME, Object, Pods, environment, of_kind, pods

# created by hand, because they are secrets or provided by the cloud
BY_HAND = {
    "Secret/postgres/password",
    "Secret/database/url",
    "Secret/database-exporter/dsn",
    "Secret/object-storage/AWS_ACCESS_KEY_ID",
    "Secret/object-storage/AWS_SECRET_ACCESS_KEY",
}
# services of kube-prometheus-stack, as its chart names them in a release of the same name, and their port
ELSEWHERE = {"kube-prometheus-stack-alertmanager.monitoring.svc": 9093}
# settings whose default is for a single machine
HAS_TO_SAY = {"desk/desk": {"ALERTMANAGER_URL", "DASHBOARDS_URL"}}
OWN_NAMESPACE = re.compile(r"\.glasshouse\.svc(\.cluster\.local)?$")
# only Prometheus discovers pods through the API
MAY_HAVE_TOKEN = {"prometheus"}
# a shell loop without a port: a probe has nothing to check
NEEDS_NO_LIVENESS = {"redis-cluster"}
# containers whose startup probe waits for another part, which a new cluster may start minutes later
WAITS_FOR_OTHERS = {"todo/todo": 300}
# `kubectl apply` stores a copy of the object in an annotation, and the total size of annotations is limited
MAX_BYTES = 256 * 1024
RESTRICTED_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
ADDRESS = re.compile(
    r"(?:\w[\w+]*://(?:[\w.-]+@)?|(?<![\w./-]))([a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*):([0-9]{2,5})(?![\w.])"
)
# settings that are URLs without a port
PORTLESS = re.compile(r"(https?)://(?:[\w.-]+@)?([a-z][a-z0-9.-]*)(?:/|$)")
DEFAULT_PORTS = {"http": "80", "https": "443"}

Rule = Callable[[list[Object]], Iterator[str]]


def images(objects: list[Object]) -> Iterator[str]:
    """Every image has a fixed tag or a digest."""
    for each, box in _containers(objects):
        name, _, tag = box["image"].rpartition(":")
        if "@sha256:" not in box["image"] and (not name or "/" in tag or tag in ("", "latest")):
            yield f"{each.workload}/{box['name']}: image {box['image']} has no fixed tag"


def resources(objects: list[Object]) -> Iterator[str]:
    """Every container has requests and limits of CPU and memory."""
    for each, box in _containers(objects):
        for kind in ("requests", "limits"):
            for what in ("cpu", "memory"):
                if what not in box.get("resources", {}).get(kind, {}):
                    yield f"{each.workload}/{box['name']}: no {kind} of {what}"


def probes(objects: list[Object]) -> Iterator[str]:
    """Every long-running container has a readiness and a liveness probe."""
    for each in pods(objects):
        if each.kind == "Job":
            continue
        for box in each.containers:
            if "readinessProbe" not in box:
                yield f"{each.workload}/{box['name']}: no readinessProbe"
            if "livenessProbe" not in box and each.name not in NEEDS_NO_LIVENESS:
                yield f"{each.workload}/{box['name']}: no livenessProbe"
            startup, least = box.get("startupProbe", {}), WAITS_FOR_OTHERS.get(f"{each.workload}/{box['name']}", 0)
            if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < least:
                yield f"{each.workload}/{box['name']}: is restarted while what it waits for starts"
            names = {port["name"] for port in box.get("ports", [])}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                how = box.get(probe, {})
                port = (how.get("httpGet") or how.get("tcpSocket") or {}).get("port")
                if isinstance(port, str) and port not in names:
                    yield f"{each.workload}/{box['name']}: {probe} at port {port}, which it does not have"


def confinement(objects: list[Object]) -> Iterator[str]:
    """The restricted Pod Security Standard, and in addition a read-only root file system and no tokens."""
    for each in pods(objects):
        spec, context = each.spec, each.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{each.workload}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{each.workload}: no seccomp profile"
        if spec.get("automountServiceAccountToken", True) and each.name not in MAY_HAVE_TOKEN:
            yield f"{each.workload}: has a service account's token"
        for what in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(what):
                yield f"{each.workload}: {what}"
        if spec.get("shareProcessNamespace") and len(each.containers) > 1:
            yield f"{each.workload}: its containers can signal each other's processes, and read their environment"
        for volume in spec.get("volumes", []):
            for kind in volume.keys() - {"name"} - RESTRICTED_VOLUMES:
                yield f"{each.workload}: volume {volume['name']} is a {kind}"
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{each.workload}: volume {volume['name']} may fill the node's disk"
        for box in each.all_containers:
            own, where = box.get("securityContext", {}), f"{each.workload}/{box['name']}"
            if own.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: may gain privileges"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or "add" in own.get("capabilities", {}):
                yield f"{where}: keeps capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: can write to its root file system"
            if own.get("runAsUser") == 0 or own.get("privileged"):
                yield f"{where}: runs as root"
            if any("hostPort" in port for port in box.get("ports", [])):
                yield f"{where}: has a port of the host's"


def labels(objects: list[Object]) -> Iterator[str]:
    """Every object has the labels of its part and of the whole."""
    for each in objects:
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "glasshouse":
            yield f"{each['kind']}/{each['metadata']['name']}: is part of nothing"
    for each in pods(objects):
        # the names of a load's Jobs end in the name of the run
        if not f"{each.workload}-".startswith(f"{each.name}-"):
            yield f"{each.workload}: its pods are called {each.name}"


def references(objects: list[Object]) -> Iterator[str]:
    """Every referenced object exists, with the referenced key."""
    known = {
        f"{each['kind']}/{each['metadata']['name']}/{key}"
        for each in objects
        if each["kind"] in ("ConfigMap", "Secret")
        for key in {**each.get("data", {}), **each.get("stringData", {})}
    } | BY_HAND
    whole = {key.rpartition("/")[0] for key in known}
    for each in pods(objects):
        for box in each.all_containers:
            where = f"{each.workload}/{box['name']}"
            for source in box.get("envFrom", []):
                for kind, reference in source.items():
                    if f"{kind[:1].upper()}{kind[1:-3]}/{reference['name']}" not in whole:
                        yield f"{where}: no {kind} {reference['name']}"
            for variable in box.get("env", []):
                for kind, reference in variable.get("valueFrom", {}).items():
                    if kind in ("configMapKeyRef", "secretKeyRef"):
                        name = f"{kind[:1].upper()}{kind[1:-6]}/{reference['name']}/{reference['key']}"
                        if name not in known:
                            yield f"{where}: {variable['name']} comes from {name}, which is not there"
            names = {volume["name"] for volume in each.spec.get("volumes", [])}
            names |= {claim["metadata"]["name"] for claim in each.owner["spec"].get("volumeClaimTemplates", [])}
            for mount in box.get("volumeMounts", []):
                if mount["name"] not in names:
                    yield f"{where}: mounts {mount['name']}, which is no volume"
        for volume in each.spec.get("volumes", []):
            sources = [volume, *volume.get("projected", {}).get("sources", [])]
            for source in sources:
                for kind, key in (("configMap", "name"), ("secret", "secretName" if source is volume else "name")):
                    if kind not in source:
                        continue
                    name = f"{kind[:1].upper()}{kind[1:]}/{source[kind][key]}"
                    if name not in whole:
                        yield f"{each.workload}: volume {volume['name']} is {name}, which is not there"
                    for item in source[kind].get("items", []):
                        if f"{name}/{item['key']}" not in known:
                            yield f"{each.workload}: volume {volume['name']} wants {name}/{item['key']}"
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in of_kind(objects, "PersistentVolumeClaim"):
                yield f"{each.workload}: no claim {claim}"
        account = each.spec.get("serviceAccountName")
        if account and account not in of_kind(objects, "ServiceAccount"):
            yield f"{each.workload}: no service account {account}"
        if each.kind == "StatefulSet":
            service = of_kind(objects, "Service").get(each.owner["spec"]["serviceName"])
            if not service:
                yield f"{each.workload}: no service {each.owner['spec']['serviceName']}"
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for name, binding in of_kind(objects, kind).items():
            if binding["roleRef"]["name"] not in of_kind(objects, binding["roleRef"]["kind"]):
                yield f"{kind}/{name}: no role {binding['roleRef']['name']}"
            for subject in binding["subjects"]:
                if (
                    subject["name"] not in of_kind(objects, "ServiceAccount")
                    or subject.get("namespace") != "glasshouse"
                ):
                    yield f"{kind}/{name}: no subject {subject['name']} in {subject.get('namespace')}"
    for name, scaler in of_kind(objects, "HorizontalPodAutoscaler").items():
        target = scaler["spec"]["scaleTargetRef"]
        scaled = of_kind(objects, target["kind"]).get(target["name"])
        if not scaled:
            yield f"HorizontalPodAutoscaler/{name}: no {target['kind']} {target['name']}"
        elif "replicas" in scaled["spec"]:
            yield f"HorizontalPodAutoscaler/{name}: every apply would set back the replicas of {target['name']}"


def selectors(objects: list[Object]) -> Iterator[str]:
    """Every selector finds pods, and every port that a Service names or numbers is one of theirs."""
    everything = pods(objects)
    for each in everything:
        chosen = each.owner["spec"].get("selector", {}).get("matchLabels")
        if each.kind != "Job" and (not chosen or not _matches(chosen, each)):
            yield f"{each.workload}: its selector does not find its own pods"
        for other in everything:
            if chosen and other is not each and _matches(chosen, other):
                yield f"{each.workload}: its selector finds the pods of {other.workload}"
        for constraint in each.spec.get("topologySpreadConstraints", []):
            if not _matches(constraint["labelSelector"]["matchLabels"], each):
                yield f"{each.workload}: spreads other pods than its own"
    for name, service in of_kind(objects, "Service").items():
        if service["spec"].get("type") == "ExternalName":
            continue
        chosen_pods = [each for each in everything if _matches(service["spec"].get("selector"), each)]
        if not chosen_pods:
            yield f"Service/{name}: finds no pods"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for each in chosen_pods:
                if not any(target in (label, number) for label, number, _ in each.ports()):
                    yield f"Service/{name}: {each.workload} has no port {target}"
                elif service["spec"].get("clusterIP") == "None" and (
                    port["port"] not in {n for _, n, _ in each.ports()}
                ):
                    yield f"Service/{name}: headless, and {port['port']} is no port of {each.workload}"
    for name, budget in of_kind(objects, "PodDisruptionBudget").items():
        if not any(_matches(budget["spec"]["selector"]["matchLabels"], each) for each in everything):
            yield f"PodDisruptionBudget/{name}: finds no pods"
    for name, policy in of_kind(objects, "NetworkPolicy").items():
        chosen_pods = [
            each for each in everything if _matches(policy["spec"]["podSelector"].get("matchLabels", {}), each)
        ]
        if not chosen_pods:
            yield f"NetworkPolicy/{name}: finds no pods"
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for number, rule in enumerate(policy["spec"].get(direction, [])):
                if rule in policy["spec"][direction][:number]:
                    yield f"NetworkPolicy/{name}: {direction} has a rule twice"
                if not rule:
                    yield f"NetworkPolicy/{name}: {direction} allows everything"
                    continue
                found = [
                    each
                    for peer in rule.get(peers, [])
                    if "podSelector" in peer and "namespaceSelector" not in peer
                    for each in everything
                    if _matches(peer["podSelector"].get("matchLabels", {}), each)
                ]
                if (
                    any("podSelector" in peer and "namespaceSelector" not in peer for peer in rule.get(peers, []))
                    and not found
                ):
                    yield f"NetworkPolicy/{name}: {direction} {peers} nobody"
                ends = chosen_pods if direction == "ingress" else found
                for port in rule.get("ports", []):
                    for each in ends:
                        if not any(port["port"] in (label, number) for label, number, _ in each.ports()):
                            yield f"NetworkPolicy/{name}: {each.workload} has no port {port['port']}"


def addresses(objects: list[Object]) -> Iterator[str]:
    """Every URL or `name:port` in a setting refers to a service and one of its ports; required settings exist."""
    services = of_kind(objects, "Service")
    hosts = {name: {port["port"] for port in each["spec"].get("ports", [])} for name, each in services.items()}
    for each in pods(objects):
        if each.kind == "StatefulSet":
            first = each.owner["spec"].get("ordinals", {}).get("start", 0)
            for number in range(first, first + each.owner["spec"]["replicas"]):
                service = each.owner["spec"]["serviceName"]
                hosts[f"{each.workload}-{number}.{service}"] = hosts.get(service, set())
    hosts |= {host: {port} for host, port in ELSEWHERE.items()}
    for where, text in _settings(objects):
        portless = [(host, DEFAULT_PORTS[scheme]) for scheme, host in PORTLESS.findall(text)]
        for host, port in ADDRESS.findall(text) + portless:
            name = OWN_NAMESPACE.sub("", host)
            if host in ("localhost", "localhost.localdomain"):
                continue
            if name not in hosts:
                yield f"{where}: {host}:{port} leads to no service"
            elif int(port) not in hosts[name]:
                yield f"{where}: {host} has no port {port}"
    for each, box in _containers(objects):
        where = f"{each.workload}/{box['name']}"
        if where in HAS_TO_SAY:
            for name in sorted(HAS_TO_SAY[where] - environment(objects, box).keys()):
                yield f"{where}: {name} is not set, and leads to its own pod then"


def availability(objects: list[Object]) -> Iterator[str]:
    """Several pods of the same kind are not evicted together, and are on different machines if there are some.

    A pod that does not work can always be evicted; by default it would prevent the drain of its node.
    """
    budgets = of_kind(objects, "PodDisruptionBudget").values()
    for name, budget in of_kind(objects, "PodDisruptionBudget").items():
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"PodDisruptionBudget/{name}: a broken pod prevents the drain of its node"
    for each in pods(objects):
        if each.kind not in ("Deployment", "StatefulSet") or each.owner["spec"].get("replicas", 3) < 2:
            continue
        if not any(_matches(budget["spec"]["selector"]["matchLabels"], each) for budget in budgets):
            yield f"{each.workload}: no PodDisruptionBudget"
        spreads = [c["topologyKey"] for c in each.spec.get("topologySpreadConstraints", [])]
        if "kubernetes.io/hostname" not in spreads and "podAntiAffinity" not in each.spec.get("affinity", {}):
            yield f"{each.workload}: its pods may all be on one machine"


def sizes(objects: list[Object]) -> Iterator[str]:
    """Every object is small enough for a client-side `kubectl apply`."""
    for each in objects:
        size = len(json.dumps(each, separators=(",", ":")))
        if size > MAX_BYTES:
            yield f"{each['kind']}/{each['metadata']['name']}: {size} bytes do not fit into an annotation"


RULES: tuple[Rule, ...] = (
    images, resources, probes, confinement, labels, references, selectors, addresses, availability, sizes,
)  # fmt: skip


def complaints(objects: list[Object]) -> list[str]:
    return [line for rule in RULES for line in rule(objects)]


def _containers(objects: list[Object]) -> Iterator[tuple[Pods, Object]]:
    for each in pods(objects):
        for box in each.all_containers:
            yield each, box


def _matches(selector: dict[str, str] | None, each: Pods) -> bool:
    return selector is not None and selector.items() <= each.labels.items()


def _settings(objects: list[Object]) -> Iterator[tuple[str, str]]:
    """Texts that refer to other parts: settings, arguments, configuration; not rules, scripts or dashboards."""
    for each, box in _containers(objects):
        where = f"{each.workload}/{box['name']}"
        for variable in box.get("env", []):
            yield where, variable.get("value", "")
        yield from ((where, text) for text in box.get("args", []))
    for name, probe in of_kind(objects, "Probe").items():
        for text in (probe["spec"]["prober"]["url"], *probe["spec"]["targets"]["staticConfig"]["static"]):
            yield f"Probe/{name}", text
    for each in objects:
        name = each["metadata"]["name"]
        if each["kind"] == "ConfigMap" and NAME not in each["metadata"].get("labels", {}):
            for key, text in each["data"].items():
                if not name.startswith(
                    ("alert-rules", "recording-rules", "dashboard-", "gateway")
                ) and not key.endswith(".sh"):
                    yield f"ConfigMap/{name}/{key}", re.sub(r"(?m)^\s*#.*$", "", text)
