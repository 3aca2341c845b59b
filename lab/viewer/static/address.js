// The address of a dashboard says all that is chosen: /d/<uid>?from=…&to=…&refresh=…&var-route=…, as in Grafana.

/** What is chosen now, and how to choose otherwise. */
export class Address {
  constructor(defaults) {
    this.defaults = defaults;
    this.listeners = [];
    addEventListener("popstate", () => this.changed());
  }

  get parameters() {
    return new URLSearchParams(location.search);
  }
  get from() {
    return this.parameters.get("from") || this.defaults.from;
  }
  get to() {
    return this.parameters.get("to") || this.defaults.to;
  }
  get refresh() {
    return this.parameters.get("refresh") ?? this.defaults.refresh;
  }

  /** Values chosen for a variable; none means all. */
  chosen(name) {
    return this.parameters.getAll(`var-${name}`).filter((value) => value !== "$__all" && value !== "All");
  }

  /** Sets parameters: a string, a list of strings, or null to leave one out. */
  set(changes) {
    const parameters = this.parameters;
    for (const [name, value] of Object.entries(changes)) {
      parameters.delete(name);
      for (const one of [value ?? []].flat()) parameters.append(name, one);
    }
    history.pushState(null, "", `${location.pathname}?${parameters}`);
    this.changed();
  }

  /** The address of another dashboard at the same time with the same choices. */
  of(uid) {
    return `/d/${encodeURIComponent(uid)}${location.search}`;
  }

  /** What the server is asked with. */
  search() {
    const parameters = new URLSearchParams({ from: this.from, to: this.to });
    for (const [name, value] of this.parameters) if (name.startsWith("var-")) parameters.append(name, value);
    return parameters.toString();
  }

  onChange(listener) {
    this.listeners.push(listener);
  }
  changed() {
    this.listeners.forEach((listener) => listener());
  }
}
