// Makes the calls that standard input lists with a client library of OpenAI's or Anthropic's, and writes what each gave:
// a list of {value} or {error}. {library, options, calls: [{method, parameters, headers, then}]}; `then` is the method
// of a stream that is asked for the whole answer, "events" for all that a stream or a list of pages holds.
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const { library, options, calls } = JSON.parse(readFileSync(0, "utf8"));
const client = library === "anthropic" ? new Anthropic(options) : new OpenAI(options);
const City = z.object({ name: z.string(), people: z.number() });

async function make({ method, parameters, headers, then }) {
  const names = method.split(".");
  const name = names.pop();
  const target = names.reduce((object, key) => object[key], client);
  if (parameters?.text === "City") parameters.text = { format: zodTextFormat(City, "City") };
  const answer = target[name](parameters, { headers });
  if (then && then !== "events") return await answer[then]();
  if (!then) return await answer;
  const events = [];
  for await (const event of await answer) events.push(structuredClone(event));
  return events;
}

const told = [];
for (const call of calls) {
  try {
    told.push({ value: await make(call) });
  } catch (error) {
    const { status, message, code } = error;
    const id = error.requestID ?? null;
    told.push({ error: { name: error.constructor.name, status, message, code, id } });
  }
}
console.log(JSON.stringify(told));
