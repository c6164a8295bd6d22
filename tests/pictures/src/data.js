// From the answers of Prometheus to Grafana's data frames, with legends, transformations and field options applied.
import {
  FieldConfigOptionsRegistry, FieldType, ReducerID, applyFieldOverrides, cacheFieldDisplayNames, identityOverrideProcessor, standardTransformers,
  standardTransformersRegistry, standardFieldConfigEditorRegistry, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

const LINES = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', spanNulls: false,
  showPoints: 'auto', pointSize: 5, barAlignment: 0, barWidthFactor: 0.6, stacking: { mode: 'none', group: 'A' },
  axisPlacement: 'auto', axisColorMode: 'text', axisLabel: '', scaleDistribution: { type: 'linear' },
  hideFrom: { legend: false, tooltip: false, viz: false }, thresholdsStyle: { mode: 'off' }, lineStyle: { fill: 'solid' },
  axisSoftMin: undefined, axisSoftMax: undefined, axisCenteredZero: false,
};
const CELLS = { cellOptions: { type: 'auto' }, align: 'auto', inspect: false, width: undefined, filterable: false };

const STANDARD = ['unit', 'decimals', 'min', 'max', 'displayName', 'noValue', 'color', 'thresholds', 'mappings', 'links'];
const option = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path, path, name: path, isCustom, process: identityOverrideProcessor, shouldApply: () => true,
});
const standard = () => STANDARD.map((path) => option(path, false));

standardFieldConfigEditorRegistry.setInit(standard);
const { mergeTransformer, organizeFieldsTransformer, sortByTransformer, filterByValueTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() =>
  [mergeTransformer, organizeFieldsTransformer, sortByTransformer, filterByValueTransformer]
    .map((transformation) => ({ id: transformation.id, name: transformation.name, transformation: async () => transformation })));

/** The options that fields may have: Grafana's own, and those of lines and tables. */
function registry() {
  const custom = Object.keys({ ...LINES, ...CELLS }).map((path) => option(path, true));
  return new FieldConfigOptionsRegistry(() => [...standard(), ...custom]);
}

/** Variables and labels put into a text. */
export function put(text, variables, labels = {}) {
  return String(text ?? '')
    .replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, name) => labels[name] ?? '')
    .replace(/\$\{?(\w+)\}?/g, (all, name) => variables[name] ?? all);
}

function lines(target, series) {
  return series.map(({ metric, values }) => toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000), config: { interval: undefined } },
      { name: 'Value', type: FieldType.number, labels: metric, values: values.map(([, value]) => value),
        config: { displayNameFromDS: put(target.legendFormat, {}, metric) || undefined } },
    ],
  }));
}

function rows(target, series) {
  const names = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))].filter((name) => name !== '__name__');
  return [toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map(({ values }) => values[0][0] * 1000) },
      ...names.map((name) => ({ name, type: FieldType.string, values: series.map(({ metric }) => metric[name] ?? '') })),
      { name: `Value #${target.refId}`, type: FieldType.number, values: series.map(({ values }) => values[0][1]) },
    ],
  })];
}

/** What a panel shows. */
export async function frames(panel, replay, theme) {
  const answer = ({ refId }) =>
    replay.answers.find((one) => one.title === panel.title && one.refId === refId)?.series ?? [];
  const asked = panel.targets.flatMap((target) => (target.format === 'table' ? rows : lines)(target, answer(target)));
  const data = panel.transformations ? await lastValueFrom(transformDataFrame(panel.transformations, asked)) : asked;
  const fieldConfig = structuredClone(panel.fieldConfig);
  const base = { timeseries: LINES, table: CELLS }[panel.type] ?? {};
  fieldConfig.defaults.custom = { ...base, ...fieldConfig.defaults.custom };
  const all = applyFieldOverrides({
    data, fieldConfig, theme, timeZone: 'Europe/Berlin', fieldConfigRegistry: registry(),
    replaceVariables: (text) => put(text, replay.variables),
  });
  cacheFieldDisplayNames(all);
  return all;
}

export const LAST = { calcs: [ReducerID.lastNotNull], values: false };
