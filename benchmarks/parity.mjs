// Does a quantized model compute the same as codes in the engine, simulated in floats, and from its
// ONNX file in ONNX Runtime? Networks of several kinds at several bits, `--preset fast`.
//   node parity.mjs FOLDER DATA CIFAR [MODELS]
//
// FOLDER holds ounce, ounce-train and benchmarks/peer_cases; CIFAR the folders train and test. MODELS
// are keys of networks.mjs, with commas between them (default: all). Table goes to stdout: how many of
// the engine's answers (classes, boxes that overlap above 0.99 and their median overlap, pixels of 8
// bits) the others give, too, and how many of its own ONNX Runtime does without graph optimisations.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { networks } from './networks.mjs';
import { json } from './runs.mjs';

const [programs, data, cifar, chosen = ''] = process.argv.slice(2);
if (!cifar) {
  console.error('node parity.mjs FOLDER DATA CIFAR [MODELS]');
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), 'ounce-parity-'));
const all = networks({ programs, data, cifar, folder });
const names = chosen ? chosen.split(',') : Object.keys(all);
const agree = join(dirname(fileURLToPath(import.meta.url)), 'peers', 'agree.mjs');

const share = (report) => {
  if (report.pixels) return `${((100 * report.same_pixels) / report.pixels).toFixed(3)} % of pixels`;
  if (report.boxes !== undefined) {
    return `${report.above_0_99} of ${report.boxes} boxes, median ${report.median_overlap.toFixed(3)}`;
  }
  return `${report.same_top1} of ${report.cases}`;
};

try {
  console.log('| network | bits | engine and simulation | engine and ONNX Runtime | ONNX Runtime and itself |');
  console.log(`|${' --- |'.repeat(5)}`);
  for (const name of names) {
    const { network, words, judge, count, kind } = all[name];
    for (const [weights, activations] of [[8, 8], [6, 6], [4, 8], [4, 4]]) {
      const out = join(folder, 'out');
      const cases = join(folder, 'cases');
      for (const old of [out, cases]) rmSync(old, { recursive: true, force: true });
      json(
        join(programs, 'ounce-train'), 'quantize', network(), '-o', out, ...words, '--weights', weights,
        '--activations', activations, '--preset', 'fast', '--compare', 0, '--runs', 1, '--json',
      );
      execFileSync(join(programs, 'benchmarks', 'peer_cases'), [
        '--simulate', join(out, 'model.ounce'), judge, count, cases,
      ], { stdio: ['ignore', 'ignore', 'inherit'] });
      const reports = json('node', agree, join(out, 'model.onnx'), cases, kind);
      console.log(`| ${[
        name, `W${weights}A${activations}`, share(reports.simulated), share(reports.ounce),
        share(reports.unoptimised),
      ].join(' | ')} |`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
