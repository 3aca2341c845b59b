// Keeps a dashboard up to date: requests the visible panels, and refreshes them.

import * as server from "glasshouse/server.js";
import { milliseconds } from "glasshouse/times.js";

/** `view()` returns the context for drawing panels; `report(parts or error)` is called after each refresh. */
export class Live {
  constructor(uid, frames, address, view, report) {
    Object.assign(this, { uid, frames, address, view, report });
    this.marks = [];
    this.round = 0;
    this.inSight = new Set();
    this.answers = new Map();
    this.sight = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: "300px" });
    for (const { root } of frames.values()) this.sight.observe(root);
    address.onChange(() => this.refresh());
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** Requests all visible panels, and again after the chosen interval. A newer round replaces an older one. */
  async refresh() {
    const round = (this.round += 1);
    clearTimeout(this.timer);
    const search = this.address.search();
    this.asked = new Map();
    try {
      const [parts, marks] = await Promise.all([
        server.parts(),
        server.annotations(this.uid, search).catch(() => this.marks),
      ]);
      if (round !== this.round) return;
      this.marks = marks;
      this.report(parts);
      await Promise.all([...this.inSight].map((id) => this.ask(id, search, round)));
    } catch (error) {
      if (round === this.round) this.report(error);
    }
    const pause = milliseconds(this.address.refresh);
    if (round === this.round && pause && !document.hidden) this.timer = setTimeout(() => this.refresh(), pause);
  }

  /** Draws all panels again, as when the theme has changed. */
  redraw() {
    for (const id of this.answers.keys()) this.draw(id);
  }

  async ask(id, search, round) {
    this.asked.set(id, round);
    try {
      const answer = await server.panel(this.uid, id, search);
      if (round !== this.round) return;
      this.answers.set(id, answer);
      this.draw(id);
    } catch (error) {
      if (round === this.round) this.frames.get(id).fail(error.message);
    }
  }

  draw(id) {
    this.frames.get(id).show({ ...this.view(), answer: this.answers.get(id), marks: this.marks });
  }

  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const id = Number(target.dataset.panel);
      if (!isIntersecting) this.inSight.delete(id);
      else {
        this.inSight.add(id);
        if (this.asked && !this.asked.has(id)) this.ask(id, this.address.search(), this.round);
      }
    }
  }
}
