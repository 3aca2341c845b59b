// What a dashboard's JSON may hold: Grafana's types, with the strings that its enums stand for, Prometheus' queries for
// any data source's, and the options of the kinds of panels that we use.
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel } from "@grafana/schema";
import type { Options as BarGauge } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type { Options as Gauge } from "@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as states from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type { Options as Text } from "@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen";
import type * as lines from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// an enum's member as the string that JSON has
type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer Item>
      ? Plain<Item>[]
      : T extends object
        ? { [Name in keyof T]: Plain<T[Name]> }
        : T;
// panels leave out what Grafana has a default for
type Partly<T> = T extends Array<infer Item>
  ? Partly<Item>[]
  : T extends object
    ? { [Name in keyof T]?: Partly<T[Name]> }
    : T;

type Query = {
  refId: string;
  expr: string;
  datasource?: { type: "prometheus"; uid: "prometheus" };
  range?: boolean;
  instant?: boolean;
  exemplar?: boolean;
  legendFormat?: string;
  format?: "time_series" | "table" | "heatmap";
  interval?: string;
};
// what Tempo and Loki are asked is theirs
type TraceQuery = {
  refId: string;
  datasource: { type: "tempo" | "loki"; uid: "tempo" | "loki" };
  [option: string]: unknown;
};
type Overrides = NonNullable<Plain<Panel>["fieldConfig"]>["overrides"];
type Drawn<Kind extends string, Options, Field = Record<string, never>> = Omit<
  Plain<Panel>,
  "type" | "options" | "fieldConfig" | "targets"
> & {
  type: Kind;
  targets: (Query | TraceQuery)[];
  options?: Partly<Plain<Options>>;
  fieldConfig: {
    defaults: Omit<Plain<FieldConfig>, "custom"> & { custom?: Partly<Plain<Field>> };
    overrides: Overrides;
  };
};
type Words = Omit<Plain<Panel>, "type" | "options"> & { type: "text"; options?: Partly<Plain<Text>> };
type Other = Omit<Plain<Panel>, "type" | "targets"> & { type: "traces" | "logs" | "nodeGraph"; targets: TraceQuery[] };
type Mark = Omit<Plain<AnnotationQuery>, "target"> & {
  target: Query;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
  useValueForTime: boolean;
};

export type Built = Omit<Plain<Dashboard>, "panels" | "annotations" | "schemaVersion"> & {
  schemaVersion: 42;
  annotations: { list: Mark[] };
  panels: (
    | (Omit<Plain<RowPanel>, "panels"> & { panels: never[] })
    | Drawn<"timeseries", lines.Options, lines.FieldConfig>
    | Drawn<"stat", Stat>
    | Drawn<"gauge", Gauge>
    | Drawn<"bargauge", BarGauge>
    | Drawn<"heatmap", heatmap.Options, heatmap.FieldConfig>
    | Drawn<"state-timeline", states.Options, states.FieldConfig>
    | Drawn<"table", table.Options, table.FieldConfig>
    | Words
    | Other
  )[];
};
