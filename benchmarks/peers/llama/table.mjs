// One row times weights that come from memory, against llama.cpp: node table.mjs KERNELS_PROGRAM ROUNDS FOLDER
//
// llama.cpp is timed by tokens of a Llama model with random weights, once with one block and once with three: half of the
// difference is one block, nearly all of it seven products of one row (4096 x 4096 four times, 4096 x 14336 three times).
// Ours are the rows of `./dev bench kernels` for the same shapes. Rounds alternate; cells are medians.
import { execFileSync } from 'node:child_process';
import { unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeRandomModel } from './random_gguf.mjs';

const [kernels, rounds, folder] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const SIZE = { width: 4096, hidden: 14336, heads: 32 };
const SQUARE = 2 * SIZE.width * SIZE.width;
const WIDE = 2 * SIZE.width * SIZE.hidden;
const BLOCK = 4 * SQUARE + 3 * WIDE;
const TOKENS = 40;
const PAIRS = [
  { format: 'Q8_0', weights: '8', group: 'columns' },
  { format: 'Q4_0', weights: '4', group: 'columns' },
  { format: 'Q4_0', weights: '4', group: '32' },
  { format: 'Q2_K', weights: '2', group: 'columns' },
  { format: 'Q2_K', weights: '2', group: '32' },
  { format: 'TQ2_0', weights: 'ternary', group: 'columns' },
];

const json = (program, ...args) =>
  JSON.parse(execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

function theirBlockMs(format) {
  const ms = [1, 3].map((layers) => {
    const path = join(folder, `random_${format}_${layers}.gguf`);
    writeRandomModel(path, { ...SIZE, layers }, format);
    const token = json('node', join(here, 'one_token.mjs'), path, TOKENS).median_ms;
    unlinkSync(path);
    return token;
  });
  return (ms[1] - ms[0]) / 2;
}

function ourBlockMs(weights, group) {
  const op = group === 'columns' ? 'gemv' : 'gemv_grouped';
  const rows = json(kernels, '--json', '--filter', `${op} ${weights}x8 1x4096x`);
  const ms = (shape, operations) => {
    const gops = rows.filter((row) => row.op === op && row.shape === shape).map((row) => row.gops);
    return gops.length > 0 ? operations / Math.max(...gops) / 1e6 : undefined; // of the best instruction set
  };
  const square = ms('1x4096x4096', SQUARE);
  return 4 * square + 3 * (ms('1x4096x14336', WIDE) ?? (square * WIDE) / SQUARE);
}

console.log('| weights | scales of | ounce GOP/s | llama.cpp | GOP/s | ounce is |');
console.log('| --- | --- | --- | --- | --- | --- |');
for (const { format, weights, group } of PAIRS) {
  const ours = [];
  const theirs = [];
  for (let round = 0; round < Number(rounds); ++round) {
    ours.push(ourBlockMs(weights, group));
    theirs.push(theirBlockMs(format));
  }
  const gops = (list) => (BLOCK / median(list) / 1e6).toFixed(0);
  console.log(`| ${weights} | ${group} | ${gops(ours)} | ${format} | ${gops(theirs)} | ${(median(theirs) / median(ours)).toFixed(2)}x |`);
}
