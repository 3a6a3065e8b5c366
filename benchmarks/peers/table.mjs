// Prints the table of `./dev bench peers`: every model, f32 and int8, on ounce and on ONNX Runtime.
// node table.mjs OUNCE_PROGRAM ROUNDS RUNS THREADS[,THREADS] NAME=F32.onnx:INT8.onnx ...
//
// Rounds alternate between the runtimes, so that a change in the machine's clock meets both; each
// cell is the median over the rounds' medians.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { json, median } from '../runs.mjs';

const [ounce, rounds, runs, threadList, ...models] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));

function measure(file, threads) {
  const ours = [];
  const theirs = [];
  for (let round = 0; round < Number(rounds); ++round) {
    ours.push(json(ounce, 'bench', file, '--threads', threads, '--runs', runs, '--json').median_ms);
    theirs.push(json('node', join(here, 'onnxruntime.mjs'), file, threads, runs).median_ms);
  }
  return { ours: median(ours), theirs: median(theirs) };
}

const ms = (value) => value.toFixed(2).padStart(8);
console.log('| model | threads | precision | ounce ms | ONNX Runtime ms | ounce is | int8 over own f32 |');
console.log('| --- | --- | --- | --- | --- | --- | --- |');
for (const threads of threadList.split(',')) {
  for (const model of models) {
    const [name, files] = model.split('=');
    const [f32, int8] = files.split(':');
    const float = measure(f32, threads);
    console.log(`| ${name} | ${threads} | f32 | ${ms(float.ours)} | ${ms(float.theirs)} | ${(float.theirs / float.ours).toFixed(2)}x | |`);
    if (!int8) continue;
    const integer = measure(int8, threads);
    console.log(`| ${name} | ${threads} | int8 | ${ms(integer.ours)} | ${ms(integer.theirs)} | ${(integer.theirs / integer.ours).toFixed(2)}x | ${(float.ours / integer.ours).toFixed(2)}x |`);
  }
}
