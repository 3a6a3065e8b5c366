// One deployable network a trained method: what it loses, its size, and its speed beside its f32 form's.
//   node deployable.mjs FOLDER DATA CIFAR [METHODS] [RUNS] [ROUNDS]
//
// FOLDER holds ounce and ounce-train; DATA resnet_cifar10 and vit_tiny_in1k; CIFAR the folders train and
// test. METHODS are keys of the table below, with commas between them (default: all). Trains by
// recipes/deployable what RUNS (runs/deployable) does not hold yet, hours on a core; a stopped run goes on.
// Then, per network, from one row to the next: accuracy of the f32 network and the low-bit one on the test
// pictures in the engine; sizes of their files; latency of one picture, medians of ROUNDS (5) in which
// ounce times both in turn and ONNX Runtime the f32 one; and what fewer operations promise.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { json, median } from './runs.mjs';

const [programs, data, cifar, chosen = '', runs = 'runs/deployable', rounds = '5'] =
  process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const recipes = join(here, '..', 'recipes', 'deployable');

// A run: whose networks it begins with and is taught by (run, stage), and other settings.
const teacher = {
  recipe: '../float-resnet56-cifar10',
  set: () => ({ 'model.file': resnet56() }),
};
const reactnet = { recipe: 'float-reactnet8', teacher: [teacher, 'float'] };
const transformer = {
  recipe: 'float-vittiny',
  set: () => ({ 'model.weights': join(data, 'vit_tiny_in1k', 'vit_tiny_patch16_224.safetensors') }),
};
const binary = (recipe) => ({
  recipe, model: [reactnet, 'react'], teacher: [teacher, 'float'], float: [reactnet, 'float'],
  stages: ['low'],
});
const small = (recipe, ...stages) => ({
  recipe, stages, model: [transformer, 'float'], teacher: [transformer, 'float'],
  float: [transformer, 'float'],
});
const methods = {
  'rebnn': binary('rebnn-reactnet8'),
  'rbonn': binary('rbonn-reactnet8'),
  'q-vit': small('q-vit-vittiny', 'w4a4', 'w3a3'),
  'tervit': small('tervit-vittiny', 'ternary'),
  'bi-vit': small('bi-vit-vittiny', 'w1a1'),
};
const names = chosen ? chosen.split(',') : Object.keys(methods);
if (!cifar || !names.every((name) => name in methods)) {
  console.error(
    `node deployable.mjs FOLDER DATA CIFAR [METHODS] [RUNS] [ROUNDS]; methods: ${Object.keys(methods)}`,
  );
  process.exit(1);
}

const ounce = (...args) => json(join(programs, 'ounce'), ...args, '--json');

// The published checkpoint as a network.
function resnet56() {
  const file = resolve(runs, 'resnet56.ounce');
  if (!existsSync(file)) {
    mkdirSync(runs, { recursive: true });
    ounce('convert', join(data, 'resnet_cifar10', 'resnet56-4bfd9763.th'), '-o', file, '--architecture',
      'resnet56_cifar', '--prefix', 'state_dict.module.', '--rename', 'linear=fc');
  }
  return file;
}

// Trains what a run needs and it itself; its folder.
function trained(run) {
  const folder = resolve(runs, run.recipe.replace('../', ''));
  if (existsSync(join(folder, 'model.ounce'))) return folder;
  const settings = {
    'data.train': resolve(cifar, 'train'), 'data.test': resolve(cifar, 'test'), ...run.set?.(),
  };
  for (const role of ['model', 'teacher']) {
    if (!run[role]) continue;
    const [before, stage] = run[role];
    settings[role === 'model' ? 'model.file' : 'model.teacher'] =
      join(trained(before), `${stage}.network.ounce`);
  }
  console.error(`training ${run.recipe}`);
  execFileSync(join(programs, 'ounce-train'), [
    'train', join(recipes, `${run.recipe}.toml`), '-o', folder,
    ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ], { stdio: ['ignore', 'ignore', 'inherit'] });
  return folder;
}

const accuracies = new Map();
function accuracy(model) {
  if (!accuracies.has(model)) {
    accuracies.set(model, ounce('eval', model, '--data', join(cifar, 'test')).metrics.top1);
  }
  return accuracies.get(model);
}

function timed(low, float) {
  const ours = [];
  const floats = [];
  const theirs = [];
  let theoretical = null;
  for (let round = 0; round < Number(rounds); ++round) {
    const result = ounce('bench', low, '--against', float, '--runs', 200);
    ours.push(result.median_ms);
    floats.push(result.against.median_ms);
    theoretical = result.theoretical_speedup;
    theirs.push(json('node', join(here, 'peers', 'onnxruntime.mjs'), float.replace('.ounce', '.onnx'), 1,
      200).median_ms);
  }
  return { ours: median(ours), float: median(floats), theirs: median(theirs), theoretical };
}

const percent = (value) => `${(100 * value).toFixed(2)} %`;
const kilobytes = (file) => `${(statSync(file).size / 1000).toFixed(0)} kB`;
console.log('| method | stage | f32 | low-bit | file, f32 / low-bit | ms | own f32, ms | ONNX Runtime f32, ms | in theory |');
console.log(`|${' --- |'.repeat(9)}`);
for (const name of names) {
  const run = methods[name];
  const folder = trained(run);
  const [before, stage] = run.float;
  const float = join(trained(before), `${stage}.ounce`);
  if (!existsSync(float.replace('.ounce', '.onnx'))) {
    ounce('convert', float, '-o', float.replace('.ounce', '.onnx'));
  }
  for (const one of run.stages) {
    const low = join(folder, `${one}.ounce`);
    const { ours, float: own, theirs, theoretical } = timed(low, float);
    console.log(`| ${[
      name, one, percent(accuracy(float)), percent(accuracy(low)),
      `${kilobytes(float)} / ${kilobytes(low)}`, ours.toFixed(3),
      `${own.toFixed(2)} (${(own / ours).toFixed(1)}x)`, `${theirs.toFixed(2)} (${(theirs / ours).toFixed(1)}x)`,
      `${theoretical.toFixed(1)}x`,
    ].join(' | ')} |`);
  }
}
