// Threshold lines and areas behind signals.

import { faded, named, steps } from "glasshouse/colours.js";

/** Draws the thresholds of the first series that shows them: areas under the series, lines over them. */
export function drawThresholds(chart, shown, theme, isUnder) {
  const line = shown.find((one) => (one.field.custom.thresholdsStyle?.mode ?? "off") !== "off");
  if (!line) return;
  const { mode } = line.field.custom.thresholdsStyle;
  const { ctx, bbox } = chart;
  const bounds = steps(line.field);
  const y = (value) => Math.min(bbox.top + bbox.height, Math.max(bbox.top, chart.valToPos(value, line.scale, true)));
  ctx.save();
  bounds.forEach((step, index) => {
    const colour = named(step.color, theme);
    if (isUnder && mode.includes("area")) {
      const low = step.value === null ? bbox.top + bbox.height : y(step.value);
      const high = index + 1 < bounds.length ? y(bounds[index + 1].value) : bbox.top;
      ctx.fillStyle = colour === "transparent" ? colour : faded(colour, 0.1);
      ctx.fillRect(bbox.left, high, bbox.width, low - high);
    }
    if (!isUnder && step.value !== null && mode !== "area" && step.value <= chart.scales[line.scale].max) {
      ctx.strokeStyle = faded(colour, 0.9);
      ctx.lineWidth = 1.5 * devicePixelRatio;
      ctx.setLineDash(mode.startsWith("dashed") ? [8 * devicePixelRatio, 6 * devicePixelRatio] : []);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y(step.value));
      ctx.lineTo(bbox.left + bbox.width, y(step.value));
      ctx.stroke();
    }
  });
  ctx.restore();
}
