// Serves a built OHIF beside Orthanc, opens every series of one study in Chromium, and writes pictures and what went wrong. viewer.py runs it.
//   node viewer.mjs CACHE DIST STUDY_UID OUT SERIES_DESCRIPTION …   prints one line of JSON per series that is named
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';

const [cache, dist, study, out, ...ours] = process.argv.slice(2);
const { chromium } = createRequire(path.join(path.resolve(cache), 'x.js'))('playwright-core');
const PORT = 3000, ORTHANC = 8042;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png', '.woff2': 'font/woff2' };
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cache-Control': 'no-store' };
const CONFIG = `window.config = ${JSON.stringify({
  routerBasename: '/', extensions: [], modes: [], customizationService: {}, showStudyList: true, maxNumberOfWebWorkers: 2,
  useSharedArrayBuffer: 'FALSE', investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'orthanc',
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'orthanc', configuration: {
    friendlyName: 'Orthanc', name: 'orthanc', wadoUriRoot: '/wado', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
    qidoSupportsIncludeField: false, supportsFuzzyMatching: false, supportsWildcard: true, imageRendering: 'wadors', thumbnailRendering: 'wadors',
    enableStudyLazyLoad: true, singlepart: 'bulkdata,video', // Orthanc 1.10 answers 400 to the rendered form of a PDF
    omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true, relativeResolution: 'studies' } } }],
})};`;

function pass(request, response) {                              // to Orthanc, which writes its links with the name that it is called by
  const headers = { ...request.headers, host: `localhost:${PORT}`, forwarded: `host=localhost:${PORT};proto=http` };
  const options = { host: '127.0.0.1', port: ORTHANC, method: request.method, path: request.url, headers };
  const inner = http.request(options, answer => { response.writeHead(answer.statusCode, { ...answer.headers, ...ISOLATED }); answer.pipe(response); });
  inner.on('error', error => { response.writeHead(502); response.end(String(error)); });
  request.pipe(inner);
}

function serve(request, response) {
  const name = decodeURIComponent(new URL(request.url, 'http://x').pathname);
  if (/^\/(dicom-web|wado)\b/.test(name)) return pass(request, response);
  if (name === '/app-config.js') { response.writeHead(200, { 'Content-Type': TYPES['.js'], ...ISOLATED }); return response.end(CONFIG); }
  let file = path.join(dist, name);
  if (!fs.existsSync(file) || fs.statSync(file).isDirectory()) {
    if (path.extname(name)) { response.writeHead(404); return response.end(); }
    file = path.join(dist, 'index.html');                       // a page of the viewer's own
  }
  response.writeHead(200, { 'Content-Type': TYPES[path.extname(file)] || 'application/octet-stream', ...ISOLATED });
  fs.createReadStream(file).pipe(response);
}

const server = http.createServer(serve).listen(PORT, '127.0.0.1');
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--headless', '--no-sandbox',
  '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist', '--disable-background-networking'] });
const page = await (await browser.newContext({ viewport: { width: 1500, height: 950 }, locale: 'en-US' })).newPage();
const wrong = [];
page.on('pageerror', error => wrong.push(`page error: ${error.message}`));
page.on('console', message => { if (message.type() === 'error') wrong.push(`console: ${message.text().slice(0, 300)}`); });
page.on('response', answer => { if (answer.status() >= 400) wrong.push(`http ${answer.status()}: ${answer.url()}`); });
fs.mkdirSync(out, { recursive: true });

const THUMB = '[data-cy="study-browser-thumbnail"], [data-cy="study-browser-thumbnail-no-image"]';
const visible = async selector => page.locator(selector).first().isVisible().catch(() => false);
const texts = async selector => (await page.locator(selector).allInnerTexts()).map(text => text.replace(/\s+/g, ' ').trim()).filter(Boolean);
async function settle(ms = 2500) { await page.waitForLoadState('networkidle', { timeout: 5000 }).catch(() => {}); await page.waitForTimeout(ms); }
const thumbnail = name => page.locator(THUMB).filter({ hasText: name }).first();
async function open(name) {                                      // independent of what was open before
  await page.goto(`http://localhost:${PORT}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
  await thumbnail(name).waitFor({ timeout: 180000 });            // the list grows until everything is read
  await page.waitForSelector('canvas', { timeout: 60000 });
  await settle(5000);                                            // the first series is shown: OHIF fails when it is replaced while it loads
  if (await visible('text=Skip all')) await page.getByText('Skip all').first().click();   // the tour of a first visit covers the page
  wrong.length = 0;
  await thumbnail(name).dblclick({ timeout: 20000 });
  await settle();
}
async function wheel(steps) {
  const box = await page.locator('.viewport-element, [data-cy="viewport-pane"]').first().boundingBox().catch(() => null);
  if (box) await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (let i = 0; i < Math.abs(steps); i++) { await page.mouse.wheel(0, 100 * Math.sign(steps)); await page.waitForTimeout(80); }
  await settle(800);
}

for (const name of ours) {
  const found = { series: name, pictures: [], prompts: [], wrong: [] };
  const shoot = async () => {
    const file = `${name.replace(/[^\wäöüß]+/g, '_')}_${found.pictures.length + 1}.png`;
    await page.screenshot({ path: path.join(out, file) });
    found.pictures.push(file);
  };
  await open(name).catch(error => wrong.push(`not opened: ${error.message.split('\n')[0]}`));
  if (await visible('object[type="application/pdf"]')) await settle(6000);
  await shoot();
  found.toasts = await texts('[data-sonner-toast]');
  found.prompts = await texts('[data-cy="viewport-notification"]');
  if (await visible('[data-cy="yes-btn"]')) { await page.locator('[data-cy="yes-btn"]').first().click(); await settle(3000); await shoot(); }
  const next = page.locator('[data-cy="viewport-action-arrows-next"], [data-cy="viewport-action-arrows-right"]').first();
  for (let step = 0; step < 3; step++) {                         // the next outlines, segments, slices or pages
    if (await next.isVisible().catch(() => false)) { await next.click(); await settle(1500); } else await wheel(step + 1);
    await shoot();
  }
  found.said = (await texts('[data-cy="viewport-grid"], #layoutManagerTarget')).join(' ').slice(0, 2000);
  if (await visible('text=Something went wrong')) wrong.push('page error: the viewer shows "Something went wrong"');
  if (/Loading [A-Z]/.test(found.said)) wrong.push('not opened: the viewer is still loading it');
  found.wrong = [...new Set(wrong)];
  console.log(JSON.stringify(found));
}
await browser.close();
server.close();
