// The diamonds of requests whose traces were kept.

/** Draws exemplars as diamonds at their times and values. */
export function drawExemplars(chart, dots, theme) {
  const { ctx } = chart;
  const size = 3.5 * devicePixelRatio;
  ctx.save();
  for (const dot of dots) {
    if (dot.value === null || dot.time < chart.scales.x.min || dot.time > chart.scales.x.max) continue;
    const [x, y] = [chart.valToPos(dot.time, "x", true), chart.valToPos(dot.value, "y", true)];
    ctx.beginPath();
    ctx.moveTo(x, y - size);
    ctx.lineTo(x + size, y);
    ctx.lineTo(x, y + size);
    ctx.lineTo(x - size, y);
    ctx.closePath();
    ctx.fillStyle = theme.text;
    ctx.strokeStyle = theme.ground;
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

/** The exemplar under the pointer, or undefined. */
export function nearestExemplar(chart, dots) {
  const { left, top } = chart.cursor;
  const far = (dot) => Math.hypot(chart.valToPos(dot.time, "x") - left, chart.valToPos(dot.value, "y") - top);
  return dots.filter((dot) => dot.value !== null && far(dot) < 9).sort((a, b) => far(a) - far(b))[0];
}
