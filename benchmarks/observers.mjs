// The range rules side by side at few bits, on a detector: what a rule costs in AP when all else is
// equal. node observers.mjs OUNCE DATA BITS [GUARD]
//
// Three selections of 80 COCO photos take turns: one calibrates, the other two judge, so that six
// values of AP stand behind each row. Q-YOLO's guard (GUARD dB a bit) first names the layers of
// YOLOX-nano that BITS bits cannot hold on the calibrating photos; those stay float for every rule,
// so that the rows differ in the ranges of activations alone.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json, spread } from './runs.mjs';

const [ounce, data, bits, guard = '3.5'] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'ounce-observers-'));
const head = join(folder, 'yolox.toml');
writeFileSync(head, 'style = "yolox"\nclasses = 80\n');
const selections = [
  `${data}/coco_tiny/annotations/instances_train2017.json`,
  `${data}/coco_tiny/annotations/instances_val2017.json`,
  `${data}/coco_mini/annotations/instances_train2017.json`,
];
const rules = ['q-yolo', 'mse', 'percentile', 'symmetric-mse', 'minmax'];

const run = (...words) => json(ounce, ...words, '--json');

function quantize(method, calibration, more) {
  return run(
    'quantize', `${data}/yolox_nano/yolox_nano.onnx`, '-o', join(folder, method), '--head', head,
    '--data', calibration, '--method', method, '--weights', bits, '--activations', bits,
    '--option', 'weight-range=minmax', '--keep-slow', '--compare', '0', '--runs', '1', ...more,
  );
}

const percent = (values) =>
  `${spread(values).map((value) => (100 * value).toFixed(2)).join(' +- ')} %`;

try {
  const results = Object.fromEntries(rules.map((rule) => [rule, []]));
  for (const calibration of selections) {
    const kept = quantize('q-yolo', calibration, ['--option', `guard=${guard}`]).kept_float
      .filter((layer) => layer.reason.startsWith('too noisy') && layer.op === 'Conv')
      .map((layer) => layer.name);
    console.error(`${calibration}: ${kept.length} convolutions in float`);
    const same = ['--option', 'guard=off', ...kept.flatMap((name) => ['--set', `${name}:weights=float`])];
    for (const rule of rules) {
      quantize(rule, calibration, same);
      for (const judging of selections.filter((other) => other !== calibration)) {
        results[rule].push(run('eval', join(folder, rule, 'model.ounce'), '--data', judging).metrics);
      }
    }
  }
  console.log('| rule | AP | AP50 | AP below the first row |\n| --- | --- | --- | --- |');
  for (const rule of rules) {
    const below = results[rule].map((metrics, turn) => results[rules[0]][turn].ap - metrics.ap);
    const cells = ['ap', 'ap50'].map((name) => percent(results[rule].map((metrics) => metrics[name])));
    console.log(`| ${[rule, ...cells, rule === rules[0] ? '' : percent(below)].join(' | ')} |`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
