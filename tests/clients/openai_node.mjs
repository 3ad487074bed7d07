// OpenAI's client for Node, unmodified. Reports as scripts/cases.py does.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const installed = createRequire(`${process.env.LLAMA_NODE_MODULES}/`);
const { default: OpenAI } = await import(pathToFileURL(installed.resolve("openai")).href);
const { LLAMA_URL: URL_, LLAMA_MODEL: MODEL, LLAMA_ALIAS: ALIAS } = process.env;
const { LLAMA_KEY: KEY, LLAMA_LIMITED_KEY: LIMITED_KEY, LLAMA_WRONG_KEY: WRONG_KEY } = process.env;

const QUESTION = "What is a llama?";
const messages = [{ role: "user", content: QUESTION }];
const LONG = 900;
const parameters = {
  type: "object",
  properties: { animal: { type: "string", enum: ["llama", "alpaca"] }, legs: { type: "integer", enum: [2, 4] } },
  required: ["animal", "legs"],
  additionalProperties: false,
};
const definition = { name: "count_legs", description: "Counts legs.", parameters, strict: true };
const tools = [{ type: "function", function: definition }];

const clientWith = (apiKey) => new OpenAI({ baseURL: `${URL_}/v1`, apiKey, maxRetries: 0, timeout: 120_000 });
const client = clientWith(KEY);

function checkArguments(text) {
  const values = JSON.parse(text);
  assert.deepEqual(Object.keys(values).sort(), ["animal", "legs"]);
  assert.ok(["llama", "alpaca"].includes(values.animal));
  assert.ok([2, 4].includes(values.legs));
}

async function raised(action, kind, words = "") {
  try {
    await action();
  } catch (error) {
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    assert.ok(error.message.includes(words), error.message);
    return error;
  }
  return assert.fail("no error");
}

const cases = {
  models: async () => {
    const listed = (await client.models.list()).data.map((model) => model.id);
    assert.deepEqual(listed, [MODEL, ALIAS]);
  },
  chat: async () => {
    const answer = await client.chat.completions.create({ model: MODEL, messages, max_completion_tokens: 12 });
    assert.equal(answer.model, MODEL);
    assert.ok(answer.usage.completion_tokens > 0);
  },
  "chat stream": async () => {
    const stream = client.chat.completions.stream({
      model: MODEL,
      messages,
      max_tokens: 12,
      stream_options: { include_usage: true },
    });
    const final = await stream.finalChatCompletion();
    assert.ok(final.usage.completion_tokens > 0);
  },
  alias: async () => {
    const answer = await client.chat.completions.create({ model: ALIAS, messages, max_tokens: 4 });
    assert.equal(answer.model, ALIAS);
  },
  completions: async () => {
    const answer = await client.completions.create({ model: MODEL, prompt: "One llama", max_tokens: 5 });
    assert.ok(answer.usage.completion_tokens > 0);
    let chunks = 0;
    for await (const _ of await client.completions.create({ model: MODEL, prompt: "a", max_tokens: 5, stream: true }))
      chunks += 1;
    assert.ok(chunks > 0);
  },
  responses: async () => {
    const answer = await client.responses.create({ model: MODEL, input: QUESTION, max_output_tokens: 8 });
    assert.ok(answer.usage.output_tokens > 0);
  },
  "responses stream": async () => {
    const stream = client.responses.stream({ model: MODEL, input: QUESTION, max_output_tokens: 8 });
    const kinds = new Set();
    for await (const event of stream) kinds.add(event.type);
    assert.ok(kinds.has("response.output_text.delta"), [...kinds].join());
    assert.ok((await stream.finalResponse()).usage.output_tokens > 0);
  },
  "tool by name": async () => {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages,
      tools,
      tool_choice: { type: "function", function: { name: "count_legs" } },
      max_tokens: 200,
    });
    const [call, ...others] = answer.choices[0].message.tool_calls;
    assert.equal(others.length, 0);
    checkArguments(call.function.arguments);
  },
  "tool required": async () => {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages,
      tools,
      tool_choice: "required",
      parallel_tool_calls: false,
      max_tokens: 200,
    });
    checkArguments(answer.choices[0].message.tool_calls[0].function.arguments);
    assert.equal(answer.choices[0].finish_reason, "tool_calls");
  },
  "tool required stream": async () => {
    const stream = client.chat.completions.stream({
      model: MODEL,
      messages,
      tools,
      tool_choice: "required",
      parallel_tool_calls: false,
      max_tokens: 200,
    });
    const final = await stream.finalChatCompletion();
    checkArguments(final.choices[0].message.tool_calls[0].function.arguments);
  },
  "tool in responses": async () => {
    const answer = await client.responses.create({
      model: MODEL,
      input: QUESTION,
      tools: [{ type: "function", ...definition }],
      tool_choice: { type: "function", name: "count_legs" },
      max_output_tokens: 200,
    });
    checkArguments(answer.output.find((item) => item.type === "function_call").arguments);
  },
  "json schema": async () => {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages,
      response_format: { type: "json_schema", json_schema: { name: "animal", schema: parameters, strict: true } },
      max_tokens: 300,
    });
    checkArguments(answer.choices[0].message.content);
  },
  logprobs: async () => {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages,
      max_tokens: 4,
      logprobs: true,
      top_logprobs: 3,
      ignore_eos: true,
    });
    assert.equal(answer.choices[0].logprobs.content.length, 4);
  },
  "wrong key": () => raised(() => clientWith(WRONG_KEY).models.list(), OpenAI.AuthenticationError, "API key"),
  "unknown model": async () => {
    const ask = () => client.chat.completions.create({ model: "gpt-4o", messages });
    const error = await raised(ask, OpenAI.NotFoundError, "gpt-4o");
    assert.equal(error.code, "model_not_found");
  },
  "rate limit": async () => {
    const limited = clientWith(LIMITED_KEY);
    const ask = () => limited.chat.completions.create({ model: MODEL, messages, max_tokens: 1 });
    await ask();
    const error = await raised(ask, OpenAI.RateLimitError);
    assert.ok(Number(error.headers.get("retry-after")) >= 1);
  },
  embeddings: () =>
    raised(() => client.embeddings.create({ model: MODEL, input: "llama" }), OpenAI.NotFoundError, "makes no embeddings"),
  "stored responses": () =>
    raised(
      () => client.responses.create({ model: MODEL, input: QUESTION, store: true }),
      OpenAI.BadRequestError,
      "keeps no answers",
    ),
  "too long": () =>
    raised(
      () => client.chat.completions.create({ model: MODEL, messages: [{ role: "user", content: "a".repeat(4000) }] }),
      OpenAI.BadRequestError,
      "1024",
    ),
  cancel: async () => {
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages,
      max_tokens: LONG,
      stream: true,
      ignore_eos: true,
    });
    for await (const _ of stream) break;
    stream.controller.abort();
  },
};

for (const [name, run] of Object.entries(cases)) {
  let line = { case: name, ok: true };
  try {
    await run();
  } catch (error) {
    console.error(error);
    line = { case: name, ok: false, why: `${error.constructor.name}: ${error.message}`.slice(0, 500) };
  }
  console.log(JSON.stringify(line));
}
