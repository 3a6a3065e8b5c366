// Steps of training beside the same steps in PyTorch (Debian's python3-torch), one thread, in turns.
//   node training.mjs OUNCE-TRAIN PICTURES [ROUNDS]
// PICTURES has the folders train and test. `ounce train --dry-run` also makes its batches (crops and
// flips) within its steps; PyTorch's batch is made beforehand.
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './runs.mjs';

const [program, pictures, rounds = '3'] = process.argv.slice(2);
if (!program || !pictures) {
  console.error('node training.mjs OUNCE-TRAIN PICTURES [ROUNDS]');
  process.exit(1);
}
const here = dirname(fileURLToPath(import.meta.url));
const recipes = join(here, '..', 'recipes');
const lsq = ['stage.1.method=lsq', 'stage.1.weights=4', 'stage.1.activations=4'];
const deit = join(recipes, 'ablations', 'float-minideit.toml');
const resnet = join(recipes, 'lsq-resnet20-cifar10.toml');
const cases = [
  { name: 'mini-DeiT, float', peer: ['deit', 'float'], recipe: deit, set: [] },
  { name: 'mini-DeiT, LSQ W4A4', peer: ['deit', 'lsq'], recipe: deit, set: lsq },
  { name: 'mini-ResNet, float', peer: ['resnet', 'float'], recipe: resnet, set: ['model.blocks=2'] },
  {
    name: 'mini-ResNet, LSQ W4A4', peer: ['resnet', 'lsq'], recipe: resnet,
    // Later stages learn from the float one, which there is none of here.
    set: ['model.blocks=2', ...lsq, 'stage.2.distillation=none', 'stage.3.distillation=none'],
  },
];
const environment = { ...process.env, OMP_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' };
const run = (file, parameters) =>
  execFileSync(file, parameters, { encoding: 'utf8', env: environment });

function ours({ recipe, set }) {
  const settings = [`data.train=${pictures}/train`, `data.test=${pictures}/test`, ...set];
  const words = ['train', recipe, '--dry-run', '--json', '--threads', '1'];
  for (const setting of settings) words.push('--set', setting);
  return JSON.parse(run(program, words)).stages[0].seconds_per_step;
}
const theirs = ({ peer }) =>
  Number(run('/usr/bin/python3', [join(here, 'peers', 'pytorch_step.py'), ...peer, '5']));

console.log('| step of 128 pictures | ounce, ms | PyTorch, ms | PyTorch / ounce |');
console.log('| --- | --- | --- | --- |');
for (const one of cases) {
  const own = [];
  const other = [];
  for (let i = 0; i < Number(rounds); ++i) {
    own.push(ours(one));
    other.push(theirs(one));
  }
  const [a, b] = [median(own), median(other)];
  console.log(
    `| ${one.name} | ${(1e3 * a).toFixed(0)} | ${(1e3 * b).toFixed(0)} | ${(b / a).toFixed(2)} |`);
}
