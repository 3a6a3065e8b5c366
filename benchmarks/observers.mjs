// The range rules side by side at few bits, on a detector: what a rule costs in AP when all else is
// equal. node observers.mjs OUNCE DATA BITS [GUARD]
//
// Q-YOLO's guard (GUARD dB a bit) first names the layers of YOLOX-nano that BITS bits cannot hold;
// those stay float for every rule, so that the rows differ in the ranges of activations alone.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [ounce, data, bits, guard = '3.5'] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'ounce-observers-'));
const head = join(folder, 'yolox.toml');
writeFileSync(head, 'style = "yolox"\nclasses = 80\n');

function run(...parameters) {
  const settings = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 };
  return JSON.parse(execFileSync(ounce, [...parameters, '--json'], settings));
}

function quantize(method, more) {
  return run(
    'quantize', `${data}/yolox_nano/yolox_nano.onnx`, '-o', join(folder, method), '--head', head,
    '--data', `${data}/coco_tiny/annotations/instances_train2017.json`, '--calibration', '64',
    '--eval-data', `${data}/coco_tiny/annotations/instances_val2017.json`,
    '--method', method, '--weights', bits, '--activations', bits,
    '--option', 'weight-range=minmax', '--keep-slow', '--compare', '0', '--runs', '1', ...more,
  );
}

// On pictures of another selection, which neither the ranges nor the guard have seen.
function evaluate(method) {
  const mini = `${data}/coco_mini/annotations/instances_train2017.json`;
  return run('eval', join(folder, method, 'model.ounce'), '--data', mini).metrics;
}

try {
  const kept = quantize('q-yolo', ['--option', `guard=${guard}`]).kept_float
    .filter((layer) => layer.reason.startsWith('too noisy') && layer.op === 'Conv')
    .map((layer) => layer.name);
  const same = ['--option', 'guard=off', ...kept.flatMap((name) => ['--set', `${name}:weights=float`])];
  console.log(`W${bits}A${bits}, ${kept.length} convolutions in float (${guard} dB a bit)\n`);
  console.log('| rule | coco_tiny val AP | AP50 | coco_mini AP | AP50 |\n| --- | --- | --- | --- | --- |');
  for (const method of ['q-yolo', 'mse', 'percentile', 'symmetric-mse', 'minmax']) {
    const metrics = quantize(method, same).metrics;
    const first = Object.fromEntries(metrics.map((metric) => [metric.name, metric.after]));
    const cells = [first, evaluate(method)].flatMap((m) => [m.ap, m.ap50]);
    console.log(`| ${[method, ...cells.map((cell) => `${(100 * cell).toFixed(2)} %`)].join(' | ')} |`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
