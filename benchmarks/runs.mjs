// What benchmarks share: programs and what they print, what was measured before, and statistics.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';

// What a program prints as JSON; what it says beside goes to stderr.
export function json(program, ...words) {
  const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 };
  return JSON.parse(execFileSync(program, words.map(String), options));
}

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

// The lines of a file of JSON, each the values of one run; none where there is no file.
export function readRuns(file) {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

export function addRun(file, values) {
  appendFileSync(file, `${JSON.stringify(values)}\n`);
}

// Mean and standard error.
export function spread(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return [mean, Math.sqrt(squares / Math.max(1, values.length - 1) / values.length)];
}
