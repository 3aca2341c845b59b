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

// Chromium ends every open request when a network interface appears or disappears (ERR_NETWORK_CHANGED), as each
// container's does: such a request is repeated after these times, in milliseconds.
const RETRY_MS = [200, 500, 1000, 2000];

async function ask(path) {
  const [answer, text] = await send(path, RETRY_MS);
  const body = parsed(text);
  if (!answer.ok) throw new ServerError(body.problem ?? body.detail ?? `${path}: HTTP ${answer.status}`);
  return body;
}

async function send(path, [wait, ...later]) {
  try {
    const answer = await fetch(path, { headers: { Accept: "application/json" } });
    return [answer, await answer.text()];
  } catch {
    if (wait === undefined) {
      throw new ServerError(`the viewer at ${location.host} does not answer: is \`glasshouse view\` still running?`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    return send(path, later);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
