// What each part of a trained method is worth: its arms side by side on CIFAR-10, over seeds.
//   node ablations.mjs OUNCE-TRAIN PICTURES EXPERIMENTS [SEEDS] [JOBS] [RUNS]
//
// PICTURES has the folders train and test; EXPERIMENTS are keys of the table below, with commas
// between them, or "all". Arms of one seed begin with the same network and see the same batches.
// A stopped run goes on where it was; RUNS (runs/ablations) keeps them. What a finished run measured
// becomes a line of ablations.jsonl beside this file, and a run with a line there is not run again
// while its recipe and settings stay the same. Tables go to stdout.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { addRun, readRuns, spread } from './runs.mjs';

const [program, pictures, chosen, seeds = '5', jobs = '2', runs = 'runs/ablations'] =
  process.argv.slice(2);
const recipes = join(dirname(fileURLToPath(import.meta.url)), '..', 'recipes', 'ablations');

// A run: recipe, overrides, and whose networks it begins with and is taught by (run, stage).
const floatDeit = { recipe: 'float-minideit' };
const floatReact = { recipe: 'float-minireact' };
const afterFloat = (run, more) => ({
  ...run, ...more, model: [floatDeit, 'float'], teacher: [floatDeit, 'float'],
});
const eightBits = afterFloat({ recipe: 'tervit-w8a8-minideit' });
const fromReact = (recipe, arm, set) => ({
  recipe, arm, set, model: [floatReact, 'react'], teacher: [floatReact, 'float'],
});
const qVit = (bits) => [
  ['LSQ', 'base', 'false', 0], ['IRM', 'irm', 'true', 0],
  ['DGD', 'dgd', 'false', 0.03], ['IRM and DGD', 'both', 'true', 0.03],
].map(([label, arm, irm, dgd]) => ({
  label,
  ...afterFloat({ recipe: 'q-vit-minideit' }, {
    arm: `w${bits}-${arm}`,
    set: { weights: bits, activations: bits, irm, dgd },
  }),
}));
const tervit = (label, arm, scales, progressive) => ({
  label,
  ...afterFloat({ recipe: 'tervit-minideit' }, { arm, set: { scales } }),
  ...(progressive ? { model: [eightBits, 'w8a8'] } : { set: { scales, epochs: 21 } }),
});
const biVit = (label, arm, scale, qk_norm, rad) => ({
  label, ...afterFloat({ recipe: 'bi-vit-minideit' }, { arm, set: { scale, qk_norm, rad } }),
});
const meanScale = {
  label: 'A: mean|w|', ...fromReact('rebnn-minireact', 'mean', { scale: 'mean' }),
};
const experiments = {
  'q-vit': qVit(2),
  'q-vit-4': qVit(4).filter((_, i) => i === 0 || i === 3),
  // How much there is to gain: LSQ at 2 bits, and the same with an attention of 8 bits.
  'q-vit-limit': [0, 8].map((attention) => ({
    ...qVit(2)[0],
    ...(attention && {
      label: 'attention of 8 bits', arm: 'w2-attention-8', set: { ...qVit(2)[0].set, attention },
    }),
  })),
  tervit: [
    tervit('A: layer, direct', 'layer-direct', 'layer', false),
    tervit('B: channel, direct', 'channel-direct', 'channel', false),
    tervit('C: layer, progressive', 'layer-progressive', 'layer', true),
    tervit('D: channel, progressive', 'channel-progressive', 'channel', true),
  ],
  'bi-vit': [
    biVit('B0: plain signs', 'plain', 'none', false, 0),
    biVit('B1: learned scale', 'scale', 'learned', false, 0),
    biVit('B2: and q/k norm', 'norm', 'learned', true, 0),
    biVit('B3: and RAD', 'rad', 'learned', true, 1),
  ],
  rebnn: [
    meanScale,
    { label: 'B: learned, gamma 0', ...fromReact('rebnn-minireact', 'zero', { gamma: 'zero' }) },
    {
      label: 'C: gamma 2e-4',
      ...fromReact('rebnn-minireact', 'constant', { gamma: 'constant' }),
    },
    { label: 'D: adaptive gamma', ...fromReact('rebnn-minireact', 'adaptive', {}) },
  ],
  // The released code's amplitude of 0.02 weighs its gradients of the task by 50 against the penalty.
  'rebnn-remedies': [
    meanScale,
    { label: 'D: adaptive gamma', ...fromReact('rebnn-minireact', 'adaptive', {}) },
    {
      label: 'gamma 2e-4 / 50',
      ...fromReact('rebnn-minireact', 'constant-4e-6', { gamma: 'constant', constant_gamma: 4e-6 }),
    },
    {
      label: 'adaptive gamma of 1e-5 and more',
      ...fromReact('rebnn-minireact', 'clamped', { clamp_gamma: true }),
    },
    {
      label: 'gradients of the released code',
      ...fromReact('rebnn-minireact', 'released', { gradient: 'released' }),
    },
  ],
  'rbonn-remedies': [
    meanScale,
    {
      label: 'B: lambda 1e-4 / 50',
      ...fromReact('rbonn-minireact', 'tau-1-2e-6', { tau: 1, lambda: 2e-6 }),
    },
    { label: 'C: lambda 1e-4 / 50', ...fromReact('rbonn-minireact', 'lambda-2e-6', { lambda: 2e-6 }) },
    {
      label: 'C: lambda 1e-4 / 50, released gradients',
      ...fromReact('rbonn-minireact', 'released-2e-6', { lambda: 2e-6, gradient: 'released' }),
    },
    { label: 'mode of the paper', ...fromReact('rbonn-minireact', 'paper', { mode: 'paper', lambda: 2e-6 }) },
  ],
  rbonn: [
    meanScale,
    { label: 'B: learned, tau 1', ...fromReact('rbonn-minireact', 'tau-1', { tau: 1 }) },
    { label: 'C: recurrence, tau 0.6', ...fromReact('rbonn-minireact', 'code-fixed', {}) },
    {
      label: 'D: released indicator',
      ...fromReact('rbonn-minireact', 'released-gate', { gate: 'released' }),
    },
  ],
};

const names = chosen === 'all' ? Object.keys(experiments) : (chosen ?? '').split(',');
if (!program || !pictures || !names.every((name) => name in experiments)) {
  console.error(
    'node ablations.mjs OUNCE-TRAIN PICTURES EXPERIMENTS [SEEDS] [JOBS] [RUNS]; experiments: all, ' +
      Object.keys(experiments).join(', '),
  );
  process.exit(1);
}

// What was measured before: a line has the name of the run, its seed, the settings it was made with
// (a digest of its recipe and overrides, and of those of the networks it begins with) and values.
const record = join(dirname(fileURLToPath(import.meta.url)), 'ablations.jsonl');
const nameOf = (run) => [run.recipe, run.arm].filter(Boolean).join('/');
function settingsOf(run) {
  const digest = createHash('sha256');
  digest.update(readFileSync(join(recipes, `${run.recipe}.toml`)));
  digest.update(JSON.stringify(run.set ?? {}));
  for (const before of [run.model, run.teacher]) if (before) digest.update(settingsOf(before[0]));
  return digest.digest('hex').slice(0, 12);
}
const keyOf = (run, seed) => `${nameOf(run)} ${seed} ${settingsOf(run)}`;
const measured = new Map();
for (const { run, seed, settings, ...values } of readRuns(record)) {
  measured.set(`${run} ${seed} ${settings}`, values);
}

const folderOf = (run, seed) => resolve(runs, run.recipe, run.arm ?? '.', String(seed));
const networkOf = ([run, stage], seed) => join(folderOf(run, seed), `${stage}.network.ounce`);

function parameters(run, seed) {
  const settings = {
    seed, 'data.train': resolve(pictures, 'train'), 'data.test': resolve(pictures, 'test'),
  };
  if (run.model) settings['model.file'] = networkOf(run.model, seed);
  if (run.teacher) settings['model.teacher'] = networkOf(run.teacher, seed);
  for (const [key, value] of Object.entries(run.set ?? {})) settings[`stage.1.${key}`] = value;
  const words = ['train', join(recipes, `${run.recipe}.toml`), '-o', folderOf(run, seed)];
  for (const [key, value] of Object.entries(settings)) words.push('--set', `${key}=${value}`);
  return [...words, '--threads', '1'];
}

// One thread a run: runs side by side finish sooner than threads that share a step. Earlier seeds go
// before later ones: what is known early is known of everything.
const started = new Map();
const waiting = [];
let running = 0;
function turn(seed) {
  return new Promise((go) => {
    waiting.push({ seed, go });
    waiting.sort((a, b) => a.seed - b.seed);
    setTimeout(next);
  });
}
function next() {
  while (running < Number(jobs) && waiting.length > 0) {
    ++running;
    waiting.shift().go();
  }
}

function launch(run, seed) {
  const folder = folderOf(run, seed);
  mkdirSync(folder, { recursive: true });
  const log = openSync(join(folder, 'output.txt'), 'a');
  const environment = { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' };
  return new Promise((done, fail) => {
    const child = spawn(program, parameters(run, seed), {
      stdio: ['ignore', log, log], env: environment,
    });
    child.on('exit', (code) => {
      closeSync(log);
      --running;
      next();
      if (code === 0) done();
      else fail(new Error(`exit code ${code}: see ${folder}/output.txt`));
    });
  });
}

// The network of a run: trained where its folder has none yet, after those it begins with.
function ensure(run, seed) {
  const folder = folderOf(run, seed);
  if (!started.has(folder)) {
    const before = [run.model, run.teacher].filter(Boolean).map(([other]) => ensure(other, seed));
    started.set(
      folder,
      Promise.all(before).then(() =>
        existsSync(join(folder, 'model.ounce')) ? null : turn(seed).then(() => launch(run, seed)),
      ),
    );
  }
  return started.get(folder);
}

// What a run measures: of the record, or of the run.
async function measure(run, seed) {
  const key = keyOf(run, seed);
  if (measured.has(key)) return;
  await ensure(run, seed);
  if (measured.has(key)) return; // by another experiment that has the same arm
  const values = outcome(run, seed);
  measured.set(key, values);
  addRun(record, { run: nameOf(run), seed, settings: settingsOf(run), ...values });
}

// What the log of a finished run says: the last accuracy, and each measure averaged over the layers
// and the last third of the records.
function outcome(run, seed) {
  const records = readFileSync(join(folderOf(run, seed), 'log.jsonl'), 'utf8')
    .trim().split('\n').map((line) => JSON.parse(line));
  const before = records[0].epoch === 0 ? records.shift() : null;
  const last = records.slice(-Math.ceil(records.length / 3));
  const values = { accuracy: 100 * records.at(-1).test_accuracy };
  const sums = new Map();
  for (const record of last) {
    for (const [key, value] of Object.entries(record.measures ?? {})) {
      const kind = key.split('/')[0];
      const [sum, count] = sums.get(kind) ?? [0, 0];
      sums.set(kind, [sum + value, count + 1]);
    }
  }
  for (const [kind, [sum, count]] of sums) values[kind] = sum / count;
  const early = records[Math.round(records.length / 5) - 1]; // a fifth of the way
  values['early loss'] = early.loss;
  if (before) values['loss before'] = before.loss;
  return values;
}

const text = (values, digits) => {
  const [mean, error] = spread(values);
  return `${mean.toFixed(digits)} +- ${error.toFixed(digits)}`;
};

const numbers = Array.from({ length: Number(seeds) }, (_, i) => i + 1);

function print(name) {
  const arms = experiments[name];
  const results = arms.map((arm) => numbers.map((seed) => measured.get(keyOf(arm, seed))));
  const measures = Object.keys(results.at(-1)[0]).filter((key) => key !== 'accuracy');
  const first = results[0].map((values) => values.accuracy);
  console.log(`\n| ${name} | accuracy, % | over the first, paired | ${measures.join(' | ')} |`);
  console.log(`|${' --- |'.repeat(3 + measures.length)}`);
  arms.forEach((arm, i) => {
    const accuracy = results[i].map((values) => values.accuracy);
    const paired = i === 0 ? '' : text(accuracy.map((value, s) => value - first[s]), 2);
    const others = measures.map((key) =>
      key in results[i][0] ? text(results[i].map((values) => values[key]), 4) : '');
    console.log(`| ${arm.label} | ${text(accuracy, 2)} | ${paired} | ${others.join(' | ')} |`);
  });
  numbers.forEach((seed, s) => {
    const line = arms.map((arm, i) => `${arm.label} ${results[i][s].accuracy.toFixed(2)}`);
    console.error(`${name}, seed ${seed}: ${line.join(', ')}`);
  });
}

const done = new Map(names.map((name) => [name, []]));
for (const seed of numbers) {
  for (const name of names) {
    done.get(name).push(...experiments[name].map((arm) => measure(arm, seed)));
  }
}
await Promise.all(names.map((name) => Promise.all(done.get(name)).then(() => print(name))));
