// Times one ONNX file in ONNX Runtime: node onnxruntime.mjs FILE THREADS RUNS -> JSON on stdout.
// A process of its own per round, as for ounce, so that neither warms the other's caches or pools.
import * as ort from 'onnxruntime-node';

const [file, threads, runs] = process.argv.slice(2);
const session = await ort.InferenceSession.create(file, {
  intraOpNumThreads: Number(threads),
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
});

const feeds = {};
for (const input of session.inputMetadata) {
  const shape = input.shape.map((dim) => (typeof dim === 'number' && dim > 0 ? dim : 1));
  const count = shape.reduce((product, dim) => product * dim, 1);
  // A fixed linear congruential sequence: the same values in every run.
  let state = 1;
  const data = Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  feeds[input.name] = new ort.Tensor('float32', data, shape);
}

const warmUp = 3;
const samples = [];
for (let i = 0; i < Number(runs) + warmUp; ++i) {
  const start = process.hrtime.bigint();
  await session.run(feeds);
  if (i >= warmUp) samples.push(Number(process.hrtime.bigint() - start) / 1e6);
}
samples.sort((a, b) => a - b);
console.log(JSON.stringify({ median_ms: samples[samples.length >> 1], min_ms: samples[0] }));
