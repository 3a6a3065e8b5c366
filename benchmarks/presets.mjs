// `--preset good` over networks of several kinds, no flags of their own: metric, size, latency.
//   node presets.mjs FOLDER DATA CIFAR [MODELS]
//
// FOLDER holds ounce and ounce-train; CIFAR the folders train and test. MODELS are keys of
// networks.mjs, with commas between them (default: all). What calibrates never judges. What a run measured
// becomes a line of presets.jsonl beside this file and is not measured again while it has one. Table
// goes to stdout.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { networks } from './networks.mjs';
import { addRun, json, readRuns } from './runs.mjs';

const [programs, data, cifar, chosen = ''] = process.argv.slice(2);
if (!cifar) {
  console.error('node presets.mjs FOLDER DATA CIFAR [MODELS]');
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), 'ounce-presets-'));
const models = networks({ programs, data, cifar, folder });

const names = chosen ? chosen.split(',') : Object.keys(models);
const record = join(dirname(fileURLToPath(import.meta.url)), 'presets.jsonl');
const measured = new Map();
for (const { run, ...values } of readRuns(record)) measured.set(run, values);

function measure(name, weights, activations) {
  const run = `${name} W${weights}A${activations}`;
  if (!measured.has(run)) {
    const { network, metric, words } = models[name];
    const result = json(
      join(programs, 'ounce-train'), 'quantize', network(), '-o', join(folder, 'out'), ...words,
      '--weights', weights, '--activations', activations, '--preset', 'good', '--compare', 0, '--json',
    );
    const judged = result.metrics.find((one) => one.name === metric);
    const values = {
      float: judged.before, quantized: judged.after, smaller: result.float_bytes / result.bytes,
      faster: result.before.median_ms / result.after.median_ms, kept: result.kept_float.length,
    };
    measured.set(run, values);
    addRun(record, { run, ...values });
  }
  return measured.get(run);
}

try {
  console.log('| network | bits | metric | f32 | quantized | size | latency | in float |');
  console.log(`|${' --- |'.repeat(8)}`);
  for (const name of names) {
    const { metric } = models[name];
    const text = (value) =>
      (metric === 'psnr' ? `${value.toFixed(2)} dB` : `${(100 * value).toFixed(2)} %`);
    for (const [weights, activations] of [[8, 8], [6, 6], [4, 8], [4, 4]]) {
      const values = measure(name, weights, activations);
      console.log(`| ${[
        name, `W${weights}A${activations}`, metric, text(values.float), text(values.quantized),
        `${values.smaller.toFixed(2)}x smaller`, `${values.faster.toFixed(2)}x`, values.kept,
      ].join(' | ')} |`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
