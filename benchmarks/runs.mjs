// What comparisons over seeds share: what was measured before, and the spread of values.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';

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
