// Milliseconds that llama.cpp takes for a token: node one_token.mjs MODEL.gguf TOKENS. One thread, median.
import { getLlama } from 'node-llama-cpp';

const [path, count] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' });
const model = await llama.loadModel({ modelPath: path, gpuLayers: 0, useMmap: false });
const context = await model.createContext({ contextSize: 256, threads: 1, sequences: 1 });
const tokens = context.getSequence().evaluate([1, 5, 6], { yieldEogToken: true });
await tokens.next(); // the prompt
const times = [];
for (let i = 0; i < Number(count); ++i) {
  const start = performance.now();
  await tokens.next();
  times.push(performance.now() - start);
}
console.log(JSON.stringify({ median_ms: times.sort((a, b) => a - b)[times.length >> 1] }));
process.exit(0);
