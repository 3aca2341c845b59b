// Requests to the viewer's server.

/** A problem that the server reports, or that it does not answer. */
export class ServerError extends Error {}

/** The dashboards: uid, title, description and number of panels of each. */
export const dashboards = () => ask("/api/dashboards");

/** A dashboard's JSON. */
export const dashboard = (uid) => ask(`/api/dashboards/${encodeURIComponent(uid)}`);

/** The possible values of each variable. */
export const variables = (uid, search) => ask(`/api/dashboards/${encodeURIComponent(uid)}/variables?${search}`);

/** The annotations: spans of time to mark on every panel. */
export const annotations = (uid, search) => ask(`/api/dashboards/${encodeURIComponent(uid)}/annotations?${search}`);

/** The results of a panel's queries. */
export const panel = (uid, id, search) => ask(`/api/dashboards/${encodeURIComponent(uid)}/panels/${id}?${search}`);

/** Prometheus' address, the reason if it cannot be read, and whether traces are available. */
export const parts = () => ask("/api/parts");

/** Requests of the pages of traces, below `/api/tracing/`. */
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
