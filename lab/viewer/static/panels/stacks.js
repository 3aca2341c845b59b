// What of a series is drawn where: on top of others, and over gaps.

/** Rows of values as they are drawn: gaps bridged where the field says so, and stacked series on top of each other. */
export function stacked(shown, answer) {
  const totals = new Map();
  const last = new Map();
  const lower = [];
  const rows = shown.map((line, index) => {
    const values = bridged(line.values, line.field.custom.spanNulls, answer.step);
    const { mode, group = "A" } = line.field.custom.stacking ?? {};
    if (mode !== "normal" && mode !== "percent") return values;
    const below = totals.get(group) ?? values.map(() => 0);
    const sum = values.map((value, at) => below[at] + (value ?? 0));
    totals.set(group, sum);
    lower[index] = last.get(group);
    last.set(group, index);
    return sum;
  });
  // uPlot counts the row of times as the first; a band keeps a series' area from reaching below the series under it
  const bands = lower.flatMap((below, index) => (below === undefined ? [] : [{ series: [index + 1, below + 1] }]));
  return { rows, bands };
}

// uPlot bridges what is undefined and leaves a gap where there is null
function bridged(values, spanNulls, step) {
  if (!spanNulls) return values;
  const longest = spanNulls === true ? Infinity : spanNulls / 1000;
  const row = [...values];
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] !== null) continue;
    let end = at;
    while (end < row.length && row[end] === null) end += 1;
    if (at > 0 && end < row.length && (end - at + 1) * step <= longest) row.fill(undefined, at, end);
    at = end;
  }
  return row;
}
