// The module that draws each type of panel.

import { draw as bargauge } from "glasshouse/panels/bargauge.js";
import { draw as gauge } from "glasshouse/panels/gauge.js";
import { draw as heatmap } from "glasshouse/panels/heatmap.js";
import { draw as logs } from "glasshouse/panels/logs.js";
import { draw as stat } from "glasshouse/panels/stat.js";
import { draw as stateTimeline } from "glasshouse/panels/state-timeline.js";
import { draw as table } from "glasshouse/panels/table.js";
import { draw as timeseries } from "glasshouse/panels/timeseries.js";

export const KINDS = { bargauge, gauge, heatmap, logs, stat, "state-timeline": stateTimeline, table, timeseries };
