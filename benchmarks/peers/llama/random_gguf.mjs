// Writes a Llama model with random weights as GGUF: a network to time, not to talk to.
import { closeSync, openSync, writeSync } from 'node:fs';

// Of GGML's tensor types: their number, elements and bytes of a block, and where in a block its
// binary16 scales lie. Everything else of a block may be any bits.
const FORMATS = {
  F32: { id: 0, elements: 1, bytes: 4 },
  Q4_0: { id: 2, elements: 32, bytes: 18, scales: [0] },
  Q8_0: { id: 8, elements: 32, bytes: 34, scales: [0] },
  Q2_K: { id: 10, elements: 256, bytes: 84, scales: [80, 82] },
  TQ2_0: { id: 35, elements: 256, bytes: 66, scales: [64] },
};
const HALF_SCALE = 0x1400; // 2^-10: activations stay finite
const ALIGNMENT = 32;
const UINT32 = 4;
const FLOAT32 = 6;
const STRING = 8;
const ARRAY = 9;

const u32 = (value) => new Uint8Array(Uint32Array.of(value).buffer);
const u64 = (value) => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
const f32 = (value) => new Uint8Array(Float32Array.of(value).buffer);
const join = (...parts) => Buffer.concat(parts);
const text = (value) => join(u64(Buffer.byteLength(value)), Buffer.from(value));
const entry = (key, type, ...payload) => join(text(key), u32(type), ...payload);
const list = (key, type, items) => entry(key, ARRAY, u32(type), u64(items.length), ...items);
const aligned = (bytes) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

// Three special tokens and one of every byte: as few as the tokenizer accepts, in whole blocks.
function vocabulary() {
  const tokens = ['<unk>', '<s>', '</s>'];
  const types = [2, 3, 3];
  for (let byte = 0; byte < 256; ++byte) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    types.push(6);
  }
  while (tokens.length % 32 !== 0) {
    tokens.push(`t${tokens.length}`);
    types.push(1);
  }
  return { tokens, types };
}

function metadata({ width, hidden, layers, heads }, { tokens, types }) {
  return [
    entry('general.architecture', STRING, text('llama')),
    entry('llama.context_length', UINT32, u32(512)),
    entry('llama.embedding_length', UINT32, u32(width)),
    entry('llama.block_count', UINT32, u32(layers)),
    entry('llama.feed_forward_length', UINT32, u32(hidden)),
    entry('llama.attention.head_count', UINT32, u32(heads)),
    entry('llama.attention.layer_norm_rms_epsilon', FLOAT32, f32(1e-5)),
    entry('llama.rope.dimension_count', UINT32, u32(width / heads)),
    entry('tokenizer.ggml.model', STRING, text('llama')),
    list('tokenizer.ggml.tokens', STRING, tokens.map(text)),
    list('tokenizer.ggml.scores', FLOAT32, tokens.map(() => f32(0))),
    list('tokenizer.ggml.token_type', 5, types.map(u32)),
    entry('tokenizer.ggml.bos_token_id', UINT32, u32(1)),
    entry('tokenizer.ggml.eos_token_id', UINT32, u32(2)),
  ];
}

function tensorsOf({ width, hidden, layers }, format, words) {
  const tensors = [
    { name: 'token_embd.weight', type: 'F32', shape: [width, words] },
    { name: 'output_norm.weight', type: 'F32', shape: [width] },
    { name: 'output.weight', type: 'F32', shape: [width, words] },
  ];
  for (let layer = 0; layer < layers; ++layer) {
    const add = (name, type, ...shape) => tensors.push({ name: `blk.${layer}.${name}.weight`, type, shape });
    add('attn_norm', 'F32', width);
    for (const name of ['attn_q', 'attn_k', 'attn_v', 'attn_output']) add(name, format, width, width);
    add('ffn_norm', 'F32', width);
    add('ffn_gate', format, width, hidden);
    add('ffn_up', format, width, hidden);
    add('ffn_down', format, hidden, width);
  }
  return tensors;
}

let state = 1;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state;
}

function contents({ type, shape }, bytes) {
  const words = new Uint32Array(Math.ceil(bytes / 4));
  if (type === 'F32') {
    // Norms multiply by one.
    return Buffer.from(Float32Array.from(words, () => (shape.length === 1 ? 1 : random() / 2 ** 32 - 0.5)).buffer);
  }
  for (let i = 0; i < words.length; ++i) words[i] = random();
  const body = Buffer.from(words.buffer, 0, bytes);
  const format = FORMATS[type];
  for (let block = 0; block < bytes; block += format.bytes) {
    for (const at of format.scales) body.writeUInt16LE(HALF_SCALE, block + at);
  }
  return body;
}

/// Writes to `path` a model of {width, hidden, layers, heads} whose products have weights of `format`.
export function writeRandomModel(path, size, format) {
  const words = vocabulary();
  const tensors = tensorsOf(size, format, words.tokens.length);
  let offset = 0;
  const infos = tensors.map((tensor) => {
    const { id, elements, bytes } = FORMATS[tensor.type];
    tensor.bytes = (tensor.shape.reduce((a, b) => a * b) / elements) * bytes;
    tensor.offset = offset;
    offset = aligned(offset + tensor.bytes);
    return join(text(tensor.name), u32(tensor.shape.length), ...tensor.shape.map(u64), u32(id), u64(tensor.offset));
  });
  const entries = metadata(size, words);
  const head = join(Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(entries.length), ...entries, ...infos);
  const file = openSync(path, 'w');
  writeSync(file, head, 0, head.length, 0);
  for (const tensor of tensors) {
    writeSync(file, contents(tensor, tensor.bytes), 0, tensor.bytes, aligned(head.length) + tensor.offset);
  }
  closeSync(file);
}
