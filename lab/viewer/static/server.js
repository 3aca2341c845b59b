// What the viewer's server is asked for.

/** A problem that the server names, or that it does not answer. */
export class ServerError extends Error {}

/** The dashboards: uid, title, description and number of panels of each. */
export const dashboards = () => ask("/api/dashboards");

/** A dashboard's JSON. */
export const dashboard = (uid) => ask(`/api/dashboards/${encodeURIComponent(uid)}`);

/** The values that each variable can have. */
export const variables = (uid, search) => ask(`/api/dashboards/${encodeURIComponent(uid)}/variables?${search}`);

/** The spans of time to mark on every panel. */
export const annotations = (uid, search) => ask(`/api/dashboards/${encodeURIComponent(uid)}/annotations?${search}`);

/** What a panel's queries answer. */
export const panel = (uid, id, search) => ask(`/api/dashboards/${encodeURIComponent(uid)}/panels/${id}?${search}`);

/** Prometheus: its address, and why it cannot be read, if so; and whether traces can be seen. */
export const parts = () => ask("/api/parts");

/** What the pages of traces ask for, below `/api/tracing/`. */
export const askTracing = (path) => ask(`/api/tracing/${path}`);

async function ask(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: "application/json" } });
  } catch {
    throw new ServerError(`the viewer at ${location.host} does not answer: is \`glasshouse view\` still running?`);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ServerError(body.problem ?? body.detail ?? `${path}: HTTP ${answer.status}`);
  return body;
}
