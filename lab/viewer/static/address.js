// The address of a dashboard contains all choices, as in Grafana: /d/<uid>?from=…&to=…&refresh=…&var-route=…

/** The current choices, and how to change them. */
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

  /** The values chosen for a variable; an empty list means all. */
  chosen(name) {
    return this.parameters.getAll(`var-${name}`).filter((value) => value !== "$__all" && value !== "All");
  }

  /** Sets parameters: a string, a list of strings, or null to remove one. */
  set(changes) {
    const parameters = this.parameters;
    for (const [name, value] of Object.entries(changes)) {
      parameters.delete(name);
      for (const one of [value ?? []].flat()) parameters.append(name, one);
    }
    history.pushState(null, "", `${location.pathname}?${parameters}`);
    this.changed();
  }

  /** The address of another dashboard with the same time range and choices. */
  of(uid) {
    return `/d/${encodeURIComponent(uid)}${location.search}`;
  }

  /** The parameters of requests to the server. */
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
