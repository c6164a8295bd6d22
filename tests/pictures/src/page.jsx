// A dashboard: its title and variables, and its panels on Grafana's grid of 24 columns.
import { createTheme, dateTime, getFieldDisplayValues, ThemeContext } from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { LAST, frames, put } from './data.js';

const { board, replay, mode, width } = window.given;
const theme = createTheme({ colors: { mode } });
const CELL = 30, GAP = 8;
const column = (width - 2 * 16 - 23 * GAP) / 24;
const across = (cells) => cells * column + (cells - 1) * GAP;
const down = (cells) => cells * CELL + (cells - 1) * GAP;
const range = { from: dateTime(replay.from * 1000), to: dateTime(replay.to * 1000), raw: {} };
range.raw = { from: range.from, to: range.to };

function shown(panel, data, sparkline) {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: LAST, data, theme, sparkline, timeZone: 'Europe/Berlin',
    replaceVariables: (text) => put(text, replay.variables),
  });
}

function Stat({ panel, data, size }) {
  const { options } = panel;
  const [first] = shown(panel, data, options.graphMode === 'area');
  if (!first) return <BigValue {...size} theme={theme} value={{ text: panel.fieldConfig.defaults.noValue ?? 'No data', numeric: NaN }} colorMode="none" graphMode="none" />;
  return <BigValue {...size} theme={theme} value={first.display} sparkline={first.sparkline} colorMode={options.colorMode}
    graphMode={options.graphMode} textMode={options.textMode} justifyMode="auto" text={options.text} />;
}

function Bars({ panel, data, size }) {
  const values = shown(panel, data, false);
  if (!values.length) return <span>{panel.fieldConfig.defaults.noValue ?? 'No data'}</span>;
  const height = Math.min((size.height - 8 * (values.length - 1)) / values.length, panel.options.maxVizHeight + 8);
  const longest = values.reduce((most, { display }) => (display.title?.length > most.length ? display.title : most), '');
  const said = ({ prefix = '', text, suffix = '' }) => prefix + text + suffix;
  const widest = values.map(({ display }) => display).reduce((most, one) => (said(one).length > said(most).length ? one : most));
  return values.map((value, index) => (
    <div key={index} style={{ marginBottom: 8 }}>
      <BarGauge width={size.width} height={height} value={value.display} field={value.field} display={value.view?.getFieldDisplayProcessor(value.colIndex)}
        theme={theme} orientation="horizontal" displayMode={panel.options.displayMode} itemSpacing={8} lcdCellWidth={8}
        alignmentFactors={{ ...widest, title: longest }} showUnfilled text={{}} valueDisplayMode="text" namePlacement="auto" />
    </div>));
}

function Lines({ panel, data, size }) {
  if (!data.length) return <span>No data</span>;
  return <TimeSeries frames={data} structureRev={1} timeRange={range} timeZone="Europe/Berlin" legend={{ calcs: [], ...panel.options.legend }} {...size} />;
}

const Cells = ({ data, size }) => <Table data={data[0]} {...size} cellHeight="sm" timeRange={range} />;
const KINDS = { stat: Stat, bargauge: Bars, timeseries: Lines, table: Cells };

function Panel({ panel, data }) {
  const { x, y, w, h } = panel.gridPos;
  const [width, height] = [across(w), down(h)];
  const Kind = KINDS[panel.type];
  return (
    <div style={{ position: 'absolute', left: 16 + x * (column + GAP), top: 56 + y * (CELL + GAP), width, height }}>
      <PanelChrome width={width} height={height} title={put(panel.title, replay.variables)} description={panel.description} padding="md">
        {(innerWidth, innerHeight) => <Kind panel={panel} data={data} size={{ width: innerWidth, height: innerHeight }} />}
      </PanelChrome>
    </div>);
}

function Head() {
  const said = board.templating.list.filter(({ hide, type }) => hide !== 2 && type !== 'datasource');
  const value = (name) => (replay.variables[name] === '.*' ? 'All' : replay.variables[name]);
  const part = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 10px', marginLeft: 8 };
  return (
    <div style={{ display: 'flex', alignItems: 'center', padding: '12px 16px', height: 56, fontSize: 14 }}>
      <span style={{ fontSize: 18, fontWeight: 500, marginRight: 16 }}>{board.title}</span>
      {said.map(({ name, label }) => <span key={name} style={part}>{label}: <b>{value(name)}</b></span>)}
    </div>);
}

function Page() {
  const [all, setAll] = useState();
  useEffect(() => {
    Promise.all(board.panels.map((panel) => frames(panel, replay, theme))).then(setAll);
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ background: theme.colors.background.canvas, color: theme.colors.text.primary, minHeight: '100vh', position: 'relative' }}>
        <Head />
        {all && board.panels.map((panel, index) => <Panel key={panel.id} panel={panel} data={all[index]} />)}
      </div>
    </ThemeContext.Provider>);
}

createRoot(document.getElementById('root')).render(<Page />);
