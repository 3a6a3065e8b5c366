// What is left of ViT-tiny's accuracy without training: methods, bits and calibrating pictures side
// by side, over seeds, and pictures made without data.
//   node post_training.mjs OUNCE-TRAIN DATA EXPERIMENTS [SEEDS] [JOBS]
//
// EXPERIMENTS are keys of the table below, with commas between them, or "all". A seed draws the
// pictures that calibrate; those that are left judge, float and quantized alike. Everything runs on
// integers (no guard but where a row says so, slow layers too), first and last layers keep 8 bits. What a run
// measured becomes a line of post_training.jsonl beside this file, and is not measured again while its
// settings stay the same. Tables go to stdout.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addRun, readRuns, spread } from './runs.mjs';

const [program, data, chosen, seeds = '3', jobs = '1'] = process.argv.slice(2);

// Bits of weights and activations; below 5 bits softmax maps are logarithms.
const settings = [[8, 8], [6, 6], [4, 8], [3, 8], [4, 4]];
const ranges = ['norms=repq', 'range-loss=fisher'];
const tuned = [...ranges, 'rounding=straight-through', 'tuning-loss=fisher'];
const methods = [
  { label: 'min-max', method: 'minmax' },
  { label: 'percentile', method: 'percentile' },
  { label: 'MSE', method: 'mse' },
  { label: 'RepQ', method: 'mse', options: ['norms=repq'] },
  { label: 'RepQ, GPTQ', method: 'mse', options: ['norms=repq', 'rounding=gptq'] },
  { label: 'RepQ, Fisher ranges', method: 'mse', options: ranges },
  { label: 'RepQ, Fisher ranges, block tuning', method: 'mse', options: tuned },
  { label: 'rotation, GPTQ', method: 'mse', options: ['rotation=hadamard', 'rounding=gptq'] },
  { label: 'MSE, guard', method: 'mse', options: ['guard=auto'] },
  { label: 'RepQ, Fisher ranges, GPTQ, guard', method: 'mse', options: [...ranges, 'rounding=gptq', 'guard=auto'] },
  { label: 'RepQ, Fisher ranges, block tuning, guard', method: 'mse', options: [...tuned, 'guard=auto'] },
  // Products of attention are in f32 here.
  { label: 'MSE, grids a token', method: 'mse', words: ['--dynamic', 'token'] },
  {
    label: 'GPTQ, grids a token', method: 'mse', options: ['rounding=gptq'],
    words: ['--dynamic', 'token'],
  },
  {
    label: 'block tuning, grids a token', method: 'mse',
    options: ['rounding=straight-through', 'tuning-loss=fisher'], words: ['--dynamic', 'token'],
  },
];
const made = [
  ['noise', 'noise'], ['one-hot', 'one-hot'], ['PSAQ', 'psaq'], ['APA', 'apa'], ['MSR', 'msr'],
  ['SL', 'sl'], ['APA, MSR', 'apa+msr'], ['APA, SL', 'apa+sl'], ['SARDFQ (all three)', 'sardfq'],
].map(([label, synthesis]) => ({ label, method: 'mse', options: tuned, synthesis }));
const pictures = { label: '32 pictures', method: 'mse', options: tuned, calibration: 32 };
// What block tuning is made of.
const straight = ['norms=repq', 'rounding=straight-through'];
const weighed = [...straight, 'tuning-loss=fisher'];
const parts = [
  { label: 'RepQ, QDrop', options: ['norms=repq', 'rounding=qdrop'] },
  { label: 'straight-through, plain errors', options: straight },
  { label: 'errors weighed', options: weighed },
  { label: 'ranges by weighed errors, too (block tuning)', options: tuned },
  { label: 'from the nearest codes', options: [...tuned, 'tuning-start=nearest'] },
  { label: '200 steps', options: [...tuned, 'tuning-steps=200'] },
].map((arm) => ({ method: 'mse', calibration: 32, ...arm }));
const experiments = {
  'tuning': { settings: [[4, 4]], arms: parts },
  'vit-32': { settings, arms: methods.map((arm) => ({ ...arm, calibration: 32 })) },
  'vit-128': { settings, arms: methods.map((arm) => ({ ...arm, calibration: 128 })) },
  'data-free': { settings: [[8, 8], [6, 6], [4, 4]], arms: [...made, pictures] },
};

const names = chosen === 'all' ? Object.keys(experiments) : (chosen ?? '').split(',');
if (!program || !data || !names.every((name) => name in experiments)) {
  console.error(
    'node post_training.mjs OUNCE-TRAIN DATA EXPERIMENTS [SEEDS] [JOBS]; experiments: all, ' +
      Object.keys(experiments).join(', '),
  );
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), 'ounce-post-training-'));
const model = join(data, 'vit_tiny_in1k', 'vit_tiny_patch16_224.onnx');
const preprocessing =
  '--resize 248 --crop 224 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5'.split(' ');

// 32 or 128 pictures drawn by the seed (128 hold the 32), and all but the 128.
function selection(seed) {
  const place = join(data, 'imagenet1000_s288');
  const lines = readFileSync(join(place, 'pick.txt'), 'utf8').split('\n').filter(Boolean);
  const order = lines
    .map((line) => [createHash('sha256').update(`${seed} ${line}`).digest('hex'), line])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, line]) => resolve(place, line));
  const write = (name, part) => {
    const file = join(folder, `${seed}-${name}.txt`);
    writeFileSync(file, `${part.join('\n')}\n`);
    return file;
  };
  return {
    32: write('32', order.slice(0, 32)), 128: write('128', order.slice(0, 128)),
    test: write('test', order.slice(128)),
  };
}

const record = join(dirname(fileURLToPath(import.meta.url)), 'post_training.jsonl');
const measured = new Map();
for (const { run, ...values } of readRuns(record)) measured.set(run, values);

const keyOf = (arm, [weights, activations], seed) =>
  [
    `W${weights}A${activations}`, arm.method, ...(arm.options ?? []), ...(arm.words ?? []),
    arm.synthesis ?? arm.calibration, `seed ${seed}`,
  ].join(' ');

function run(words) {
  const environment = { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' };
  return new Promise((done, fail) => {
    const options = { encoding: 'utf8', maxBuffer: 1 << 28, env: environment };
    execFile(program, [...words, '--json'], options, (error, stdout) =>
      (error ? fail(error) : done(JSON.parse(stdout))));
  });
}

// Pictures are made once for all bits.
const synthetic = new Map();
function picturesOf(arm, seed, files) {
  if (!arm.synthesis) return Promise.resolve(files[arm.calibration]);
  const name = `${arm.synthesis}-${seed}`;
  if (!synthetic.has(name)) {
    const out = join(folder, name);
    const words = [
      'quantize', model, '-o', out, '--data', 'none', '--synthesis', arm.synthesis, '--seed', seed,
      '--method', 'mse', '--option', 'guard=off', '--keep-slow', '--compare', '0', '--runs', '1',
      ...preprocessing,
    ];
    synthetic.set(name, run(words).then(() => join(out, 'synthetic')));
  }
  return synthetic.get(name);
}

async function measure(arm, bits, seed, files) {
  const key = keyOf(arm, bits, seed);
  if (measured.has(key)) return;
  const out = join(folder, 'out', createHash('sha256').update(key).digest('hex'));
  mkdirSync(out, { recursive: true });
  const started = Date.now();
  const options = [...(arm.options ?? []), 'keep-ends8=on'];
  if (!options.includes('guard=auto')) options.push('guard=off');
  const result = await run([
    'quantize', model, '-o', out, '--data', await picturesOf(arm, seed, files), '--eval-data',
    files.test, '--calibration', arm.calibration ?? 32, '--method', arm.method, '--weights', bits[0],
    '--activations', bits[1], '--softmax', bits[1] < 5 ? 'log-sqrt2' : 'uniform',
    ...options.flatMap((one) => ['--option', one]), ...(arm.words ?? []),
    '--keep-slow', '--compare', '0', '--runs', '1', '--seed', seed, ...preprocessing,
  ]);
  const top1 = result.metrics.find(({ name }) => name === 'top1');
  const values = {
    float: 100 * top1.before, top1: 100 * top1.after, kept: result.kept_float.length,
    seconds: (Date.now() - started) / 1000,
  };
  rmSync(out, { recursive: true });
  measured.set(key, values);
  addRun(record, { run: key, ...values });
  console.error(`${key}: ${values.top1.toFixed(2)} of ${values.float.toFixed(2)} %`);
}

const text = (values) => spread(values).map((value) => value.toFixed(1)).join(' +- ');

const numbers = Array.from({ length: Number(seeds) }, (_, i) => i + 1);

function print(name) {
  const { arms, settings: columns } = experiments[name];
  const of = (arm, bits, what) =>
    numbers.map((seed) => measured.get(keyOf(arm, bits, seed))[what]);
  const titles = columns.map(([weights, activations]) => `W${weights}A${activations}`);
  console.log(`\n| ${name}, top-1 in % | ${titles.join(' | ')} |`);
  console.log(`|${' --- |'.repeat(1 + columns.length)}`);
  const float = text(of(arms[0], columns[0], 'float'));
  console.log(`| f32 |${` ${float} |`.repeat(columns.length)}`);
  for (const arm of arms) {
    const cells = columns.map((bits) => text(of(arm, bits, 'top1')));
    console.log(`| ${arm.label} | ${cells.join(' | ')} |`);
  }
}

try {
  const tasks = numbers.flatMap((seed) => {
    const files = selection(seed);
    return names.flatMap((name) =>
      experiments[name].arms.flatMap((arm) =>
        experiments[name].settings.map((bits) => () => measure(arm, bits, seed, files))));
  });
  const worker = async () => {
    for (let task = tasks.shift(); task; task = tasks.shift()) await task();
  };
  await Promise.all(Array.from({ length: Number(jobs) }, worker));
  names.forEach(print);
} finally {
  rmSync(folder, { recursive: true });
}
