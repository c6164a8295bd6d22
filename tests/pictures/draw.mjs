// Draws the dashboards from the answers that the test kept:
//
//     node draw.mjs ANSWERS_FOLDER [OUT_FOLDER] [dark|light]
//
// Bundles src/page.jsx, gives it a dashboard and its answers, and takes a picture with headless Chromium.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const [answers, out = join(here, 'out'), mode = 'dark', only] = process.argv.slice(2);
const boards = only ? [only] : ['fleet', 'team', 'gpu', 'accounting'];
const width = 1480;

// In files that end in .mjs esbuild takes the default export of a CommonJS package for the whole of it, as Node does;
// Grafana's are meant for bundlers that do not. So it is told another name of them.
const plain = {
  name: 'plain',
  setup({ onResolve, onLoad, resolve: find }) {
    onResolve({ filter: /./ }, async ({ path, pluginData, kind, resolveDir, importer, namespace }) => {
      if (pluginData === 'asked' || kind === 'entry-point') return undefined;
      const found = await find(path, { kind, resolveDir, importer, namespace: 'file', pluginData: 'asked' });
      return /@grafana.*\.mjs$/.test(found.path) ? { path: `${found.path}.js`, namespace: 'plain' } : found;
    });
    onLoad({ filter: /./, namespace: 'plain' }, ({ path }) => {
      const file = path.slice(0, -3);
      return { contents: readFileSync(file), loader: 'js', resolveDir: dirname(file) };
    });
  },
};

mkdirSync(out, { recursive: true });
const bundle = await build({
  entryPoints: [join(here, 'src/page.jsx')],
  bundle: true, minify: true, write: false, outdir: out, format: 'iife', jsx: 'automatic', logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  plugins: [plain],
  loader: { '.svg': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' },
});
const part = (end) => bundle.outputFiles.find(({ path }) => path.endsWith(end)).text;
const program = part('.js').replaceAll('</script', '<\\/script');

for (const name of boards) {
  const board = JSON.parse(readFileSync(join(here, '../../dashboards', `${name}.json`)));
  const replay = JSON.parse(readFileSync(join(answers, `${name}.json`)));
  const given = JSON.stringify({ board, replay, mode, width }).replaceAll('<', '\\u003c');
  const page = resolve(out, `${name}.html`);
  writeFileSync(page, `<!doctype html><meta charset="utf-8"><style>${part('.css')}</style><body><div id="root"></div>
    <script>for (const sad of ['error', 'unhandledrejection'])
      window.addEventListener(sad, ({ error, reason }) => document.body.append((error ?? reason)?.stack));
      window.given = ${given};
      window.Date = class extends Date {
        constructor(...given) { super(...(given.length ? given : [Date.now()])); }
        static now() { return window.given.replay.to * 1000; }
      };</script><script>${program}</script>`);
  const rows = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
  const height = 56 + rows * 38 + 8;
  execFileSync('chromium', ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
    `--window-size=${width},${height}`, '--virtual-time-budget=8000', `--screenshot=${resolve(out, `${name}.png`)}`,
    '--lang=en-GB', `file://${page}`], { stdio: ['ignore', 'ignore', process.env.VERBOSE ? 'inherit' : 'ignore'], env: { ...process.env, TZ: 'Europe/Berlin' } });
  console.log(`${name}.png`);
}
