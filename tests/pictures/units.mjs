// Prints the ids of all units that Grafana knows: `node units.mjs > ../e2e/tests/dashboards/units.txt`.
import { createRequire } from 'node:module';

globalThis.navigator ??= { language: 'en', languages: ['en'] }; // it asks for the reader's language
const { getValueFormats } = createRequire(import.meta.url)('@grafana/data');
const { version } = createRequire(import.meta.url)('@grafana/data/package.json');
const ids = getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value));
console.log([`# Units of @grafana/data ${version}, written by tests/pictures/units.mjs`, ...ids].join('\n'));
